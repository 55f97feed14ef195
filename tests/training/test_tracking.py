"""Trackers: what they have of a run is what metrics.jsonl has, and nothing of theirs can end a training."""

import builtins
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vocaffect import errors, tracking
from vocaffect.cli import build_app
from vocaffect.errors import VocaffectError
from vocaffect.recipe import Recipe
from vocaffect.tracking import check, tracked

ROWS = [{"epoch": n, "train_loss": 2 / n, "validation_uar": n / 10, "learning_rate": 0.01} for n in (1, 2, 3)]
RECIPE = {"name": "r", "training": {"learning_rate": 0.01}, "model": {"name": "lstm"}}
needs_mlflow = pytest.mark.skipif(not find_spec("mlflow"), reason="MLflow is not installed: extra track")
needs_tensorboard = pytest.mark.skipif(
    not find_spec("tensorboardX"), reason="tensorboardX is not installed: extra track"
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an MLflow store in a folder."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    from mlflow import MlflowClient

    return MlflowClient()


def interrupt_after(log: Callable[[Any], None]) -> None:
    log(ROWS[0])
    raise KeyboardInterrupt


def runs_of(store: Any) -> list[Any]:
    return list(store.search_runs([store.get_experiment_by_name("vocaffect").experiment_id]))


def history(store: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in store.get_metric_history(run.info.run_id, name))


@needs_mlflow
def test_mlflow_has_the_recipe_and_every_epoch_once_though_the_run_was_cut_off(store: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    with pytest.raises(KeyboardInterrupt), tracked(["mlflow"], folder, RECIPE) as log:
        interrupt_after(log)
    assert [run.info.status for run in runs_of(store)] == ["KILLED"]
    with tracked(["mlflow"], folder, RECIPE) as log:
        for row in ROWS[1:]:
            log(row)
    (run,) = runs_of(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "runs/first")
    assert run.data.params == {"name": "r", "training.learning_rate": "0.01", "model.name": "lstm"}
    assert history(store, run, "uar/validation") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert history(store, run, "loss/train") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    with pytest.raises(VocaffectError), tracked(["mlflow"], tmp_path / "other", RECIPE):
        raise VocaffectError("the loss is no number")
    assert sorted(run.info.status for run in runs_of(store)) == ["FAILED", "FINISHED"]


@needs_mlflow
def test_mlflow_that_falls_silent_is_told_of_once_and_ends_no_training(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient, MlflowException

    def gone(self: Any, *arguments: Any, **more: Any) -> None:
        raise MlflowException("nobody answers")

    notes: list[str] = []
    with tracked(["mlflow"], tmp_path / "run", RECIPE, notes.append) as log:
        log(ROWS[0])
        monkeypatch.setattr(MlflowClient, "log_batch", gone)
        for row in ROWS[1:]:
            log(row)
    assert notes == ["MLflow no longer takes what it is sent (nobody answers); training goes on"]
    assert history(store, runs_of(store)[0], "uar/validation") == [(1, 0.1)]


@needs_mlflow
def test_mlflow_that_cannot_be_written_to_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(VocaffectError, match=r"MLflow cannot write to http://127\.0\.0\.1:9, see MLFLOW_TRACKING_URI"),
        tracked(["mlflow"], tmp_path / "run", RECIPE),
    ):
        raise AssertionError


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """The numbers in a folder of TensorBoard's files, read record by record, later sessions over earlier ones."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # length (8 bytes), its checksum (4), an event, its checksum (4)
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


@needs_tensorboard
def test_tensorboard_has_every_epoch(tmp_path: Path) -> None:
    for rows in (ROWS[:2], ROWS[2:]):
        with tracked(["tensorboard"], tmp_path, RECIPE) as log:
            for row in rows:
                log(row)
    found = scalars(tmp_path / "tensorboard")
    assert found["uar/validation"] == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
    assert found["loss/train"] == pytest.approx({1: 2.0, 2: 1.0, 3: 2 / 3})
    assert set(found) == {"uar/validation", "loss/train", "learning_rate"}


@needs_mlflow
@needs_tensorboard
def test_train_tracks_what_it_writes_down(
    store: Any, small: Callable[..., Recipe], corpus: Path, tmp_path: Path
) -> None:
    small("training.max_epochs=2").write(tmp_path / "recipe.yaml")
    words = ["train", "--config", tmp_path / "recipe.yaml", "--run-name", "run", "--runs-dir", tmp_path]
    words += ["--data-root", corpus, "--track", "mlflow", "--track", "tensorboard"]
    done = CliRunner().invoke(build_app(), list(map(str, words)))
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    written = {row["epoch"]: row["validation_uar"] for row in rows}
    assert dict(history(store, runs_of(store)[0], "uar/validation")) == pytest.approx(written)
    assert scalars(tmp_path / "run" / "tensorboard")["uar/validation"] == pytest.approx(written)


def test_trackers_that_are_not_known_or_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VocaffectError, match="tracker 'tensorbord' is not known; did you mean 'tensorboard'"):
        check(["tensorbord"])
    for module in (tracking, errors):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    for kind, package in (("mlflow", "mlflow"), ("tensorboard", "tensorboardX")):
        with pytest.raises(VocaffectError, match=rf"{package}: pip install 'vocaffect\[track\]'"):
            check([kind])


def test_nobody_who_tracks_nothing_imports_a_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *rest: Any, **more: Any) -> Any:
        assert name.partition(".")[0] not in ("mlflow", "tensorboard", "tensorboardX")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", guarded)
    monkeypatch.delitem(sys.modules, "vocaffect.tracking")
    import vocaffect.tracking

    with vocaffect.tracking.tracked([], tmp_path, RECIPE) as log:
        log(ROWS[0])
    assert not list(tmp_path.iterdir())
