"""What the loop may be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vocaffect.training.masking import MaskOptions
from vocaffect.training.progress import Keep
from vocaffect.training.schedule import Scheduler


@dataclass(frozen=True)
class LoopOptions:
    """What the loop may be told; the recipe's section ``training`` names the same things."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    max_epochs: int = 100
    early_stopping_patience: int = 15
    keep: Keep = "best"
    scheduler: Scheduler = "plateau"
    warmup_epochs: float = 0.0
    scheduler_patience: int = 5
    scheduler_factor: float = 0.5
    average_decay: float = 0.0
    gradient_clip: float = 5.0
    accumulate: int = 1
    loss: str = "cross_entropy"
    loss_parameters: Mapping[str, Any] = field(default_factory=dict)
    class_weights: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    frame_weight: float = 0.0
    distill_weight: float = 0.0
    distill_temperature: float = 1.0
    masking: MaskOptions = field(default_factory=MaskOptions)
    session_length: int = 1
    checkpoint_every: int = 10
    amp: Literal["auto", "on", "off"] = "auto"
    seed: int = 0
