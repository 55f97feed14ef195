"""The loop: it learns, stops, lowers its rate, and goes on after a stop as if there had been none."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vocaffect.distillation import Lesson
from vocaffect.errors import VocaffectError
from vocaffect.experiment import _loaders, start_run, train_run
from vocaffect.models import Network
from vocaffect.recipe import Recipe
from vocaffect.runs import build_network, trained_network
from vocaffect.training import checkpoint
from vocaffect.training.options import LoopOptions
from vocaffect.training.progress import Progress
from vocaffect.training.runtime import choose_device, mixed_precision
from vocaffect.training.stopping import StopAskedError
from vocaffect.training.trainer import Trainer

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


@pytest.mark.parametrize(("epoch", "batch", "workers"), [(1, 1, 0), (3, 2, 0), (2, 3, 2)])
def test_a_run_that_was_asked_to_stop_goes_on_with_the_next_batch_and_ends_as_if_it_had_not(
    small: Small, corpus: Path, tmp_path: Path, epoch: int, batch: int, workers: int
) -> None:
    """At the first batch, in the middle, and at the last one, when only validation was left to do."""
    recipe = small(f"training.workers={workers}", "training.crop_s=0.4", "training.average_decay=0.8")
    straight, broken = (start_run(recipe, tmp_path / name, corpus) for name in ("straight", "broken"))
    train_run(straight)
    batches = 0

    def stop(done: int, total: int) -> None:
        nonlocal batches
        batches += 1
        if batches == (epoch - 1) * total + batch:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StopAskedError, match=f"stopped by SIGTERM in epoch {epoch} after batch {batch}"):
        train_run(broken, on_batch=stop)
    assert checkpoint.resumable(broken.folder)[0].name == f"last_{epoch - 1}_{batch}.safetensors"
    again: list[int] = []
    train_run(broken, resume=True, on_batch=lambda done, total: again.append(done))
    assert again[:1] != [1]
    for name in ("", checkpoint.BEST):
        one, other = weights(straight.folder, name), weights(broken.folder, name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert (straight.folder / "metrics.jsonl").read_text() == (broken.folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize(("stop_epoch", "workers"), [(1, 0), (2, 2)])
def test_a_run_that_broke_off_ends_with_the_same_weights(
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


def test_the_last_epoch_is_kept_where_nothing_shall_be_chosen(small: Small, corpus: Path, tmp_path: Path) -> None:
    changes = ["training.learning_rate=0.1", "training.max_epochs=4", "training.keep=last"]
    run = start_run(small(*changes), tmp_path / "run", corpus)
    progress = train_run(run)
    scores = [row["validation_uar"] for row in progress.rows]
    assert progress.best_epoch == progress.epoch == 4
    assert progress.best_score == scores[-1]
    last, kept = weights(run.folder), weights(run.folder, checkpoint.BEST)
    assert all(torch.equal(last[name], kept[name]) for name in kept)


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
    with pytest.raises(
        VocaffectError,
        match=r"loss became nan in epoch 3, batch 1: lower .*\((\w+/\w/\d\.wav(, )?){6,8}\)",
    ):
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


def test_best_weights_that_are_damaged_are_told_of_and_chosen_anew(small: Small, corpus: Path, tmp_path: Path) -> None:
    run = start_run(small("training.max_epochs=2"), tmp_path / "run", corpus)

    def stop(progress: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        train_run(run, on_epoch=stop)
    (run.folder / checkpoint.BEST).write_bytes(b"spoilt")
    notes: list[str] = []
    progress = train_run(run, resume=True, on_note=notes.append)
    assert notes == ["best_model.safetensors is damaged or gone; from epoch 2 on the best is chosen anew"]
    assert progress.best_epoch == 2
    assert trained_network(run).training is False


def test_half_precision_on_a_processor_learns_and_resumes(
    small: Small, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no instructions for it, torch computes bfloat16 nevertheless, slowly."""
    monkeypatch.setattr("vocaffect.training.runtime._cpu_has_bfloat16", lambda: True)
    recipe = small("model={name: fc, hidden_size: 16}", "training.amp=on", "training.max_epochs=3")
    half, whole, broken = (start_run(recipe, tmp_path / name, corpus) for name in ("half", "whole", "broken"))
    train_run(half)

    def stop(progress: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        train_run(broken, on_epoch=stop)
    train_run(broken, resume=True)
    monkeypatch.setattr("vocaffect.training.runtime._cpu_has_bfloat16", lambda: False)
    train_run(replace(whole, recipe=small("model={name: fc, hidden_size: 16}", "training.max_epochs=3")))
    one, other, float32 = (weights(run.folder) for run in (half, broken, whole))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not all(torch.equal(one[key], float32[key]) for key in one)
    assert all(torch.isfinite(tensor).all() for tensor in one.values())


def scaled_trainer(network: Network, folder: Path, scale: float) -> Trainer:
    """A trainer that scales its losses as it does on a GPU."""
    trainer = Trainer(network, LoopOptions(), torch.device("cpu"), folder)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=2)
    return trainer


def test_the_scale_of_losses_is_resumed_and_too_high_a_scale_only_skips_a_step(
    small: Small, corpus: Path, tmp_path: Path
) -> None:
    run = start_run(small(), tmp_path / "run", corpus)
    batch = next(iter(_loaders(run, Lesson(run.split.of(run.manifest)[0]))[0].batches))
    trainer = scaled_trainer(build_network(run), tmp_path, 8.0)
    for _ in range(3):
        trainer.step(batch)
    trainer.save(Progress())
    resumed = scaled_trainer(build_network(run), tmp_path, 1.0)
    resumed.resume(pytest.fail)
    assert resumed.scaler.state_dict() == trainer.scaler.state_dict()
    assert resumed.scaler.get_scale() == 16.0
    for one in (trainer, resumed):
        torch.manual_seed(0)
        one.step(batch)
    assert all(
        torch.equal(a, b) for a, b in zip(trainer.network.parameters(), resumed.network.parameters(), strict=True)
    )

    far_off = build_network(run)
    torch.nn.init.normal_(far_off.model.get_parameter("fc.weight"), std=1_000.0)
    above = scaled_trainer(far_off, tmp_path, 2.0**127)
    before = {name: value.clone() for name, value in above.network.state_dict().items()}
    above.step(batch)
    assert above.scaler.get_scale() == 2.0**126
    assert all(torch.equal(before[name], value) for name, value in above.network.state_dict().items())


def test_devices_and_precision(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert mixed_precision(gpu, "auto") is mixed_precision(gpu, "on") is True
    for able in (True, False):
        monkeypatch.setattr("vocaffect.training.runtime._cpu_has_bfloat16", lambda able=able: able)
        assert mixed_precision(cpu, "auto") is able
        assert mixed_precision(cpu, "off") is mixed_precision(gpu, "off") is False
    assert [small(f"training.amp={word}").training.amp for word in ("on", "off", "auto")] == ["on", "off", "auto"]
    with pytest.raises(VocaffectError, match=r"no bfloat16 instructions: set training\.amp to auto"):
        mixed_precision(cpu, "on")
    with pytest.raises(VocaffectError, match="take 'cpu' or 'auto'"):
        choose_device("tpu9000")
