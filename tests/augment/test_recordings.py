"""Folders of noises and rooms, and the babble of others."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocaffect.augment import AugmentOptions, Parameters, Sounds, apply, draw
from vocaffect.augment.noise import babble
from vocaffect.augment.recordings import excerpt, list_recordings
from vocaffect.errors import VocaffectError

CLEAN = (0.1 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A short noise, a long one at 48 kHz in stereo, and what is no audio."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "short.wav", 0.1 * rng.standard_normal(3_000), 16_000)
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more" / "long.flac", 0.1 * rng.standard_normal((400_000, 2)), 48_000)
    (tmp_path / "readme.txt").write_text("noises")
    return tmp_path


def test_recorded_noise_is_at_its_snr_and_repeatable(folder: Path) -> None:
    options = AugmentOptions(probability=1, noises=(), noise_folder=str(folder))
    sounds, used = Sounds.of(options), set()
    for seed in range(12):
        parameters = draw(np.random.default_rng(seed), options)
        assert parameters.noise_kind == "recorded"
        alone = Parameters(noise_snr_db=7, noise_kind="recorded", noise_seed=parameters.noise_seed)
        noisy = apply(CLEAN, alone, sounds)
        np.testing.assert_array_equal(apply(CLEAN, alone, sounds), noisy)
        noise = noisy - CLEAN
        assert 10 * np.log10(np.mean(CLEAN**2) / np.mean(noise**2)) == pytest.approx(7, abs=0.01)
        repeats = np.allclose(noise[:3_000], noise[3_000:6_000], atol=1e-6)
        used.add("short" if repeats else "long")
    assert used == {"short", "long"}


def test_a_recorded_room_is_convolved_with(folder: Path, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    answer = np.zeros(4_000)
    answer[[800, 2_400]] = 0.8, 0.4
    soundfile.write(rooms / "hall.wav", answer, 16_000, subtype="FLOAT")
    options = AugmentOptions(probability=1, reverb_folder=str(rooms))
    assert draw(np.random.default_rng(0), options).room == "recorded"
    click = np.zeros(8_000, np.float32)
    click[1_000] = 0.9
    wet = apply(click, Parameters(room="recorded"), Sounds.of(options))
    assert np.flatnonzero(np.abs(wet) > 0.01).tolist() == [1_000, 2_600]
    assert wet[2_600] / wet[1_000] == pytest.approx(0.5, rel=1e-4)


def test_synthetic_and_recorded_rooms_are_as_frequent(folder: Path) -> None:
    options = AugmentOptions(probability=1, reverb_folder=str(folder), reverb_s=(0.2, 0.4))
    rooms = [draw(np.random.default_rng(i), options).room for i in range(400)]
    assert rooms.count("recorded") / len(rooms) == pytest.approx(0.5, abs=0.08)


def test_babble_is_of_several_others() -> None:
    """Each voice is a tone of its own, so the spectrum tells who takes part."""
    voices = [
        (8_000 * np.sin(2 * np.pi * 100 * (k + 2) * np.arange(9_000) / 16_000)).astype(np.int16) for k in range(10)
    ]
    heard: set[int] = set()
    for seed in range(40):
        spectrum = np.abs(np.fft.rfft(babble(16_000, np.random.default_rng(seed), voices, own=4)[:1_600]))
        present = {k for k in range(10) if spectrum[10 * (k + 2)] > 200}
        assert 1 <= len(present) <= 8
        heard |= present
    assert heard == set(range(10)) - {4}
    assert not babble(100, np.random.default_rng(0), voices[:1], own=0).any()
    assert not babble(100, np.random.default_rng(0), []).any()


def test_folders_without_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocaffectError, match="is no folder: name a folder"):
        Sounds.of(AugmentOptions(noise_folder=str(tmp_path / "none")))
    with pytest.raises(VocaffectError, match="holds no recordings"):
        list_recordings(tmp_path)
    with pytest.raises(VocaffectError, match=r"pass Sounds.of"):
        apply(CLEAN, Parameters(noise_snr_db=3, noise_kind="recorded"))


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF1234WAVE")
    with pytest.raises(VocaffectError, match=r"broken.wav cannot be read.*mend or remove it"):
        excerpt(tmp_path / "broken.wav", 100, 0.5)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    with pytest.raises(VocaffectError, match="holds nothing"):
        excerpt(tmp_path / "empty.wav", 100, 0.5)
