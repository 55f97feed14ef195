"""Clips are decoded once: what was measured is kept in a cache folder, and what changed is measured again."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocaffect import audio
from vocaffect.corpora import measured, prepare
from vocaffect.files import cache_folder
from vocaffect.manifest import Manifest


def speak(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-3000, 3000, 1600).astype(np.int16)
    soundfile.write(path, samples, 16_000)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    for number in range(4):
        speak(tmp_path / "speech" / "happy" / f"{number}.wav", number)
    return tmp_path / "speech"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the clips that were decoded."""
    names: list[str] = []

    def measure(path: Path) -> audio.Measurement:
        names.append(path.name)
        return audio.measure(path)

    monkeypatch.setattr(measured, "measure", measure)
    return names


def read(speech: Path) -> Manifest:
    return prepare("folder", speech, cache=speech.parent / "cache")


def test_what_did_not_change_is_not_decoded_again(speech: Path, decoded: list[str]) -> None:
    first = read(speech)
    assert len(decoded) == 4
    assert read(speech) == first == prepare("folder", speech)
    assert len(decoded) == 8, "only the last call, without a cache, decodes"
    assert not [path for path in speech.rglob("*") if path.is_file() and path.suffix != ".wav"]


def test_a_clip_that_changed_is_measured_again_even_if_its_time_is_set_back(speech: Path, decoded: list[str]) -> None:
    first, path = read(speech), speech / "happy" / "2.wav"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    speak(path, 99)
    os.utime(path, ns=times)
    decoded.clear()
    second = read(speech)
    assert decoded == ["2.wav"]
    assert [one.sha256 != other.sha256 for one, other in zip(first, second, strict=True)] == [False, False, True, False]


@pytest.mark.parametrize("damage", [b"", b"not json", b'{"happy/0.wav": [1, 2, 3, "", 9.0]}', b"\xff\xfe"])
def test_damaged_records_are_made_again(speech: Path, decoded: list[str], damage: bytes) -> None:
    first = read(speech)
    (file,) = (speech.parent / "cache" / "clips").iterdir()
    file.write_bytes(file.read_bytes().replace(b"0.1", b"7.1", 1) if damage == b"" else damage)
    assert read(speech) == first
    assert len(decoded) == 8
    read(speech)
    assert len(decoded) == 8


def test_what_was_measured_before_an_interruption_is_kept(speech: Path, decoded: list[str]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("folder", speech, cache=speech.parent / "cache", progress=stop)
    assert decoded == ["0.wav", "1.wav", "2.wav"]
    read(speech)
    assert decoded == ["0.wav", "1.wav", "2.wav", "3.wav"]


def test_a_cache_that_cannot_be_written_is_gone_without(speech: Path, decoded: list[str]) -> None:
    (speech.parent / "cache").write_text("no folder")
    assert read(speech) == read(speech)
    assert len(decoded) == 8


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOCAFFECT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("VOCAFFECT_CACHE")
    assert "vocaffect" in cache_folder().parts
