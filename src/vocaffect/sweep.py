"""Sweeps: many runs of one recipe with other values, chosen by what validation speakers say and by nothing else.

Optuna proposes the values and stops what promises little (Akiba et al., KDD 2019). A sweep's folder holds
sweep.yaml, manifest.csv, sweep.db, a run's folder for each trial, and, renewed after each, trials.jsonl,
trials.png and best.yaml. Test speakers are neither read nor measured; a trial is tested as any run is.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vocaffect.errors import VocaffectError
from vocaffect.experiment import read_data, start_run, train_run
from vocaffect.files import write_text
from vocaffect.manifest import Manifest
from vocaffect.plots import plot_trials
from vocaffect.recipe import Recipe, make_recipe
from vocaffect.runs import split_of
from vocaffect.search_space import Choice, Range, Space
from vocaffect.tracking import tracked
from vocaffect.training.progress import Progress

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

SIDES = ("corpus", "train_only", "partial", "protocol", "fold", "num_folds", "validation_fraction")
DECIDING = ("seed", *(f"data.{key}" for key in SIDES))
"""Keys that decide which clips a trial is measured on."""
MOST_FAILURES = 3
"""So many failed trials in succession end a sweep: then it is the recipe or the data, not the values."""
FIRST_WHOLE, FIRST_EPOCHS = 5, 5
"""So many trials run to their end before any is stopped early, and so many epochs each trial has in any case."""

OnEpoch = Callable[[int, Progress], None]
"""Told a trial's number and where it stands, after each of its epochs."""
OnTrial = Callable[[Mapping[str, Any]], None]
"""Told what `trial_rows` says of a trial, when it has ended."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep tries, and where."""

    folder: Path
    recipe: Recipe
    space: Space
    manifest: Manifest
    data_root: Path

    def trial_recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with some values in place of its own."""
        changes = [f"{key}={yaml.safe_dump(value)}" for key, value in values.items()]
        return make_recipe(self.recipe.model_dump(mode="json"), changes, source="the space")

    def trial_folder(self, number: int) -> Path:
        """The run's folder of a trial."""
        return self.folder / f"trial_{number:04d}"


def open_sweep(recipe: Recipe, space: Space, folder: Path, data_root: Path) -> Sweep:
    """Make a sweep's folder, or open it again to go on.

    The clips are read into a manifest once, here; after that no clip of the test side is opened.

    Raises:
        VocaffectError: if there is nothing to try, a key or a value is none that recipes take, or decides who is held
            out, the data cannot be split, or the folder holds a sweep of something else.
    """
    if not space:
        raise VocaffectError("there is nothing to try: name a key, as --set 'training.learning_rate=log(1e-4,1e-2)'")
    content = {"recipe": recipe.model_dump(mode="json"), "space": {key: asdict(space[key]) for key in sorted(space)}}
    text = yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False, allow_unicode=True)
    path, stored = folder / "sweep.yaml", folder / "manifest.csv"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise VocaffectError(f"{folder} holds a sweep of another recipe or space: choose another --sweep-name")
    manifest = _moved(Manifest.read(stored), data_root) if path.is_file() else read_data(recipe, data_root)
    sweep = Sweep(folder, recipe, space, manifest, data_root)
    _check(sweep)
    if not path.is_file():
        manifest.write(stored)
        write_text(path, text)
    return sweep


def _moved(manifest: Manifest, data_root: Path) -> Manifest:
    """The manifest, with its clips looked for below ``data_root`` if none is where it was."""
    there = any(manifest.audio_path(utterance).is_file() for utterance in manifest)
    return manifest if there else Manifest(data_root, manifest.utterances)


def _check(sweep: Sweep) -> None:
    """Refuse what would fail or spoil every trial, before the first begins."""
    if unfair := [key for key in sweep.space if key in DECIDING]:
        raise VocaffectError(f"{unfair[0]} decides who is held out, so its values cannot be compared: leave it out")
    for key, dimension in sweep.space.items():
        for value in dimension.values if isinstance(dimension, Choice) else dimension.ends:
            sweep.trial_recipe({key: value})
    split_of(sweep.recipe, sweep.manifest)


def run_sweep(
    sweep: Sweep,
    num_trials: int,
    *,
    storage: str = "sqlite",
    track: Sequence[str] = (),
    on_epoch: OnEpoch = lambda number, progress: None,
    on_trial: OnTrial = lambda row: None,
) -> list[dict[str, Any]]:
    """Go on until ``num_trials`` trials have ended, those of earlier calls included; returns `trial_rows`.

    A trial that was cut off goes on where it was, so a sweep that was killed ends as an unbroken one.

    Args:
        sweep: what `open_sweep` opened.
        num_trials: of the whole sweep.
        storage: ``sqlite`` for a file in the sweep's folder, or the address of a database that SQLAlchemy knows.
        track: trackers of each trial, see `vocaffect.tracking`.
        on_epoch: see `OnEpoch`.
        on_trial: see `OnTrial`.

    Raises:
        VocaffectError: if another process is at this sweep, or `MOST_FAILURES` trials in succession fail.
    """
    with alone(sweep.folder):
        study = open_study(sweep, storage)
        while trial := next_trial(sweep, study, num_trials):
            _run_one(sweep, trial, track, on_epoch)
            on_trial(trial_rows(study)[trial.number])
            refuse_to_go_on_failing(study)
    return trial_rows(study)


def _run_one(sweep: Sweep, trial: "Trial", track: Sequence[str], on_epoch: OnEpoch) -> None:
    from optuna import TrialPruned

    known = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def after_epoch(progress: Progress) -> None:
        on_epoch(trial.number, progress)
        report(trial, progress, known)

    try:
        progress = train_trial(sweep, trial.number, suggest(trial, sweep.space), after_epoch, track)
        report(trial, progress, known)
        finish(sweep, trial, progress.best_score)
    except TrialPruned:
        finish(sweep, trial, None)
    except VocaffectError as error:
        finish(sweep, trial, None, str(error))


