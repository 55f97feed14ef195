"""Learning rates against torch's schedulers."""

import numpy as np
import pytest
import torch

from vocaffect.training.schedule import Scheduler, planned_rate

STEPS, EPOCHS = 2_000, 20


def ours(scheduler: Scheduler, warmup_epochs: float = 0.0) -> list[float]:
    rates = [
        planned_rate(
            scheduler, step * EPOCHS / STEPS, learning_rate=0.3, max_epochs=EPOCHS, warmup_epochs=warmup_epochs
        )
        for step in range(STEPS)
    ]
    return [rate for rate in rates if rate is not None]


def torch_s(make: object) -> list[float]:
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3)
    assert callable(make)
    scheduler, rates = make(optimiser), []
    for _ in range(STEPS):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_one_cycle_is_torch_s() -> None:
    """Up to its rounding of the turning point to a step."""
    cycle = torch_s(lambda optimiser: torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.3, STEPS, cycle_momentum=False))
    np.testing.assert_allclose(ours("one-cycle"), cycle, atol=0.3 * 2e-3)
    assert max(ours("one-cycle", 2.0)) == pytest.approx(0.3)
    assert np.argmax(ours("one-cycle", 2.0)) == STEPS // 10


def test_cosine_is_torch_s() -> None:
    falling = torch_s(lambda optimiser: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS))
    np.testing.assert_allclose(ours("cosine"), falling, atol=1e-9)
    warm = ours("cosine", 4.0)
    np.testing.assert_allclose(warm[: STEPS // 5], 0.3 * np.arange(STEPS // 5) / (STEPS // 5), atol=1e-9)
    assert np.argmax(warm) == STEPS // 5


@pytest.mark.parametrize("scheduler", ["plateau", "none"])
def test_others_plan_nothing(scheduler: Scheduler) -> None:
    assert ours(scheduler) == []
