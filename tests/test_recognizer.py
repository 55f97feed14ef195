import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vocaffect.audio import AudioError, Clip
from vocaffect.bundle import Bundle, BundleError, golden_signal
from vocaffect.errors import VocaffectError
from vocaffect.recognizer import MAX_ROWS, Recognizer
from vocaffect.utterance import Output, State, Work, fresh_state, softmax

HOP, RATE = 160, 16_000


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def frame(toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(toys("frame").write(tmp_path_factory.mktemp("toy") / "x.onnx"))


@pytest.fixture(scope="module")
def window(toys: Any, tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(toys("window").write(tmp_path_factory.mktemp("toy") / "x.onnx"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of the samples in every call of a graph from here on."""
    shapes: list[tuple[int, ...]] = []
    run = Bundle.run

    def noting(bundle: Bundle, samples: NDArray[np.float32], state: State | None = None) -> Output:
        shapes.append(samples.shape)
        return run(bundle, samples, state)

    monkeypatch.setattr(Bundle, "run", noting)
    return shapes


def window_posterior_by_hand(window: Recognizer, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last window alone while none is full, else the mean of all full ones, each run by itself."""
    size, hop = window.card.window_samples, window.card.window_hop_samples
    end = len(samples) // HOP * HOP
    ends = [*range(hop, end + 1, hop), *([end] if end % hop else [])]
    padded = np.concatenate([np.zeros(size, np.float32), samples])
    logits = {e: window.run(padded[None, e : e + size]).logits[0] for e in ends}
    full = [logits[e] for e in ends if e >= size]
    return softmax(np.mean(full, axis=0) if full else logits[ends[-1]], window.card.temperature)


@pytest.mark.parametrize("seconds", [0.01, 1.005, 8.0, 8.01, 20.3])
def test_frame_posteriors_follow_the_formula(frame: Recognizer, toys: Any, seconds: float) -> None:
    samples = noise(seconds)
    trace = frame.posterior(samples)
    expected = softmax(toys("frame").frame_logits(samples).astype(np.float32), frame.card.temperature)
    assert trace.posteriors.shape == (len(samples) // HOP, 3)
    np.testing.assert_allclose(trace.posteriors, expected, atol=1e-5)
    np.testing.assert_array_equal(trace.posterior, trace.posteriors[-1])
    assert trace.active.all()


@pytest.mark.parametrize("seconds", [0.01, 0.25, 0.9, 1.0, 1.13, 2.5, 9.77])
def test_window_posteriors_follow_the_rule(window: Recognizer, seconds: float) -> None:
    samples = noise(seconds)
    trace = window.posterior(samples)
    np.testing.assert_allclose(trace.posterior, window_posterior_by_hand(window, samples), atol=1e-6)
    np.testing.assert_allclose(window.decide(samples).posterior, trace.posterior, atol=1e-6)
    assert trace.active.shape == (len(trace.posteriors),)


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 299), batch=st.integers(1, 3))
def test_running_in_two_calls_is_running_in_one(frame: Recognizer, cut: int, batch: int) -> None:
    samples = np.stack([noise(3, seed) for seed in range(batch)])
    whole = frame.run(samples)
    first = frame.run(samples[:, : cut * HOP])
    second = frame.run(samples[:, cut * HOP :], first.state)
    np.testing.assert_allclose(np.concatenate([first.logits, second.logits], axis=1), whole.logits, atol=1e-5)
    for name, value in second.state.items():
        np.testing.assert_allclose(value, whole.state[name], atol=1e-4)


def test_a_long_input_is_run_in_pieces(frame: Recognizer, calls: list[tuple[int, ...]]) -> None:
    samples = noise(20)[None]
    whole = frame._bundle.run(samples)
    output = frame.run(samples)
    assert calls == [(1, 20 * RATE), (1, 8 * RATE), (1, 8 * RATE), (1, 4 * RATE)]
    np.testing.assert_allclose(output.logits, whole.logits, atol=1e-5)
    assert output.features.shape == whole.features.shape
    np.testing.assert_allclose(output.state["sum"], whole.state["sum"], rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 4), max_size=8))
def test_many_works_are_answered_in_order(frame: Recognizer, hops: list[int]) -> None:
    works = [Work(noise(n * 0.01, seed)[None], fresh_state(frame.card)) for seed, n in enumerate(hops)]
    for work, output in zip(works, frame.step(works), strict=True):
        alone = frame.run(work.samples, work.state)
        np.testing.assert_allclose(output.logits, alone.logits, atol=1e-5)
        assert output.logits.shape == alone.logits.shape
        assert output.state["sum"].shape == (1, 4)


def test_works_of_equal_length_share_a_call(frame: Recognizer, calls: list[tuple[int, ...]]) -> None:
    frame.step([Work(noise(0.1, seed)[None], fresh_state(frame.card)) for seed in range(20)])
    assert calls == [(20, RATE // 10)]


def test_windows_are_run_a_few_at_a_time(window: Recognizer, calls: list[tuple[int, ...]]) -> None:
    assert len(window.posterior(noise(30)).posteriors) == 120
    assert sum(rows for rows, _ in calls) == 120
    assert max(rows for rows, _ in calls) <= MAX_ROWS


def test_recognising_a_clip(frame: Recognizer, window: Recognizer, tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(8_000, np.float32), golden_signal(1.5), np.zeros(12_000, np.float32)])
    path = tmp_path / "x.wav"
    sf.write(path, samples, RATE, subtype="FLOAT")
    for recognizer in (frame, window):
        found = recognizer.recognize(samples)
        assert found.posterior is not None
        np.testing.assert_array_equal(found.posterior, recognizer.posterior(samples).posterior)
        assert found.label == recognizer.labels[int(found.posterior.argmax())]
        assert found.duration_s == len(samples) / RATE
        stream = recognizer.open_stream()
        live = [u.ended for u in stream.push(samples) + stream.finish() if u.ended is not None]
        assert [s.to_dict(recognizer.labels) for s in live] == found.to_dict()["segments"]
        for source in (path, str(path), path.read_bytes(), Clip(samples, RATE, 1)):
            assert recognizer.recognize(source).to_dict() == found.to_dict()


@pytest.mark.parametrize("samples", [np.zeros(RATE, np.float32), noise(1) * 0.01, noise(0.0001), noise(0)])
def test_without_a_voice_there_is_no_emotion(frame: Recognizer, samples: NDArray[np.float32]) -> None:
    found = frame.recognize(samples)
    assert found.to_dict() == {
        "label": None,
        "uncertain": False,
        "posterior": None,
        "duration_s": round(len(samples) / RATE, 4),
        "segments": [],
    }


def test_sources_that_are_no_audio(frame: Recognizer, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    for source in (tmp_path / "missing.wav", text, b"not audio", b""):
        with pytest.raises(AudioError):
            frame.recognize(source)
    with pytest.raises(VocaffectError, match="not finite"):
        frame.recognize(np.full(RATE, np.nan, np.float32))


def test_less_than_one_frame_has_no_posterior(frame: Recognizer) -> None:
    with pytest.raises(VocaffectError, match="has 159 samples, one frame needs 160; record more"):
        frame.posterior(noise(159 / RATE))


def test_an_unknown_recogniser_is_refused() -> None:
    with pytest.raises(BundleError, match="recogniser 'nobody' is not known"):
        Recognizer.load("nobody")


def test_threads_share_a_recogniser(frame: Recognizer) -> None:
    signals = [noise(2, seed) for seed in range(6)]
    alone = [frame.posterior(signal).posterior for signal in signals]
    found: dict[int, NDArray[np.float32]] = {}

    def work(index: int) -> None:
        found[index] = frame.posterior(signals[index]).posterior

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(signals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, posterior in enumerate(alone):
        np.testing.assert_array_equal(found[index], posterior)


def test_more_threads_give_the_same(toy_bundle: Path) -> None:
    one, two = Recognizer.load(toy_bundle), Recognizer.load(toy_bundle, threads=2)
    np.testing.assert_allclose(one.posterior(noise(1)).posterior, two.posterior(noise(1)).posterior, atol=1e-6)