def train_trial(
    sweep: Sweep,
    number: int,
    values: Mapping[str, Any],
    after_epoch: Callable[[Progress], None],
    track: Sequence[str] = (),
) -> Progress:
    """Train one trial, or train on where it was cut off."""
    folder, recipe = sweep.trial_folder(number), sweep.trial_recipe(values)
    run = start_run(recipe, folder, sweep.data_root, resume=True, manifest=sweep.manifest)
    with tracked(track, folder, recipe.model_dump(mode="json")) as log:

        def log_and_report(progress: Progress) -> None:
            log(progress.rows[-1])
            after_epoch(progress)

        return train_run(run, resume=True, on_epoch=log_and_report)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from going on with the same sweep; they are refused."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "sweep.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise VocaffectError(f"another process is at the sweep in {folder}: wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def open_study(sweep: Sweep, storage: str) -> "Study":
    """Optuna's study of this sweep, kept in its storage."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage != "sqlite" and "://" not in storage:
        raise VocaffectError(f"'{storage}' is no storage: write sqlite, or an address such as postgresql://host/name")
    address = f"sqlite:///{(sweep.folder / 'sweep.db').resolve()}" if storage == "sqlite" else storage
    try:
        return optuna.create_study(
            storage=address,
            study_name=sweep.folder.name,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(FIRST_WHOLE, FIRST_EPOCHS),
            load_if_exists=True,
        )
    except (SQLAlchemyError, ImportError) as error:
        raise VocaffectError(f"the storage {address} cannot be opened: {error}") from error


def next_trial(sweep: Sweep, study: "Study", num_trials: int) -> "Trial | None":
    """The trial that was cut off, or a new one; None when there have been enough."""
    from optuna import Trial
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    for begun in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        return Trial(study, begun._trial_id)
    count = len(study.get_trials(deepcopy=False))
    study.sampler = TPESampler(seed=sweep.recipe.seed * 100_003 + count)  # so that resuming changes no proposal
    return study.ask() if count < num_trials else None


def suggest(trial: "Trial", space: Space) -> dict[str, Any]:
    """The values that Optuna proposes for a trial."""
    return {key: _suggest(trial, key, space[key]) for key in sorted(space)}


def _suggest(trial: "Trial", key: str, dimension: Range | Choice) -> Any:
    if isinstance(dimension, Choice):
        names = [json.dumps(value) for value in dimension.values]
        return dimension.values[names.index(trial.suggest_categorical(key, names))]
    if dimension.whole:
        return trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)


def report(trial: "Trial", progress: Progress, known: set[int]) -> None:
    """Tell Optuna the validation UAR of each epoch that is not ``known`` to it yet.

    Raises:
        TrialPruned: at the epoch after which the trial promises too little.
    """
    from optuna import TrialPruned

    for row in progress.rows:
        if (epoch := int(row["epoch"])) not in known:
            trial.report(row["validation_uar"], epoch)
            known.add(epoch)
            if trial.should_prune():
                raise TrialPruned


def finish(sweep: Sweep, trial: "Trial", score: float | None, error: str = "") -> None:
    """Tell Optuna how a trial ended, without a score if it was stopped, and renew the sweep's results."""
    from optuna.trial import TrialState

    if error:
        trial.set_user_attr("error", error)
    state = TrialState.FAIL if error else TrialState.PRUNED if score is None else TrialState.COMPLETE
    trial.study.tell(trial.number, score, state)
    rows = trial_rows(trial.study)
    write_text(sweep.folder / "trials.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    logarithmic = [key for key, dimension in sweep.space.items() if isinstance(dimension, Range) and dimension.log]
    plot_trials(rows, sweep.folder / "trials.png", logarithmic)
    if best := best_row(rows):
        values = {key: json.loads(value) if isinstance(value, str) else value for key, value in best["values"].items()}
        line = f"# The best of {len(rows)} trials, number {best['trial']}: UAR {best['validation_uar']:.1%} on held-out"
        text = f"{line} speakers of the training side.\n{sweep.trial_recipe(values).to_yaml()}"
        write_text(sweep.folder / "best.yaml", text)


def trial_rows(study: "Study") -> list[dict[str, Any]]:
    """Each trial's number, state, epochs, best validation UAR, values (choices as JSON), and why it failed."""
    return [_row(trial) for trial in study.get_trials(deepcopy=False)]


def _row(trial: "FrozenTrial") -> dict[str, Any]:
    scores = trial.intermediate_values
    return {
        "trial": trial.number,
        "state": {"COMPLETE": "whole", "PRUNED": "stopped", "FAIL": "failed"}.get(trial.state.name, "running"),
        "epochs": max(scores, default=0),
        "validation_uar": max(scores.values(), default=None),
        "values": dict(trial.params),
        "error": trial.user_attrs.get("error", ""),
    }


def best_row(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The trial with the highest validation UAR among those that ran to their end; the first of equals."""
    return max((row for row in rows if row["state"] == "whole"), key=lambda row: row["validation_uar"], default=None)


def refuse_to_go_on_failing(study: "Study") -> None:
    """Raise once the last `MOST_FAILURES` trials have all failed."""
    last = trial_rows(study)[-MOST_FAILURES:]
    if len(last) == MOST_FAILURES and all(row["state"] == "failed" for row in last):
        raise VocaffectError(f"the last {MOST_FAILURES} trials failed, the latest because {last[-1]['error']}")
