import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vocaffect.bundle import Bundle, golden_signal
from vocaffect.errors import VocaffectError
from vocaffect.recognizer import Recognizer
from vocaffect.stream import Segment, Update
from vocaffect.units import SAMPLE_RATE

Signal = NDArray[np.float32]
LATENESS_S = 0.25


def voice(seconds: float, gain: float = 1.0) -> Signal:
    return golden_signal(seconds / 0.8)[: round(seconds * SAMPLE_RATE)] * np.float32(gain)


def silence(seconds: float) -> Signal:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def join(*parts: Signal) -> Signal:
    return np.concatenate(parts)


@pytest.fixture(scope="module", params=["frame", "lasting", "window", "short window"])
def recognizer(request: pytest.FixtureRequest, toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    toy = {
        "frame": lambda: toys("frame"),
        "lasting": lambda: toys("frame", lasting=True),
        "window": lambda: toys("window", window_s=1.0, window_hop_s=0.25),
        "short window": lambda: toys("window", window_s=0.32, window_hop_s=0.05),
    }[request.param]()
    return Recognizer.load(toy.write(tmp_path_factory.mktemp("toy") / "x.onnx"))


def updates(recognizer: Recognizer, chunks: Sequence[Signal], **options: float) -> list[Update]:
    stream = recognizer.open_stream(**options)
    return [update for chunk in chunks for update in stream.push(chunk)] + stream.finish()


def segments(found: Sequence[Update]) -> list[Segment]:
    return [update.ended for update in found if update.ended is not None]


def assert_same(one: Sequence[Update], other: Sequence[Update]) -> None:
    """Equal to the last bit."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for name in ("time_s", "speech", "speech_probability", "level_db", "label", "segment"):
            assert getattr(a, name) == getattr(b, name)
        for x, y in ((a.posterior, b.posterior), (a.features, b.features)):
            assert x is y is None or (x is not None and y is not None and x.tobytes() == y.tobytes())
        assert (a.ended is None) == (b.ended is None)
        if a.ended is not None and b.ended is not None:
            assert a.ended.to_dict(["x", "y", "z"]) == b.ended.to_dict(["x", "y", "z"])


CONVERSATION = join(silence(0.33), voice(0.9), silence(0.71), voice(1.234, 0.3), silence(0.9), voice(0.5))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_updates_are_equal_for_every_chunking(recognizer: Recognizer, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(CONVERSATION)), "length")
    cuts = data.draw(st.lists(st.integers(0, length), max_size=20).map(sorted), "cuts")
    signal = CONVERSATION[:length]
    whole = updates(recognizer, [signal])
    assert_same(updates(recognizer, np.split(signal, cuts)), whole)


@pytest.mark.parametrize("size", [1, 7, 160, 511, 1600, 4096])
def test_updates_are_equal_for_regular_chunks(recognizer: Recognizer, size: int) -> None:
    signal = CONVERSATION[: SAMPLE_RATE * 2]
    chunked = updates(recognizer, [signal[i : i + size] for i in range(0, len(signal), size)])
    assert_same(chunked, updates(recognizer, [signal]))


def test_streams_advanced_together_are_as_alone(recognizer: Recognizer) -> None:
    signals = [CONVERSATION, CONVERSATION[5000:], silence(1), voice(2), CONVERSATION[:12345], voice(0.01)]
    together: list[list[Update]] = [[] for _ in signals]
    streams = [recognizer.open_stream() for _ in signals]
    for start in range(0, max(map(len, signals)) + 4000, 4000):
        for stream, signal in zip(streams, signals, strict=True):
            stream.feed(signal[start : start + 4000])
        for found, new in zip(together, recognizer.advance(streams), strict=True):
            found += new
    for stream, found in zip(streams, together, strict=True):
        found += stream.finish()
    for signal, found in zip(signals, together, strict=True):
        alone = updates(recognizer, [signal])
        assert [u.segment for u in found] == [u.segment for u in alone]
        assert [u.label for u in found] == [u.label for u in alone]
        for a, b in zip(segments(found), segments(alone), strict=True):
            assert (a.start_s, a.end_s) == (b.start_s, b.end_s)
            np.testing.assert_allclose(a.posterior, b.posterior, atol=1e-5)


def test_a_segment_is_what_the_recogniser_says_of_that_span_alone(recognizer: Recognizer) -> None:
    found = segments(updates(recognizer, [CONVERSATION]))
    assert len(found) == 3
    lasting = any(spec.scope == "stream" for spec in recognizer.card.state)
    for segment in found[: 1 if lasting else None]:
        span = CONVERSATION[round(segment.start_s * SAMPLE_RATE) : round(segment.end_s * SAMPLE_RATE)]
        np.testing.assert_allclose(segment.posterior, recognizer.posterior(span).posterior, atol=1e-6)
        assert segment.label == recognizer.labels[int(segment.posterior.argmax())]


def test_segments_lie_where_the_voice_is(recognizer: Recognizer) -> None:
    spoken = [(0.33, 1.23), (1.94, 3.174), (4.074, 4.574)]
    found = segments(updates(recognizer, [CONVERSATION]))
    assert [segment.index for segment in found] == [0, 1, 2]
    for segment, (start, end) in zip(found, spoken, strict=True):
        assert start - 0.35 <= segment.start_s <= start + 0.1
        assert end - 0.1 <= segment.end_s <= end + LATENESS_S
    for before, after in pairwise(found):
        assert before.end_s <= after.start_s


def test_silence_is_no_emotion(recognizer: Recognizer) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-3, SAMPLE_RATE).astype(np.float32)
    found = updates(recognizer, [join(silence(1.03), noise)])
    assert [update.time_s for update in found] == pytest.approx([*np.arange(1, 21) / 10, 2.03])
    for update in found:
        assert not update.speech
        assert (update.posterior, update.label, update.segment, update.ended) == (None,) * 4
        assert update.features.size == 0


def test_the_model_is_not_run_in_silence(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "run", lambda *_: pytest.fail("the model was run"))
    assert len(updates(recognizer, [silence(3)])) == 30


def test_updates_within_speech(recognizer: Recognizer) -> None:
    found = updates(recognizer, [join(voice(2), silence(1))])
    speaking = [update for update in found if update.speech]
    assert [update.time_s for update in found] == pytest.approx(np.arange(1, 31) / 10)
    assert len(speaking) >= 20
    for update in speaking:
        assert update.segment == 0
        if update.time_s < (recognizer.card.window_hop_s or 0.0):
            assert update.posterior is None  # no window has ended yet
            continue
        assert update.posterior is not None
        assert update.posterior.sum() == pytest.approx(1, abs=1e-5)
        assert update.label == recognizer.labels[int(update.posterior.argmax())]
    assert found[-1].posterior is None


def test_smoothing_follows_its_time_constant(toy_bundle: Any) -> None:
    recognizer = Recognizer.load(toy_bundle)
    raw = [u.posterior for u in updates(recognizer, [voice(2)], smoothing_s=0.0) if u.posterior is not None]
    smooth = [u.posterior for u in updates(recognizer, [voice(2)], smoothing_s=0.4) if u.posterior is not None]
    expected = raw[0]
    for each, now in zip(smooth, raw, strict=True):
        expected = expected + (1 - np.exp(-0.1 / 0.4)) * (now - expected)
        np.testing.assert_allclose(each, expected, atol=1e-6)
    trace = recognizer.posterior(voice(2)[: 16 * 1600]).posteriors
    np.testing.assert_allclose(raw[len(raw) - 5], trace[-1], atol=1e-6)


def test_a_decision_that_comes_seldom_is_shown_at_once(toys: Any, tmp_path: Any) -> None:
    recognizer = Recognizer.load(toys("window", window_s=1.0, window_hop_s=0.5).write(tmp_path / "x.onnx"))
    found = updates(recognizer, [voice(3)], smoothing_s=0.25)
    raw = [update.raw_posterior for update in found if update.raw_posterior is not None]
    smooth = [update.posterior for update in found if update.posterior is not None]
    expected, before, changes = raw[0], raw[0], 0
    for each, now in zip(smooth, raw, strict=True):
        if not np.array_equal(now, before):
            expected = expected + (1 - np.exp(-0.5 / 0.25)) * (now - expected)
            before, changes = now, changes + 1
        np.testing.assert_allclose(each, expected, atol=1e-6)  # and stands still in between
    assert changes == 5


def test_speech_that_goes_on_is_cut_at_the_longest_segment(recognizer: Recognizer) -> None:
    signal = join(voice(3.7), silence(1))
    found = segments(updates(recognizer, [signal], max_segment_s=1.0))
    assert [segment.index for segment in found] == [0, 1, 2, 3]
    assert [segment.end_s for segment in found[:-1]] == [segment.start_s for segment in found[1:]]
    assert all(segment.end_s - segment.start_s <= 1.1 for segment in found)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0.02, 0.7), st.booleans()), min_size=1, max_size=8),
    st.fixed_dictionaries(
        {},
        optional={
            "max_segment_s": st.floats(1.0, 2.0),
            "min_silence_s": st.floats(0.1, 0.4),
            "pre_roll_s": st.floats(0, 0.5),
            "post_roll_s": st.floats(0, 0.1),
        },
    ),
)
def test_any_conversation_gives_ordered_segments_inside_it(
    recognizer: Recognizer, parts: list[tuple[float, bool]], options: dict[str, float]
) -> None:
    signal = join(*[voice(seconds) if spoken else silence(seconds) for seconds, spoken in parts])
    found = updates(recognizer, [signal], **options)
    spans = segments(found)
    edges = [edge for span in spans for edge in (span.start_s, span.end_s)]
    assert edges == sorted(edges)
    assert [span.index for span in spans] == list(range(len(spans)))
    assert all(0 <= edge <= len(signal) / SAMPLE_RATE for edge in edges)
    assert all(span.end_s > span.start_s for span in spans)
    assert {update.segment for update in found} - {None} <= set(range(len(spans)))


def test_lasting_state_is_carried_over_and_the_rest_is_not(toys: Any, tmp_path: Any) -> None:
    recognizer = Recognizer.load(toys(lasting=True).write(tmp_path / "x.onnx"))
    twice = join(voice(1), silence(1.0), voice(1), silence(1.0))
    first, second = segments(updates(recognizer, [twice]))
    assert first.posterior.max() < second.posterior.max()  # the toy grows surer with all it has heard
    fresh = segments(updates(recognizer, [join(silence(2), voice(1), silence(1))]))[0]
    np.testing.assert_allclose(fresh.posterior, first.posterior, atol=0.05)


def test_a_stream_computes_nothing_itself() -> None:
    code = "import sys, vocaffect.stream; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_misuse(toy_bundle: Any) -> None:
    recognizer = Recognizer.load(toy_bundle)
    stream = recognizer.open_stream()
    with pytest.raises(VocaffectError, match="not finite; send numbers"):
        stream.push(np.array([0.0, np.nan], np.float32))
    assert stream.finish() == []
    assert stream.finish() == []
    with pytest.raises(RuntimeError, match="open another"):
        stream.push(silence(1))
    with pytest.raises(VocaffectError, match="did you mean 'smoothing_s'"):
        recognizer.open_stream(smoothing=1.0)
    for options in ({"pre_roll_s": -1.0}, {"post_roll_s": 2.0}, {"max_segment_s": 0.5}, {"smoothing_s": -1.0}):
        with pytest.raises(VocaffectError):
            recognizer.open_stream(**options)
