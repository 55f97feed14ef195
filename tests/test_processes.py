import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocaffect.processes import shared


def even_ones_dawdle(number: int) -> int:
    time.sleep(0.01 * (number % 2 == 0))
    return number


@dataclass(frozen=True)
class FirstWaitsForLast:
    """Leaves a mark for each lot; the first lot is done when the last has its mark."""

    folder: Path
    last: int

    def __call__(self, number: int) -> bool:
        (self.folder / str(number)).touch()
        until = time.monotonic() + 30
        while number == 0 and not (self.folder / str(self.last)).exists() and time.monotonic() < until:
            time.sleep(0.01)
        return (self.folder / str(self.last)).exists() or number > 0


def thirds_fail(number: int) -> int:
    if number % 3 == 2:
        raise ValueError(f"not {number}")
    return number


@settings(max_examples=5, deadline=None)
@given(num_lots=st.integers(0, 12), workers=st.integers(1, 4))
def test_answers_come_in_the_order_of_the_lots(num_lots: int, workers: int) -> None:
    assert list(shared(even_ones_dawdle, range(num_lots), workers)) == list(range(num_lots))


def test_whoever_is_free_takes_the_next_lot(tmp_path: Path) -> None:
    assert all(shared(FirstWaitsForLast(tmp_path, last=6), range(7), 2))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_what_a_job_raises_comes_in_its_place(workers: int) -> None:
    answers = shared(thirds_fail, range(8), workers)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ValueError, match="not 2"):
        next(answers)
