"""A sweep's trials in Optuna's study: what to try next, what was reached, how each ended, and which is the best."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vocaffect.errors import VocaffectError
from vocaffect.files import write_text
from vocaffect.plots import plot_trials
from vocaffect.search_space import Choice, Range, Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

    from vocaffect.sweep import Sweep

MOST_FAILURES = 3
"""So many failed trials in succession end a sweep: then it is the recipe or the data, not the values."""
FIRST_WHOLE, FIRST_EPOCHS = 5, 5
"""So many trials run to their end before any is stopped early, and so many epochs each trial has in any case."""


def open_study(sweep: "Sweep", storage: str) -> "Study":
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


def next_trial(sweep: "Sweep", study: "Study", num_trials: int, busy: Collection[int] = ()) -> "Trial | None":
    """A trial that was cut off, and is none of the ``busy`` ones; or a new one; None when there have been enough."""
    from optuna import Trial
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    for begun in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if begun.number not in busy:
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


def report(trial: "Trial", rows: Iterable[Mapping[str, float]]) -> None:
    """Tell Optuna the validation UAR of each epoch that it does not know yet.

    Raises:
        TrialPruned: at the epoch after which the trial promises too little.
    """
    from optuna import TrialPruned

    known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for row in rows:
        if (epoch := int(row["epoch"])) not in known:
            trial.report(row["validation_uar"], epoch)
            if trial.should_prune():
                raise TrialPruned


def finish(sweep: "Sweep", trial: "Trial", score: float | None, error: str = "") -> None:
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
    """Raise once the last `MOST_FAILURES` trials that ended have all failed."""
    ended = [row for row in trial_rows(study) if row["state"] != "running"][-MOST_FAILURES:]
    if len(ended) == MOST_FAILURES and all(row["state"] == "failed" for row in ended):
        raise VocaffectError(f"the last {MOST_FAILURES} trials failed, the latest because {ended[-1]['error']}")
