"""The loop: it learns, stops, lowers its rate, and goes on after a stop as if there had been none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.recipe import Recipe
from vocaffect.runs import trained_network
from vocaffect.training import checkpoint
from vocaffect.training.progress import Progress
from vocaffect.training.runtime import choose_device, mixed_precision

Small = Callable[..., Recipe]


class StoppedError(Exception):
    """Stands for Ctrl-C."""


def weights(folder: Path, name: str = "") -> dict[str, torch.Tensor]:
    """Of the newest checkpoint, or of the named one."""
    return checkpoint.load(folder / name if name else checkpoint.resumable(folder)[0])[0]


def test_it_learns_a_small_corpus(small: Small, corpus: Path, tmp_path: Path) -> None:
    run = start_run(small("training.max_epochs=12"), tmp_path / "run", corpus)
    progress = train_run(run)
    assert progress.best_score >= 0.9
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    kept = {path.name for path in (tmp_path / "run").iterdir()}
    assert kept >= {
        "best_model.safetensors",
        "checkpoint_epoch_10.safetensors",
        "environment.json",
        "checkpoints.json",
        "last_12_0.safetensors",
        "last_11_0.safetensors",
        "manifest.csv",
        "recipe.yaml",
        "split.json",
        "training_history.png",
    }


@pytest.mark.parametrize(("stop_epoch", "workers"), [(1, 0), (3, 0), (2, 2)])
def test_a_resumed_run_ends_with_the_same_weights(
    small: Small, corpus: Path, tmp_path: Path, stop_epoch: int, workers: int
) -> None:
    recipe = small(f"training.workers={workers}", "training.crop_s=0.4")
    straight, broken = (start_run(recipe, tmp_path / name, corpus) for name in ("straight", "broken"))
    train_run(straight)

    def stop_in_the_next_epoch(done: int, total: int) -> None:
        if (broken.folder / "metrics.jsonl").is_file():
            rows = (broken.folder / "metrics.jsonl").read_text().count("\n")
            if rows == stop_epoch and done == 2:
                raise StoppedError

    with pytest.raises(StoppedError):
        train_run(broken, on_batch=stop_in_the_next_epoch)
    train_run(start_run(recipe, broken.folder, corpus, resume=True), resume=True)
    for name in ("", checkpoint.BEST):
        one, other = weights(straight.folder, name), weights(broken.folder, name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert (straight.folder / "metrics.jsonl").read_text() == (broken.folder / "metrics.jsonl").read_text()


def test_patience_ends_a_run_and_lowers_the_rate(small: Small, corpus: Path, tmp_path: Path) -> None:
    changes = ["training.learning_rate=1e-9", "training.early_stopping_patience=3", "training.max_epochs=50"]
    run = start_run(small(*changes, "training.scheduler_patience=1"), tmp_path / "run", corpus)
    progress = train_run(run)
    assert progress.epoch - progress.best_epoch == 3
    assert progress.epoch < 50


def test_a_loss_that_is_no_number_stops_and_keeps_the_best(small: Small, corpus: Path, tmp_path: Path) -> None:
    run = start_run(small(), tmp_path / "run", corpus)

    def spoil(progress: Progress) -> None:
        if progress.epoch == 2:
            network = trained_network(run)
            newest = checkpoint.resumable(run.folder)[0]
            facts = checkpoint.load(newest)[1]
            with torch.no_grad():
                next(network.model.parameters()).fill_(float("nan"))
            everything = weights(run.folder) | checkpoint.weights(network)
            checkpoint.save(newest, everything, facts)
            raise StoppedError

    with pytest.raises(StoppedError):
        train_run(run, on_epoch=spoil)
    with pytest.raises(VocaffectError, match="loss became nan in epoch 3"):
        train_run(run, resume=True)
    assert all(torch.isfinite(tensor).all() for tensor in weights(run.folder, checkpoint.BEST).values())


def test_a_folder_with_a_run_is_not_overwritten(small: Small, corpus: Path, tmp_path: Path) -> None:
    run = start_run(small("training.max_epochs=1"), tmp_path / "run", corpus)
    train_run(run)
    with pytest.raises(VocaffectError, match="go on with it by --resume"):
        start_run(small(), tmp_path / "run", corpus)


def test_a_leaking_split_is_refused(small: Small, corpus: Path, tmp_path: Path) -> None:
    recipe = small("data.protocol=seed-random")
    with pytest.raises(VocaffectError, match=r"leaks.*--allow-leak"):
        start_run(recipe, tmp_path / "run", corpus)
    assert not (tmp_path / "run").exists()
    assert start_run(recipe, tmp_path / "run", corpus, allow_leak=True).split.test


def test_a_flipped_bit_in_a_checkpoint_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.arange(6.0).reshape(2, 3)}, {"epoch": 3})
    whole = path.read_bytes()
    assert checkpoint.load(path)[1] == {"epoch": 3}
    for position in range(len(whole) - 24, len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(VocaffectError, match="not what was written"):
            checkpoint.load(path)
    path.write_bytes(whole[:-5])
    with pytest.raises(VocaffectError, match="not what was written"):
        checkpoint.load(path)
    (tmp_path / checkpoint.DIGESTS).unlink()
    with pytest.raises(VocaffectError, match="no whole checkpoint"):
        checkpoint.load(path)


def test_devices_and_precision() -> None:
    assert mixed_precision(torch.device("cpu"), "off") is False
    assert mixed_precision(torch.device("cpu"), "on") is True
    with pytest.raises(VocaffectError, match="take 'cpu' or 'auto'"):
        choose_device("tpu9000")
