"""What the loop may be told, and the learning rates it plans from that."""

import math
from dataclasses import dataclass, field
from typing import Literal

from vocaffect.training.masking import MaskOptions


@dataclass(frozen=True)
class LoopOptions:
    """What the loop may be told; the recipe's section ``training`` names the same things."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    max_epochs: int = 100
    early_stopping_patience: int = 15
    scheduler: Literal["plateau", "cosine", "none"] = "plateau"
    warmup_epochs: float = 0.0
    scheduler_patience: int = 5
    scheduler_factor: float = 0.5
    average_decay: float = 0.0
    gradient_clip: float = 5.0
    label_smoothing: float = 0.0
    frame_weight: float = 0.0
    distill_weight: float = 0.0
    distill_temperature: float = 1.0
    masking: MaskOptions = field(default_factory=MaskOptions)
    checkpoint_every: int = 10
    amp: Literal["auto", "on", "off"] = "auto"
    seed: int = 0


def cosine_rate(options: LoopOptions, epochs_done: float) -> float:
    """The rate of a cosine schedule: a straight climb in ``warmup_epochs``, then half a cosine down to zero.

    >>> options = LoopOptions(learning_rate=1.0, max_epochs=10, warmup_epochs=2)
    >>> [round(cosine_rate(options, epoch), 3) for epoch in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    warmup = options.warmup_epochs
    if epochs_done < warmup:
        return options.learning_rate * epochs_done / warmup
    share = (epochs_done - warmup) / max(options.max_epochs - warmup, 1e-9)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
