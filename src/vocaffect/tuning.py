"""What Ray Tune asks and tells, answered by Optuna's study: a sweep on a cluster is a sweep like any other."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vocaffect.sweep import Sweep
from vocaffect.trials import MOST_FAILURES, finish, next_trial, report, suggest, trial_rows

if TYPE_CHECKING:
    from optuna import Study, Trial


class Trials:
    """Trials by the names that Ray Tune gives them.

    Args:
        sweep: whose trials they are.
        study: Optuna's, of this sweep.
        num_trials: of the whole sweep, those of earlier calls included.
        tell: hears the row of each trial that ends.
    """

    def __init__(
        self, sweep: Sweep, study: "Study", num_trials: int, tell: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self.sweep, self.study, self.num_trials, self.tell = sweep, study, num_trials, tell
        self.running: dict[str, Trial] = {}
        self.stopped: set[str] = set()
        self.failures = 0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray writes down all that it is given, and what trials have found is in the study."""
        return {}

    def next(self, name: str) -> dict[str, Any] | None:
        """The number and the values of the next trial; None if there have been enough, or too many have failed."""
        busy = [trial.number for trial in self.running.values()]
        trial = next_trial(self.sweep, self.study, self.num_trials, busy) if self.failures < MOST_FAILURES else None
        if trial is None:
            return None
        self.running[name] = trial
        return {"number": trial.number, "values": suggest(trial, self.sweep.space)}

    def reached(self, name: str, scores: list[tuple[int, float]]) -> bool:
        """Take the validation UAR of a trial's epochs so far; says whether to stop it."""
        from optuna import TrialPruned

        try:
            report(self.running[name], [{"epoch": epoch, "validation_uar": uar} for epoch, uar in scores])
        except TrialPruned:
            self.stopped.add(name)
        return name in self.stopped

    def ended(self, name: str, scores: list[tuple[int, float]], error: str) -> None:
        """Take how a trial ended."""
        trial = self.running.pop(name)
        whole = not error and name not in self.stopped
        finish(self.sweep, trial, max(uar for _, uar in scores) if whole else None, error)
        self.failures = self.failures + 1 if error else 0
        self.tell(trial_rows(self.study)[trial.number])
