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
from vocaffect.recipe import Recipe, make_recipe
from vocaffect.runs import split_of
from vocaffect.search_space import Choice, Space
from vocaffect.tracking import tracked
from vocaffect.training.progress import Progress
from vocaffect.trials import finish, next_trial, open_study, refuse_to_go_on_failing, report, suggest, trial_rows

if TYPE_CHECKING:
    from optuna import Trial

SIDES = ("corpus", "labels", "train_only", "partial", "protocol", "fold", "num_folds", "validation_fraction")
DECIDING = ("seed", *(f"data.{key}" for key in SIDES))
"""Keys that decide which clips a trial is measured on."""
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

    def after_epoch(progress: Progress) -> None:
        on_epoch(trial.number, progress)
        report(trial, progress.rows)

    try:
        progress = train_trial(sweep, trial.number, suggest(trial, sweep.space), after_epoch, track)
        report(trial, progress.rows)
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
