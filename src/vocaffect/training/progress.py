"""How far a run has come: the epochs behind it, and the sums of the one under way."""

import math
from dataclasses import dataclass, field
from typing import Literal

Row = dict[str, float]
Keep = Literal["best", "last"]


@dataclass
class Progress:
    """Where training stands; a checkpoint holds it as JSON beside the weights."""

    epoch: int = 0
    """Epochs finished, validation included."""
    step: int = 0
    """Batches learned from in the epoch under way."""
    loss_sum: float = 0.0
    """Of the clips of those batches."""
    num_clips: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    lowest_loss: float = math.inf
    epochs_since_lower: int = 0
    rows: list[Row] = field(default_factory=list)

    def add(self, loss: float, num_clips: int) -> None:
        """Write down a batch that was learned from."""
        self.step += 1
        self.loss_sum += loss * num_clips
        self.num_clips += num_clips

    def finish_epoch(self, learning_rate: float, validation: Row, keep: Keep = "best") -> bool:
        """Write down the epoch that is over; says whether its weights are the ones to keep.

        Those of the best epoch by UAR on the validation speakers, then by the lower loss; or always the ``last``.
        """
        self.epoch += 1
        train_loss = self.loss_sum / max(self.num_clips, 1)
        row: Row = {"epoch": self.epoch, "train_loss": train_loss, "learning_rate": learning_rate, **validation}
        self.rows.append(row)
        self.step, self.loss_sum, self.num_clips = 0, 0.0, 0
        lower = row["validation_loss"] < self.lowest_loss
        self.epochs_since_lower = 0 if lower else self.epochs_since_lower + 1
        tied = row["validation_uar"] == self.best_score
        improved = keep == "last" or row["validation_uar"] > self.best_score or (tied and lower)
        self.lowest_loss = min(self.lowest_loss, row["validation_loss"])
        if improved:
            self.best_epoch, self.best_score = self.epoch, row["validation_uar"]
        return improved

    def is_over(self, max_epochs: int, patience: int) -> bool:
        """Whether epochs or patience have run out."""
        return self.epoch >= max_epochs or self.epoch - self.best_epoch >= patience
