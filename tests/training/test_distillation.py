"""Learning from teachers."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from vocaffect.losses import distillation


def test_distillation_is_the_divergence_written_out() -> None:
    """Against scipy, clip by clip; a clip that no teacher has heard adds nothing."""
    rng = np.random.default_rng(0)
    logits, soft = rng.normal(0, 2, (3, 4, 5)), softmax(rng.normal(0, 2, (3, 5)), axis=1)
    soft[1] = 0
    num_frames, temperature = [4, 3, 2], 2.5
    active = np.ones((3, 4, 1))
    active[0, 1] = 0

    def divergence(clip: int, frame: int) -> float:
        teacher = softmax(np.log(soft[clip]) / temperature)
        return float(temperature**2 * rel_entr(teacher, softmax(logits[clip, frame] / temperature)).sum())

    last = (divergence(0, 3) + divergence(2, 1)) / 3
    every = sum(divergence(0, t) for t in (0, 2, 3)) + divergence(2, 0) + divergence(2, 1)
    x, on, lengths, teacher = (torch.from_numpy(array) for array in (logits, active, np.array(num_frames), soft))
    assert float(distillation(x, on, lengths, teacher, temperature)) == pytest.approx(last, rel=1e-9)
    both = float(distillation(x, on, lengths, teacher, temperature, frame_weight=0.25))
    assert both == pytest.approx(0.75 * last + 0.25 * every / (3 + 3 + 2), rel=1e-9)


def test_a_student_that_agrees_has_nothing_to_learn() -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    soft = logits[:, -1].softmax(dim=1)
    lengths, active = torch.tensor([3, 3]), torch.ones(2, 3, 1)
    for temperature in (0.5, 1.0, 4.0):
        assert float(distillation(logits, active, lengths, soft, temperature)) == pytest.approx(0, abs=1e-12)
