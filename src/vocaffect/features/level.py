"""What is silent, and how loud the voice has been so far: both from the past alone."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.state import running_sum

DB_PER_NEPER = 10 / math.log(10)
"""Decibels of power for each unit of the natural logarithm."""


class Loudness(NamedTuple):
    """Per frame, each ``(batch, num_frames, 1)``: the running level, and 1 where something sounds, else 0.

    The level is told in nepers of power above the reference.
    """

    level: Tensor
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
        self.per_silence = 10 ** (-silence_db / 10)
        self.reference = (reference_db - silence_db) / DB_PER_NEPER
        self.prior_frames = None if prior_s is None else prior_s * frame_rate_hz

    def initial_state(self, batch: int) -> Tensor:
        """No frames heard, ``(batch, 1, 2)``: the number of active ones, and the sum of their levels in nepers."""
        return torch.zeros(batch, 1, 2)

    def forward(self, mean_square: Tensor, state: Tensor | None = None) -> tuple[Loudness, Tensor]:
        """The power of frames, ``(batch, num_frames, 1)``, to their `Loudness` and the next state."""
        above_silence = (mean_square * self.per_silence).clamp_(min=1.0).log_()
        active = above_silence.sign()
        level = torch.sub(above_silence, active, alpha=self.reference)
        sums = running_sum(torch.cat([active, level], dim=-1), state)
        if mean_square.shape[1]:
            state = sums[:, -1:]
        elif state is None:
            state = self.initial_state(mean_square.shape[0]).to(mean_square)
        return Loudness(self._running(sums), active), state

    def _running(self, sums: Tensor) -> Tensor:
        count, total = torch.split(sums, 1, dim=-1)
        if self.prior_frames is None:
            return torch.zeros_like(total)
        return total / (count + self.prior_frames)
