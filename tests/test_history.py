import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.history import History


@given(keep=st.integers(1, 50), sizes=st.lists(st.integers(0, 50), max_size=60))
def test_the_newest_samples_are_there_however_they_came(keep: int, sizes: list[int]) -> None:
    history, signal = History(keep), np.arange(sum(min(size, keep) for size in sizes), dtype=np.float32)
    for size in sizes:
        history.append(signal[history.position : history.position + min(size, keep)])
        start = max(0, history.position - keep)
        np.testing.assert_array_equal(history.between(start, history.position), signal[start : history.position])
    assert history.position == len(signal)
