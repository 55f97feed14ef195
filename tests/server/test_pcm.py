import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.server.pcm import PcmReader
from vocaffect.server.refusals import ProtocolError


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_int16_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    reader = PcmReader("int16")
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [reader.push(data[start:end]) for start, end in itertools.pairwise(edges)]
    whole = [int.from_bytes(data[i : i + 2], "little", signed=True) / 32_768 for i in range(0, len(data) - 1, 2)]
    np.testing.assert_array_equal(np.concatenate(parts), np.array(whole, np.float32))


def test_float32_is_cut_off_at_full_scale_and_carried_over() -> None:
    data = np.array([0.25, -3.0, 1.5], "<f4").tobytes()
    reader = PcmReader("float32")
    parts = [reader.push(data[:5]), reader.push(data[5:7]), reader.push(data[7:])]
    assert np.concatenate(parts).tolist() == [0.25, -1.0, 1.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ProtocolError, match="not a finite number") as caught:
        PcmReader("float32").push(np.array([0, value], "<f4").tobytes())
    assert caught.value.code == "bad_audio"
