"""Temporal convolutions that a speech encoder has taught to hear, with a head on running statistics of their blocks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vocaffect.encoders import EncoderError
from vocaffect.encoders.student import read_student, taught_by
from vocaffect.models.four_bits import in_four_bits
from vocaffect.models.registry import register_model
from vocaffect.models.running_statistics import RunningStatistics
from vocaffect.models.tcn import Blocks


@register_model("taught_tcn")
class TaughtTcn(RunningStatistics):
    """Temporal convolutions -> running mean and deviation of some blocks, standardised -> linear, frame by frame.

    With a ``student``, whose weights have learned from a speech encoder what it hears (``configs/students/tcn.py``),
    hold them still by ``training.freeze: ["model.encoder.*"]``; they standardise features themselves, so set
    ``frontend.standardise`` to false. Without one, they learn like any other model's.

    Args:
        num_features: features of a frame.
        num_labels: classes.
        channels: width of every block.
        num_blocks: how many blocks.
        cycle: the dilation doubles from each block to the next, and is 1 again after so many.
        kernel_size: taps of a dilated convolution.
        heard: which blocks the head hears, counted from 1.
        student: a safetensors file with the blocks' weights, and the mean and deviation of their features.
        four_bits: hold the weights of the blocks in four bits, here as in the exported file; then they do not learn.
        dropout: within blocks, and before the linear layer.

    Raises:
        ValueError: if no block is heard, or one that is not there.
    """

    encoder: Blocks

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        channels: int = 128,
        num_blocks: int = 8,
        cycle: int = 6,
        kernel_size: int = 3,
        heard: Sequence[int] = (4, 8),
        student: str | None = None,
        four_bits: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not heard or min(heard) < 1 or max(heard) > num_blocks:
            raise ValueError(f"heard names the blocks to hear, of 1 to {num_blocks}, not {list(heard)}")
        self.student, self.heard, self.four_bits = student, list(heard), four_bits
        if student is not None:
            self.hears = "raw"
        self.sizes = (num_features, channels, num_blocks, cycle, kernel_size, dropout)
        self.encoder = self._packed(Blocks(*self.sizes))
        self.set_head(channels * len(heard), num_labels, dropout)

    @property
    def learned_from(self) -> frozenset[str]:
        """The student's corpora."""
        return frozenset() if self.student is None else taught_by(self.student)

    def load(self) -> None:
        """Load the student.

        Raises:
            EncoderError: if it is not here or does not fit.
        """
        if self.student is None:
            return
        blocks, weights = Blocks(*self.sizes), read_student(self.student)
        own = blocks.state_dict()
        wrong = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
        if wrong:
            raise EncoderError(
                f"{self.student} does not fit these blocks ({wrong[0]}, and {len(wrong) - 1} more): give the "
                "model the sizes that it was made with"
            )
        blocks.load_state_dict({name: weights[name] for name in own})
        self.encoder.load_state_dict(self._packed(blocks).state_dict())

    def stem_settings(self) -> dict[str, Any]:
        """Which blocks, to the bit, and which of them are heard."""
        return {"heard": self.heard, "weights": self.encoder_digest()}

    def fresh(self, batch: int) -> tuple[Tensor, ...]:
        """Nothing heard."""
        return self.encoder.initial_state(batch)

    def vectors(self, features: Tensor, active: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The blocks that are heard, side by side."""
        given, state = self.encoder(features, active, state)
        return torch.cat([given[index - 1] for index in self.heard], dim=-1), state

    def _packed(self, blocks: Blocks) -> Blocks:
        return in_four_bits(blocks) if self.four_bits else blocks
