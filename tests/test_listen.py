import builtins
import io
import signal
import sys
import types
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from rich.console import Console

from vocaffect import listen
from vocaffect.audio import AudioError
from vocaffect.bundle import golden_signal
from vocaffect.errors import VocaffectError
from vocaffect.listen import Screen, file_chunks, follow, microphone_chunks, stop_on_interrupt
from vocaffect.recognizer import Recognizer
from vocaffect.stream import Update


class FakeSounddevice(types.ModuleType):
    """A microphone that plays `signal` in blocks of 480 samples when it is opened, and is then unplugged."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rates: list[int], signal: Any) -> None:
        super().__init__("sounddevice")
        self.rates, self.signal, self.opened = rates, signal, 0
        self.InputStream = self._open

    def check_input_settings(self, *, samplerate: int, **_: Any) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, device: object, kind: str) -> dict[str, float]:
        if not self.rates:
            raise self.PortAudioError("no default input device")
        return {"default_samplerate": float(self.rates[0])}

    def _open(self, *, samplerate: int, device: object, channels: int, dtype: str, callback: Any) -> Any:
        self.opened = samplerate
        block = np.zeros((480, 1), np.float32)
        for start in range(0, len(self.signal), 480):
            part = self.signal[start : start + 480]
            block[: len(part), 0] = part  # PortAudio uses its buffer again
            callback(block[: len(part)], len(part), None, None)
        return _Context()


class _Context:
    active = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def plugged(monkeypatch: pytest.MonkeyPatch, rates: list[int], signal: Any) -> FakeSounddevice:
    fake = FakeSounddevice(rates, signal)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def hear_all(stop: Event) -> tuple[np.ndarray[Any, np.dtype[np.float32]], str]:
    """All the microphone gives, and the complaint when it is gone."""
    heard: list[Any] = []
    try:
        heard.extend(microphone_chunks(None, stop))
    except VocaffectError as error:
        return np.concatenate(heard), str(error)
    return np.concatenate(heard), ""


def screen_text(screen: Screen) -> str:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(screen)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_microphone_at_16_khz_is_heard_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = plugged(monkeypatch, [16_000, 48_000], golden_signal(0.5))
    heard, complaint = hear_all(Event())
    assert fake.opened == 16_000
    np.testing.assert_array_equal(heard, golden_signal(0.5))
    assert complaint == "the microphone has gone; plug it in again and start anew"


def test_a_microphone_at_another_rate_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)
    fake = plugged(monkeypatch, [48_000], sine)
    heard, _ = hear_all(Event())
    assert fake.opened == 48_000
    expected = np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 16_000)
    assert len(heard) > 14_000
    np.testing.assert_allclose(heard[1000:-1000], expected[1000:-1000], atol=1e-3)


def test_stopping_ends_the_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, [16_000], golden_signal(0.5))
    stop = Event()
    chunks = microphone_chunks(None, stop)
    next(chunks)
    stop.set()
    assert [len(chunk) for chunk in chunks] == [0]


def test_no_microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, [], golden_signal(0.1))
    with pytest.raises(VocaffectError, match=r"does not open \(no default input device\); plug one in"):
        next(microphone_chunks("nobody", Event()))


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (ImportError("No module named 'sounddevice'"), r"`pip install 'vocaffect\[listen\]'`"),
        (OSError("PortAudio library not found"), "apt install libportaudio2"),
    ],
)
def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, error: Exception, cure: str) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sounddevice":
            raise error
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(VocaffectError, match=cure):
        next(microphone_chunks(None, Event()))


def test_a_file_in_chunks_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    sf.write(path, golden_signal(1.05), 16_000, subtype="FLOAT")
    chunks = list(file_chunks(path, Event(), realtime=False))
    assert [len(chunk) for chunk in chunks] == [1600] * 10 + [800]
    np.testing.assert_array_equal(np.concatenate(chunks), golden_signal(1.05))
    stop = Event()
    stop.set()
    assert list(file_chunks(path, stop, realtime=False)) == []
    with pytest.raises(AudioError):
        next(file_chunks(tmp_path / "missing.wav", Event(), realtime=False))


def test_following_shows_every_update(toy_bundle: Path) -> None:
    recognizer = Recognizer.load(toy_bundle)
    signal = golden_signal(2.0)
    shown: list[Update] = []
    follow(recognizer.open_stream(), iter(np.split(signal, [100, 5000, 9999])), shown.append)
    stream = recognizer.open_stream()
    expected = stream.push(signal) + stream.finish()
    assert [update.time_s for update in shown] == [update.time_s for update in expected]
    assert shown[-1].ended is not None


def test_the_first_interrupt_asks_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_screen_shows_what_is_known(toy_bundle: Path) -> None:
    recognizer = Recognizer.load(toy_bundle)
    screen = Screen(recognizer.labels, "microphone")
    assert "silence" in screen_text(screen)
    stream = recognizer.open_stream()
    signal = np.concatenate([golden_signal(2.0), np.zeros(16_000, np.float32)])
    texts = []
    for update in stream.push(signal):
        screen.take(update)
        texts.append((update, screen_text(screen)))
    speaking = [(update, text) for update, text in texts if update.posterior is not None]
    assert speaking
    for update, text in speaking:
        assert update.posterior is not None
        assert "silence" not in text
        for label, probability in zip(recognizer.labels, update.posterior, strict=True):
            (line,) = (line for line in text.splitlines() if f"  {label} " in line and f"{probability:.2f}" in line)
            assert line.count("█") == round(float(probability) * 40 * 8) // 8
    last = texts[-1][1]
    assert "silence" in last
    assert "0:00.0 - 0:01." in last
    assert len({len(text.splitlines()) for _, text in texts}) == 1
    assert len({len(line) for line in last.splitlines()}) == 1


def test_the_screen_shows_doubt(toys: Any, tmp_path: Path) -> None:
    toy = toys("frame")
    card = toy.card.model_copy(update={"uncertain_below": 0.999})
    recognizer = Recognizer.load(replace(toy, card=card).write(tmp_path / "x.onnx"))
    screen, texts = Screen(recognizer.labels, "microphone"), []
    for update in recognizer.open_stream().push(np.concatenate([golden_signal(2.0), np.zeros(16_000, np.float32)])):
        screen.take(update)
        texts += [screen_text(screen)] * (update.label is not None)
    assert texts
    assert all(", perhaps" in text for text in texts)
    assert ", uncertain" in screen_text(screen)


def test_labels_without_a_colour_are_drawn_too() -> None:
    assert listen.colour_of("bored") == listen.colour_of("neutral")
    assert listen.colour_of(None) != listen.colour_of("neutral")
