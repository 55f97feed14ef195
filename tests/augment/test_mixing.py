"""Two clips at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.augment import mixed
from vocaffect.augment.samples import Samples


def tone(hz: float, num_samples: int, level: float) -> Samples:
    return (level * np.sin(2 * np.pi * hz * np.arange(num_samples) / 16_000)).astype(np.float32)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_the_parts_are_as_loud_as_their_shares(share: float) -> None:
    """Each part, by projection on its tone, whatever the levels were."""
    own, other = tone(400, 16_000, 0.2), tone(1_000, 20_000, 0.002)
    heard, kept = mixed(own, other, share, 0.0)
    assert len(heard) == len(own)
    assert kept == pytest.approx(share)
    levels = [float(heard @ tone(hz, 16_000, 1.0)) / 8_000 for hz in (400, 1_000)]
    assert levels[0] / levels[1] == pytest.approx(share / (1 - share), rel=1e-3)
    assert np.square(heard).mean() == pytest.approx(np.square(own).mean(), rel=1e-3)


def test_a_shorter_partner_has_less_of_the_target() -> None:
    own, other = tone(400, 16_000, 0.2), tone(1_000, 4_000, 0.2)
    heard, kept = mixed(own, other, 0.6, 0.5)
    assert kept == pytest.approx(1 - 0.4 / 4)
    alone = 0.6 / np.hypot(0.6, 0.4)
    np.testing.assert_allclose(heard[:6_000], alone * own[:6_000], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(heard[10_001:], alone * own[10_001:], rtol=1e-5, atol=1e-7)


def test_with_silence_nothing_is_mixed() -> None:
    own = tone(400, 1_000, 0.2)
    for one, other in ((own, np.zeros(500, np.float32)), (np.zeros(500, np.float32), own), (own, own[:0])):
        heard, kept = mixed(one, other, 0.6, 0.3)
        assert kept == 1
        np.testing.assert_array_equal(heard, one)


@given(
    own=st.integers(1, 300), other=st.integers(1, 300), share=st.floats(0.5, 1), place=st.floats(0, 1, exclude_max=True)
)
def test_any_lengths_go_together(own: int, other: int, share: float, place: float) -> None:
    rng = np.random.default_rng(own)
    one, two = (rng.uniform(-1, 1, length).astype(np.float32) for length in (own, other))
    heard, kept = mixed(one, two, share, place)
    assert len(heard) == own
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 1
    assert share - 1e-9 <= kept <= 1
