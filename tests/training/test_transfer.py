"""Beginning with another run: what fits is loaded, what does not is named, and held parts do not learn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.recipe import Recipe
from vocaffect.runs import Run, build_network, learned_from
from vocaffect.training import checkpoint
from vocaffect.training.transfer import freeze, initialise

Small = Callable[..., Recipe]


@pytest.fixture(scope="module")
def first(small: Small, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run of fold 1."""
    run = start_run(small("training.max_epochs=1"), tmp_path_factory.mktemp("runs") / "first", corpus)
    train_run(run)
    return run


def best(run: Run) -> dict[str, torch.Tensor]:
    tensors = checkpoint.load(run.folder / checkpoint.BEST)[0]
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def test_what_fits_is_loaded_and_the_rest_is_named(first: Run, small: Small) -> None:
    wider = build_network(Run(first.folder, small("model.num_layers=2"), first.manifest, first.split))
    wider.model.fc = torch.nn.Linear(16, 5)
    untouched = wider.state_dict()["model.lstm.weight_hh_l1"].clone()
    transfer = initialise(wider, first.folder)
    assert transfer.misshapen == ("model.fc.weight", "model.fc.bias")
    assert transfer.missing == tuple(
        f"model.lstm.{name}_l1" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    assert transfer.unused == ()
    assert "model.fc.weight" in transfer.sentence()
    own = wider.state_dict()
    assert all(torch.equal(own[name], best(first)[name]) for name in transfer.loaded)
    assert torch.equal(own["model.lstm.weight_hh_l1"], untouched)


def test_a_safetensors_file_from_elsewhere_gives_what_fits(first: Run, small: Small, tmp_path: Path) -> None:
    network, source = build_network(first), tmp_path / "elsewhere.safetensors"
    bias = torch.arange(3.0)
    save_file({"model.fc.bias": bias, "model.lstm.weight_ih_l0": torch.zeros(2, 2), "theirs": bias + 1}, source)
    transfer = initialise(network, source)
    assert transfer[:2] == (("model.fc.bias",), ("model.lstm.weight_ih_l0",))
    assert transfer.unused == ("theirs",)
    assert torch.equal(network.state_dict()["model.fc.bias"], bias)
    source.write_bytes(source.read_bytes()[:-4])
    with pytest.raises(VocaffectError, match=r"elsewhere\.safetensors is no whole checkpoint"):
        initialise(network, source)


def test_a_run_begins_there_and_held_parts_stay(first: Run, small: Small, corpus: Path, tmp_path: Path) -> None:
    recipe = small(f"training.init_from={first.folder}", "training.freeze=['model.lstm.*']", "training.max_epochs=2")
    run = start_run(recipe, tmp_path / "second", corpus)
    notes: list[str] = []
    train_run(run, on_note=notes.append)
    before, after = best(first), best(run)
    assert "tensors loaded" in notes[0]
    assert "model.lstm.weight_ih_l0" in notes[1]
    assert all(torch.equal(before[name], after[name]) for name in before if "lstm" in name or "frontend" in name)
    assert not torch.equal(before["model.fc.weight"], after["model.fc.weight"])


def test_what_a_start_has_learned_from_counts(first: Run, small: Small, corpus: Path, tmp_path: Path) -> None:
    """A run that begins with another, with one that is gone, and with a file that says nothing."""
    own = frozenset(first.manifest.corpora)
    assert learned_from(first) == own
    for named, more in (
        (first.folder, set()),
        (tmp_path / "gone", {"gone"}),
        (tmp_path / "x.safetensors", {"x.safetensors"}),
    ):
        assert learned_from(replace(first, recipe=small(f"training.init_from={named}"))) == own | more


def test_a_start_that_has_heard_the_test_speakers_is_refused(
    first: Run, small: Small, corpus: Path, tmp_path: Path
) -> None:
    recipe = small(f"training.init_from={first.folder}", "data.fold=2")
    with pytest.raises(VocaffectError, match="has heard speakers of this run's test side"):
        start_run(recipe, tmp_path / "leaky", corpus)
    assert not (tmp_path / "leaky").exists()
    start_run(recipe, tmp_path / "leaky", corpus, allow_leak=True)


def test_what_cannot_be_begun_with_is_refused(first: Run, small: Small, tmp_path: Path) -> None:
    network = build_network(first)
    with pytest.raises(VocaffectError, match="there is no checkpoint"):
        initialise(network, tmp_path / "nothing.safetensors")
    checkpoint.save(tmp_path / "other.safetensors", {"model.other": torch.zeros(1)}, {})
    with pytest.raises(VocaffectError, match=r"nothing in .* fits this model"):
        initialise(network, tmp_path / "other.safetensors")
    with pytest.raises(VocaffectError, match=r"no parameter matches 'lstm'; there are model\.fc\.\*, model\.lstm\.\*"):
        freeze(network, ("lstm",))
    with pytest.raises(VocaffectError, match="holds every parameter still"):
        freeze(network, ("*",))
