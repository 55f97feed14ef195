"""What is silent, and how loud the voice has been so far: both from the past alone."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

DB_PER_NEPER = 10 / math.log(10)
"""Decibels of power for each unit of the natural logarithm."""

FLOOR = 1e-12
"""Mean square below which a frame counts as -120 dBFS."""


class LevelState(NamedTuple):
    """The active frames heard so far, ``(batch, 1)``, and the sum of their levels above the reference in dB."""

    frames: Tensor
    total: Tensor


class Loudness(NamedTuple):
    """Per frame, each ``(batch, num_frames, 1)``: the gain for power, and 1 where something sounds, else 0."""

    power_gain: Tensor
    active: Tensor


class Level(nn.Module):
    """Mark silent frames, and bring the running level of the rest to a reference.

    A frame is active when its mean square exceeds ``silence_db`` (dB relative to full scale). The running level is
    the mean level of the active frames so far, this one included, with ``prior_s`` seconds at the reference
    counted in beforehand: the first frames are hardly moved, and a long signal ends at the reference whatever the
    microphone's gain.

    Args:
        silence_db: threshold in dBFS below which a frame is silent.
        reference_db: level in dBFS that active frames are brought to.
        prior_s: weight of the reference in seconds of active speech; ``None`` leaves levels alone.
        frame_rate_hz: frames in a second.
    """

    def __init__(
        self,
        silence_db: float = -60.0,
        reference_db: float = -35.0,
        prior_s: float | None = 1.0,
        frame_rate_hz: float = 100.0,
    ) -> None:
        super().__init__()
        self.silence_db, self.reference_db = silence_db, reference_db
        self.prior_frames = None if prior_s is None else prior_s * frame_rate_hz

    def initial_state(self, batch: int) -> LevelState:
        """No frames heard."""
        return LevelState(torch.zeros(batch, 1), torch.zeros(batch, 1))

    def forward(self, mean_square: Tensor, state: LevelState | None = None) -> tuple[Loudness, LevelState]:
        """The power of frames, ``(batch, num_frames)``, to their `Loudness` and the next state."""
        if state is None:
            state = LevelState(*(tensor.to(mean_square) for tensor in self.initial_state(mean_square.shape[0])))
        level_db = DB_PER_NEPER * torch.log(mean_square.clamp(min=FLOOR))
        active = (level_db > self.silence_db).to(mean_square.dtype)
        count = state.frames + active.cumsum(dim=1)
        total = state.total + (active * (level_db - self.reference_db)).cumsum(dim=1)
        loudness = Loudness(self._power_gain(count, total).unsqueeze(-1), active.unsqueeze(-1))
        return (loudness, LevelState(count[:, -1:], total[:, -1:])) if mean_square.shape[1] else (loudness, state)

    def _power_gain(self, count: Tensor, total: Tensor) -> Tensor:
        if self.prior_frames is None:
            return torch.ones_like(count)
        return torch.exp(total / (count + self.prior_frames) * (-1 / DB_PER_NEPER))
