"""What a frozen encoder says of clips: computed once in every way, and what is learned from it is the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file as read_tensors
from typer.testing import CliRunner

from vocaffect.audio import read_clip, read_pcm
from vocaffect.augment import AugmentOptions
from vocaffect.cli import build_app
from vocaffect.corpora import find_clips
from vocaffect.datasets import trim_silence
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.models import Network
from vocaffect.packing import recognizer_of
from vocaffect.recipe import Recipe
from vocaffect.runs import extractions, network_of, trained_network, training_trim
from vocaffect.takes import Take
from vocaffect.training import checkpoint

FROZEN = (
    "frontend.features=waveform",
    "frontend.win_s=0.010",
    "frontend.hop_s=0.010",
    "model={name: encoder, layers: [1, 2], encoder: {model_type: moonshine, hidden_size: 16, intermediate_size: 32, "
    "num_heads: 2}}",
    "training.freeze=['model.encoder.*']",
    "training.max_epochs=3",
    "augment.enabled=false",
)
AUGMENTED = ("augment.enabled=true", "augment.probability=1", "training.copies=2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOCAFFECT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def kept(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.feat")}


def frozen(small: Callable[..., Recipe]) -> Network:
    torch.manual_seed(0)
    network = network_of(small(*FROZEN), 3)
    network.model.requires_grad_(False)
    return network


def take(network: Network, number: int, seed: int = 0) -> Take:
    options = AugmentOptions(probability=1)
    frontend = {"features": {"waveform": {}}, "win_s": 0.010}
    return Take(frontend, -60.0, network=network, number=number, options=options, seed=seed)


def test_takes_differ_and_are_functions_of_the_clip(corpus: Path, small: Callable[..., Recipe]) -> None:
    network, clips = frozen(small), [read_pcm(path) for path in list(find_clips(corpus))[:2]]
    heard = [take(network, number)(clip) for number in range(3) for clip in clips]
    assert all(one.shape == (1, 2, 32) for one in heard)
    assert len({one.tobytes() for one in heard}) == 6
    again = [take(network, number)(clip) for number in range(3) for clip in clips]
    assert all(np.array_equal(one, other) for one, other in zip(heard, again, strict=True))
    assert not np.array_equal(take(network, 1, seed=1)(clips[0]), heard[2])
    names = {str(take(network, number, seed=seed).settings()) for number in range(3) for seed in range(2)}
    assert len(names) == 1 + 4, "what happens to clean clips depends on no seed"


@pytest.mark.parametrize(("attention", "rank"), [(False, 0), (True, 0), (True, 2)])
def test_learned_on_what_was_kept_as_on_samples(
    attention: bool,
    rank: int,
    corpus: Path,
    small: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one batch, as what is kept has other lengths to sort by; half precision rounds the frames for attention."""
    changes = [f"model.attention={attention}", f"model.rank={rank}", "model.dropout=0", "training.batch_size=64"]
    changes += ["training.freeze=[]"] if rank else []
    recipe, logits = small(*FROZEN, *changes), []
    samples = torch.from_numpy(read_clip(next(find_clips(corpus))).samples)[None]
    for name in ("kept", "samples"):
        if name == "samples":
            monkeypatch.setattr("vocaffect.experiment.has_stem", lambda recipe, network: False)
        run = start_run(recipe, tmp_path / name, corpus)
        train_run(run)
        logits.append(trained_network(run)(samples)[0].logits[:, -1])
    assert logits[0].std() > 0.1
    assert torch.allclose(logits[0], logits[1], atol=1e-2 if attention else 1e-4)


def test_a_second_run_finds_all_that_the_first_has_computed(
    corpus: Path, small: Callable[..., Recipe], tmp_path: Path, cache: Path
) -> None:
    recipe, told, weights = small(*FROZEN, *AUGMENTED), [], []
    for name in ("one", "two"):
        run = start_run(recipe, tmp_path / name, corpus)
        train_run(run, on_heard=lambda done, total: told.append((done, total)))
        weights.append(read_tensors(tmp_path / name / checkpoint.BEST))
        before = kept(cache)
    count = 3 * len(run.split.train)
    assert told == [(done, count) for done in range(1, count + 1)] * 2
    assert len(before) == count + len(run.split.validation)
    assert kept(cache) == before
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    clip = read_clip(next(find_clips(corpus)))
    assert recognizer_of(run).posterior(clip.samples).posterior.sum() == pytest.approx(1, abs=1e-5)


def test_the_command_computes_all_ways(corpus: Path, small: Callable[..., Recipe], tmp_path: Path, cache: Path) -> None:
    recipe = small(*FROZEN, *AUGMENTED)
    recipe.write(tmp_path / "recipe.yaml")
    words = ["cache", "--config", str(tmp_path / "recipe.yaml"), "--data-root", str(corpus), "--workers", "1"]
    done = CliRunner().invoke(build_app(), words, env={"COLUMNS": "200"})
    assert "54 clips in 4 ways, 216 computed" in done.stdout
    before = kept(cache)
    train_run(start_run(recipe, tmp_path / "run", corpus))
    assert kept(cache) == before
    assert "moonshine 1 2, copy 2" in CliRunner().invoke(build_app(), ["cache", "info"], env={"COLUMNS": "200"}).stdout


def test_an_encoder_that_learns_hears_the_copies_themselves(
    corpus: Path, small: Callable[..., Recipe], tmp_path: Path, cache: Path
) -> None:
    recipe = small(*FROZEN, *AUGMENTED, "training.freeze=[]")
    run = start_run(recipe, tmp_path / "run", corpus)
    taken = extractions(recipe, training_trim(recipe))
    clip = next(iter(run.split.of(run.manifest)[0]))
    samples = read_pcm(run.manifest.audio_path(clip))
    heard = [take(samples) for take in taken]
    assert [sound.dtype for sound in heard] == [np.int16] * 3
    assert len({sound.tobytes() for sound in heard}) == 3
    assert np.array_equal(heard[0], trim_silence(samples, training_trim(recipe), 0.1))
    train_run(run)
    count = 3 * len(run.split.train)
    before = kept(cache)
    assert len(before) == count + len(run.split.validation)
    train_run(start_run(recipe, tmp_path / "again", corpus))
    assert kept(cache) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("augment.enabled=false",), "training.copies are augmented clips that stay the same"),
        (("training.mixup_alpha=0.2",), "training.copies are"),
        (("training.crop_s=0.5",), "training.copies are"),
        (("augment.noises=[babble]",), "babble is of other training clips"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    changes: tuple[str, ...], message: str, corpus: Path, small: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(VocaffectError, match=message):
        start_run(small(*FROZEN, *AUGMENTED, *changes), tmp_path / "run", corpus)
    assert not (tmp_path / "run").exists()
