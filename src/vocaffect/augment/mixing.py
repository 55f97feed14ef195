"""Mixup: two clips heard at once, which have a part of the target each."""

import numpy as np

from vocaffect.augment.noise import SILENT
from vocaffect.augment.samples import Samples, in_scale, mean_power


def mixed(samples: Samples, partner: Samples, share: float, place: float) -> tuple[Samples, float]:
    """The clip with another under it, and what share of the target the clip keeps.

    ``(r x + (1 - r) y) / sqrt(r^2 + (1 - r)^2)``, with ``y`` brought to the power of ``x`` first: Zhang H et al.
    (2018), arXiv:1710.09412, on waveforms whose levels are matched (Tokozume Y, Ushiku Y, Harada T (2018), ICLR,
    equation 2). Features could be mixed too, but only within a batch, and two silence masks do not add up.
    Where the other clip is shorter it has that much less of the target.

    Args:
        samples: the clip, which keeps its length.
        partner: the other.
        share: ``r``.
        place: where a shorter partner lies in the clip, or a longer one is cut from, between 0 and 1.
    """
    power, other = mean_power(samples), mean_power(partner)
    if power < SILENT or other < SILENT:
        return samples, 1.0
    start = int(place * (abs(len(samples) - len(partner)) + 1))
    under, length = np.zeros_like(samples), min(len(samples), len(partner))
    if len(partner) > len(samples):
        under[:] = partner[start : start + length]
    else:
        under[start : start + length] = partner
    scale = np.sqrt(share**2 + (1 - share) ** 2)
    own, its = np.float32(share / scale), np.float32((1 - share) / scale * np.sqrt(power / other))
    return in_scale(own * samples + its * under), 1 - (1 - share) * length / len(samples)
