"""Causal framing: samples in, overlapping frames out, and the samples that the next chunk still needs."""

import torch
from torch import Tensor, nn

from vocaffect.state import is_one
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
        """The ``win - hop`` zeros in front of the first sample, ``(batch, 1, win - hop)``."""
        return torch.zeros(batch, 1, self.win - self.hop)

    def forward(self, samples: Tensor, remainder: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames of the remainder and the samples together.

        Args:
            samples: ``(batch, num_samples)``, any number of them.
            remainder: what the last call returned, ``(batch, 1, at least win - hop)``.

        Returns:
            ``(frames (batch, num_frames, win), remainder)``.
        """
        buffer = self.joined(samples, remainder)
        frames = self.frames(buffer)
        return frames, self.rest(buffer)

    def joined(self, samples: Tensor, remainder: Tensor | None = None) -> Tensor:
        """The remainder and the samples behind it, ``(batch, 1, at least win - hop + num_samples)``."""
        if remainder is None:
            return nn.functional.pad(samples[:, None], (self.win - self.hop, 0))
        return torch.cat([remainder, samples[:, None]], dim=2)

    def num_frames(self, buffer: Tensor) -> int:
        """How many frames end within a buffer."""
        return (buffer.shape[2] - (self.win - self.hop)) // self.hop

    def frames(self, buffer: Tensor) -> Tensor:
        """All whole frames of a buffer, ``(batch, num_frames, win)``."""
        if torch.compiler.is_exporting():
            return self._frames_of_whole_hops(buffer)
        if self.num_frames(buffer) == 0:
            return buffer.new_zeros(buffer.shape[0], 0, self.win)
        return buffer[:, 0].unfold(1, self.win, self.hop)

    def rest(self, buffer: Tensor) -> Tensor:
        """What later frames still need of a buffer; ``win - hop`` samples after whole hops, which a graph is given."""
        if torch.compiler.is_exporting():
            kept = self.win - self.hop
            return buffer[:, :, -kept:] if kept else buffer[:, :, :0]
        return buffer[:, :, self.num_frames(buffer) * self.hop :]

    def mean_square(self, buffer: Tensor, frames: Tensor) -> Tensor:
        """The power of each frame of a buffer, whose frames are given, ``(batch, num_frames, 1)``."""
        if torch.compiler.is_exporting():
            if is_one(self.num_frames(buffer)):
                return buffer @ buffer.transpose(1, 2) / self.win
            return nn.functional.avg_pool1d(buffer * buffer, self.win, self.hop).transpose(1, 2)
        length: Tensor = torch.linalg.vector_norm(frames, dim=-1, keepdim=True)
        return length.square_().div_(self.win)

    def _frames_of_whole_hops(self, buffer: Tensor) -> Tensor:
        """The same frames by slicing alone, which an exported graph does without a gather.

        A graph is only ever given whole hops, so the frames begin at every second block of half a hop.
        """
        blocks = buffer.reshape(buffer.shape[0], -1, self.block)
        last = 2 * self.num_frames(buffer) - 1
        return torch.cat([blocks[:, i : i + last : 2] for i in range(self.blocks_per_frame)], dim=-1)
