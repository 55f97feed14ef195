"""Causal framing: samples in, overlapping frames out, and the samples that the next chunk still needs."""

import torch
from torch import Tensor, nn

from vocaffect.units import exact_div


class Framing(nn.Module):
    """Cut samples into frames of ``win`` samples, one every ``hop``, each ending where its hop ends.

    Before the first sample lie ``win - hop`` zeros, the first remainder, so that ``num_frames`` is
    ``num_samples // hop``: nothing is looked ahead to and nothing has to be flushed::

        zeros     |--- hop ---|--- hop ---|
        [---- frame 0 --------]
                    [---- frame 1 --------]

    Args:
        win: the frame's length in samples; a multiple of ``hop / 2``.
        hop: the samples between two frames; even.
    """

    def __init__(self, win: int = 400, hop: int = 160) -> None:
        super().__init__()
        self.win, self.hop = win, hop
        self.block = exact_div(hop, 2)
        self.blocks_per_frame = exact_div(win, self.block)

    def initial_state(self, batch: int) -> Tensor:
        """The ``win - hop`` zeros in front of the first sample, ``(batch, win - hop)``."""
        return torch.zeros(batch, self.win - self.hop)

    def forward(self, samples: Tensor, remainder: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames of the remainder and the samples together.

        Args:
            samples: ``(batch, num_samples)``, any number of them.
            remainder: what the last call returned, ``(batch, at least win - hop)``.

        Returns:
            ``(frames (batch, num_frames, win), remainder)``.
        """
        if remainder is None:
            remainder = self.initial_state(samples.shape[0]).to(samples)
        buffer = torch.cat([remainder, samples], dim=1)
        if torch.compiler.is_exporting():
            return self._frames_of_whole_hops(buffer, samples), buffer[:, -(self.win - self.hop) :]
        num_frames = (buffer.shape[1] - (self.win - self.hop)) // self.hop
        if num_frames == 0:
            return buffer.new_zeros(buffer.shape[0], 0, self.win), buffer
        return buffer.unfold(1, self.win, self.hop)[:, :num_frames], buffer[:, num_frames * self.hop :]

    def _frames_of_whole_hops(self, buffer: Tensor, samples: Tensor) -> Tensor:
        """The same frames by slicing alone, which an exported graph does without a gather.

        A graph is only ever given whole hops, so the frames begin at every second block of half a hop.
        """
        blocks = buffer.reshape(buffer.shape[0], -1, self.block)
        last = 2 * (samples.shape[1] // self.hop) - 1
        return torch.cat([blocks[:, i : i + last : 2] for i in range(self.blocks_per_frame)], dim=-1)
