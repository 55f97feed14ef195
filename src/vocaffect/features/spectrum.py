"""The power spectrum of frames: a Hann window and a discrete Fourier transform as long as the frame."""

import math

import torch
from torch import Tensor, nn


class PowerSpectrum(nn.Module):
    """Power of each frequency of each frame, ``|DFT(hann * frame)|^2``, neither padded nor scaled.

    In Python the transform is a fast Fourier transform; an exported graph holds it as one matrix product with the
    same numbers, because runtimes are slow at transforms whose length is no power of two. Bin ``k`` lies at
    ``k * sample_rate / win`` Hz.

    Args:
        win: the frame's length in samples, which is also the transform's.
    """

    window: Tensor
    basis: Tensor

    def __init__(self, win: int = 400) -> None:
        super().__init__()
        self.num_bins = win // 2 + 1
        window = torch.hann_window(win, periodic=True, dtype=torch.float64)
        phase = torch.outer(torch.arange(win), torch.arange(self.num_bins)) % win * (2 * math.pi / win)
        basis = torch.cat([phase.double().cos(), -phase.double().sin()], dim=1) * window[:, None]
        self.register_buffer("window", window.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("basis", basis.to(torch.get_default_dtype()), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames ``(..., win)`` to power ``(..., win // 2 + 1)``."""
        if torch.compiler.is_exporting():
            real, imaginary = (frames @ self.basis).chunk(2, dim=-1)
            return real * real + imaginary * imaginary
        if frames.numel() == 0:
            return frames.new_zeros(*frames.shape[:-1], self.num_bins)
        squares = torch.view_as_real(torch.fft.rfft(frames * self.window)).square_()
        real, imaginary = squares.unbind(-1)
        return real + imaginary

    def of_signal(self, buffer: Tensor, hop: int) -> Tensor:
        """The power of every frame of a signal ``(batch, 1, num_samples)``, as an exported graph computes it.

        Framing, window and transform are one convolution there.
        """
        win = len(self.window)
        if isinstance(buffer.shape[2], int) and buffer.shape[2] == win and win % 2 == 0:
            return self._of_frame(buffer)
        kernel = self.basis.T[:, None]
        both = nn.functional.conv1d(buffer, kernel, stride=hop)
        real, imaginary = torch.split(both * both, self.num_bins, dim=1)
        return (real + imaginary).transpose(1, 2)

    def _of_frame(self, frame: Tensor) -> Tensor:
        """The power of one frame ``(batch, 1, win)``, for graphs of a single frame, with half the numbers.

        Around its middle the window is even, and its first value is zero. Cosines of time since the middle therefore
        see the sum of both sides, sines their difference; only the phases are others than from the beginning.
        """
        half = frame.shape[2] // 2
        later, earlier = frame[:, :, half:], frame[:, :, 1 : half + 1].flip(2)
        cosines, sines = torch.split(self.basis[half:], self.num_bins, dim=1)
        cosines = torch.cat([cosines[:1] / 2, cosines[1:]])  # the middle itself lies on both sides
        real, imaginary = (later + earlier) @ cosines, (later - earlier) @ sines
        power: Tensor = real * real + imaginary * imaginary
        return power
