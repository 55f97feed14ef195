"""When a stream has settled, against what is said by hand and by a second, slower definition."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.decision import Settled, onset_s, settled, settling


@dataclass(frozen=True)
class Update:
    time_s: float
    segment: int | None
    label: str | None
    uncertain: bool = False


def stream(shown: str, segment: str = "") -> list[Update]:
    """One update for each letter: a label, a capital that is uncertain, a dot for none; a line for silence."""
    return [
        Update(
            time_s=round((place + 1) / 10, 1),
            segment=None if letter == "-" else int((segment or "0" * len(shown))[place]),
            label=None if letter in "-." else letter.lower(),
            uncertain=letter.isupper(),
        )
        for place, letter in enumerate(shown)
    ]


@pytest.mark.parametrize(
    ("shown", "label", "settled_s", "first_s"),
    [
        ("--..aaa--", "a", 0.5, 0.5),
        ("--.abaa--", "a", 0.6, 0.4),
        ("abbb", "b", 0.2, 0.1),
        ("aBbb", "b", 0.3, 0.1),
        ("aAaa", "a", 0.3, 0.1),
        ("a", "a", 0.1, 0.1),
    ],
)
def test_a_stream_is_settled_from_where_its_label_stays(
    shown: str, label: str, settled_s: float, first_s: float
) -> None:
    assert settled(stream(shown), 0.0) == Settled(label, settled_s, first_s)


@pytest.mark.parametrize("shown", ["", "---", "...", "aaA", "--aA-"])
def test_a_stream_that_ends_without_a_label_is_not_settled(shown: str) -> None:
    assert settled(stream(shown), 0.0) is None


def test_the_first_segment_counts_and_time_begins_with_speech() -> None:
    found = settled(stream("-aabbb-cccc", "00000001111"), 0.1)
    assert found is not None
    assert found.label == "b"
    assert [found.settled_s, found.first_s] == pytest.approx([0.3, 0.1])
    assert settled(stream("aa"), 5.0) == Settled("a", 0.0, 0.0)


@given(st.text("abAB.", max_size=12))
def test_nothing_else_is_shown_from_there_on_and_something_else_just_before(shown: str) -> None:
    found = settled(stream(shown), 0.0)
    ends = [place for place in range(len(shown)) if len(set(shown[place:])) == 1 and shown[-1] in "ab"]
    assert (found and round(found.settled_s * 10) - 1) == (min(ends) if ends else None)


def test_onset_is_where_the_level_rises() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.0005, 32_000).astype(np.float32)
    samples[8_080:] += rng.normal(0, 0.1, 32_000 - 8_080).astype(np.float32)
    assert onset_s(samples) == 0.5
    assert onset_s(samples * np.float32(0.01)) == 0.5
    assert onset_s(np.zeros(1_000, np.float32)) == onset_s(np.zeros(0, np.float32)) == 0.0


def test_those_that_never_settle_are_later_than_all_others() -> None:
    soon, late = Settled("a", 0.4, 0.2), Settled("b", 1.4, 0.3)
    found = settling([soon, late, None, soon], ["a", "a", None, "b"])
    assert found == {
        "num_clips": 4,
        "settled": 0.75,
        "first_s": {"median": 0.3, "p90": None},
        "settled_s": {"median": 1.4, "p90": None},
        "within_1_s": 0.5,
        "as_whole": 0.25,
    }
