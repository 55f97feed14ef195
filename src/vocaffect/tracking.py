"""TensorBoard and MLflow, where somebody wants them: each epoch's numbers go there too. Both are optional packages.

The run's folder stays what counts: a tracker that falls silent is told of, and training goes on without it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vocaffect.errors import VocaffectError, need_extra, unknown_name
from vocaffect.files import write_text
from vocaffect.recipe import dotted

Row = Mapping[str, float]
Log = Callable[[Row], None]
"""Takes a row of metrics.jsonl: ``epoch`` and numbers."""


@contextmanager
def tracked(
    kinds: Sequence[str],
    folder: Path,
    recipe: Mapping[str, Any],
    on_note: Callable[[str], None] = lambda note: None,
) -> Iterator[Log]:
    """Gives a function that sends a row to every tracker; the trackers are closed when the block ends.

    Args:
        kinds: ``tensorboard``, which writes to ``folder``/tensorboard, and ``mlflow``, which writes to where
            MLFLOW_TRACKING_URI says or where MLflow itself writes by default.
        folder: the run's; a resumed run goes on with what the trackers have of it.
        recipe: nested mappings; sent once.
        on_note: told if a tracker falls silent.

    Raises:
        VocaffectError: if a tracker is not known, not installed, or cannot be reached.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(_tracker(kind)(folder, recipe, on_note)) for kind in dict.fromkeys(kinds)]

        def log_all(row: Row) -> None:
            for log in logs:
                log(row)

        yield log_all


def check(kinds: Sequence[str]) -> None:
    """Refuse trackers that are not known or not installed."""
    for kind in kinds:
        _tracker(kind)


def _tracker(kind: str) -> Any:
    if kind not in TRACKERS:
        raise VocaffectError(unknown_name("tracker", kind, TRACKERS))
    if kind == "mlflow" or not find_spec("tensorboard"):
        need_extra(f"tracking with {kind}", "track", {"mlflow": "mlflow"}.get(kind, "tensorboardX"))
    return TRACKERS[kind]


@contextmanager
def _tensorboard(folder: Path, recipe: Mapping[str, Any], on_note: Callable[[str], None]) -> Iterator[Log]:
    library = import_module("torch.utils.tensorboard" if find_spec("tensorboard") else "tensorboardX")
    with ExitStack() as stack:
        writer: Any = None

        def log(row: Row) -> None:
            nonlocal writer
            if writer is None:  # what a run that goes on repeats takes the place of what it said before
                place, epoch = str(folder / "tensorboard"), int(row["epoch"])
                writer = library.SummaryWriter(place, purge_step=epoch, filename_suffix=f".{epoch}")
                stack.callback(writer.close)
                table = "".join(f"| {key} | {value} |\n" for key, value in dotted(recipe))
                writer.add_text("recipe", f"| key | value |\n|---|---|\n{table}", 0)
            for name, value in _numbers(row):
                writer.add_scalar(name, value, int(row["epoch"]))
            writer.flush()

        yield log


@contextmanager
def _mlflow(folder: Path, recipe: Mapping[str, Any], on_note: Callable[[str], None]) -> Iterator[Log]:
    from mlflow import MlflowClient, MlflowException
    from mlflow.entities import Metric

    client, told = MlflowClient(), False
    try:
        run = _mlflow_run(client, folder, recipe)
    except MlflowException as error:
        address = os.environ.get("MLFLOW_TRACKING_URI", "its default place")
        raise VocaffectError(f"MLflow cannot write to {address}, see MLFLOW_TRACKING_URI: {error}") from error

    def send(work: Callable[[], object]) -> None:
        nonlocal told
        try:
            work()
        except MlflowException as error:
            if not told:
                on_note(f"MLflow no longer takes what it is sent ({error}); training goes on")
            told = True

    def log(row: Row) -> None:
        epoch = int(row["epoch"])
        send(lambda: client.log_batch(run, [Metric(name, value, 0, epoch) for name, value in _numbers(row)]))

    status = "FINISHED"
    try:
        yield log
    except BaseException as error:
        status = "FAILED" if isinstance(error, VocaffectError) else "KILLED"
        raise
    finally:
        send(lambda: client.set_terminated(run, status))


def _mlflow_run(client: Any, folder: Path, recipe: Mapping[str, Any]) -> str:
    """The identifier of the MLflow run that belongs to this folder, made now if there is none."""
    from mlflow import MlflowException
    from mlflow.entities import Param

    stored = folder / "mlflow_run.txt"
    if stored.is_file():
        identifier = stored.read_text(encoding="utf-8").strip()
        try:
            client.update_run(identifier, "RUNNING")
        except MlflowException:  # another server, or deleted there: begin anew
            stored.unlink()
        else:
            return identifier
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "vocaffect")
    experiment = client.get_experiment_by_name(name)
    found = experiment.experiment_id if experiment else client.create_experiment(name)
    short = "/".join(folder.resolve().parts[-2:])
    identifier = str(client.create_run(found, run_name=short).info.run_id)
    params = [Param(key, str(value)[:500]) for key, value in dotted(recipe)]
    for start in range(0, len(params), 100):
        client.log_batch(identifier, params=params[start : start + 100])
    write_text(stored, f"{identifier}\n")
    return identifier


TRACKERS = {"mlflow": _mlflow, "tensorboard": _tensorboard}


def _numbers(row: Row) -> Iterator[tuple[str, float]]:
    """A row's numbers under names that trackers group: ``validation_uar`` is ``uar/validation``.

    >>> list(_numbers({"epoch": 3, "train_loss": 1.5, "learning_rate": 0.1}))
    [('loss/train', 1.5), ('learning_rate', 0.1)]
    """
    for key, value in row.items():
        side, _, measure = key.partition("_")
        if key != "epoch":
            yield (f"{measure}/{side}" if side in ("train", "validation") else key), float(value)
