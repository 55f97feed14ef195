"""One step: in parts as in one, with weights, soft targets and every part of the toolkit at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vocaffect.datasets import Batch, Item, collate
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.features import FrontEnd
from vocaffect.models import Network, build_model
from vocaffect.recipe import Recipe
from vocaffect.sampling import Place
from vocaffect.training import checkpoint
from vocaffect.training.average import Average
from vocaffect.training.masking import MaskOptions
from vocaffect.training.options import LoopOptions
from vocaffect.training.trainer import Trainer

Small = Callable[..., Recipe]


def network() -> Network:
    torch.manual_seed(3)
    frontend = FrontEnd({"mfcc": {}}, deltas=1)
    given = {"num_features": frontend.num_features, "num_labels": 3, "hidden_size": 8, "dropout": 0.0}
    return Network(frontend, build_model("lstm", num_layers=1, **given)).double()


def batch(count: int) -> Batch:
    """Clips of many lengths, one of them unlabelled and one mixed."""
    rng = np.random.default_rng(0)
    shares = np.eye(3, dtype=np.float32)[rng.integers(0, 3, count)]
    shares[1], shares[2] = 0, (0.6, 0, 0.4)
    soft = rng.dirichlet(np.ones(3), count).astype(np.float32)
    items = [
        Item(0.1 * rng.standard_normal(size).astype(np.float32), 0, soft[i], shares[i], Place(1, i))
        for i, size in enumerate(rng.integers(500, 9_000, count))
    ]
    whole = collate(items)
    return whole._replace(samples=whole.samples.double(), soft=whole.soft.double(), shares=whole.shares.double())


def step(folder: Path, options: LoopOptions) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and the gradients of one step."""
    trainer = Trainer(network(), options, torch.device("cpu"), folder)
    loss = trainer.step(batch(7))
    return loss, {name: value.grad for name, value in trainer.network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("accumulate", [2, 3, 7, 20])
def test_a_batch_in_parts_is_the_batch_in_one(tmp_path: Path, accumulate: int) -> None:
    """With parts of different size, frame losses, a teacher, weights and masks."""
    options = {
        "frame_weight": 0.4,
        "label_smoothing": 0.1,
        "class_weights": (2.0, 1.0, 0.5),
        "distill_weight": 0.3,
        "loss": "focal",
        "gradient_clip": 0.05,
        "masking": MaskOptions(time_masks=1, feature_masks=1),
    }
    loss, whole = step(tmp_path, LoopOptions(**options))  # type: ignore[arg-type]
    in_parts, parts = step(tmp_path, LoopOptions(**options, accumulate=accumulate))  # type: ignore[arg-type]
    assert in_parts == pytest.approx(loss, rel=1e-6)
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-8)
        assert value.abs().max() > 1e-5


def test_class_weights_and_losses_change_what_is_learned(tmp_path: Path) -> None:
    _, plain = step(tmp_path, LoopOptions())
    _, alike = step(tmp_path, LoopOptions(class_weights=(1.0, 1.0, 1.0), loss="focal", loss_parameters={"gamma": 0}))
    _, weighted = step(tmp_path, LoopOptions(class_weights=(9.0, 1.0, 1.0)))
    _, focal = step(tmp_path, LoopOptions(loss="focal"))
    for name, value in plain.items():
        torch.testing.assert_close(alike[name], value, rtol=1e-5, atol=1e-7)
    assert any(not torch.allclose(weighted[name], value) for name, value in plain.items())
    assert any(not torch.allclose(focal[name], value) for name, value in plain.items())


def test_the_average_of_weights_is_its_formula() -> None:
    module, weights = torch.nn.Linear(2, 1, bias=False), np.array([[1.0, 2.0], [0.0, 4.0], [-1.0, 3.0]])
    average, expected = Average(module, 0.75), module.weight.detach().numpy()[0].copy()
    for row in weights:
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(row[None]))
        average.update()
        expected = 0.75 * expected + 0.25 * row
    with average.applied():
        np.testing.assert_allclose(module.weight.detach().numpy()[0], expected, rtol=1e-6)
    np.testing.assert_allclose(module.weight.detach().numpy()[0], weights[-1], rtol=1e-6)


TOOLKIT = (
    "training.loss.name=focal",
    "training.loss.gamma=1.5",
    "training.class_weights=balanced",
    "training.mixup_alpha=0.3",
    "training.scheduler=one-cycle",
    "training.accumulate=2",
    "training.average_decay=0.5",
    "training.max_epochs=2",
    "masking.time_masks=1",
    "masking.feature_masks=1",
    "augment.telephone=true",
    "augment.eq_db=[-6, 6]",
    "augment.reverb_s=[0.1, 0.3]",
    "augment.noises=[babble]",
    "augment.codecs=[mu-law, opus]",
)


def test_all_of_it_together_is_the_same_with_workers_and_without(small: Small, corpus: Path, tmp_path: Path) -> None:
    """What is drawn depends on (seed, epoch, clip) alone, whichever process reads a clip."""
    runs = [start_run(small(*TOOLKIT, f"training.workers={n}"), tmp_path / str(n), corpus) for n in (0, 2)]
    assert [len(train_run(run).rows) for run in runs] == [2, 2]
    one, other = (checkpoint.load(run.folder / checkpoint.BEST)[0] for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.loss.name=vocal", "did you mean 'focal'"),
        ("training.loss.gamma=2", "loss 'cross_entropy' cannot be built"),
        ("training.class_weights={glad: 2}", "label in training.class_weights 'glad' is not known"),
        ("augment.noise_folder=nowhere", "nowhere is no folder"),
        ("augment.probabilities={tmpo: 0.1}", "did you mean 'tempo'"),
    ],
)
def test_what_nobody_knows_is_refused_before_anything_is_written(
    small: Small, corpus: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(VocaffectError, match=message):
        start_run(small(change), tmp_path / "run", corpus)
    assert not (tmp_path / "run").exists()
