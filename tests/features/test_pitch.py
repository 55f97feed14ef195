"""Pitch: voices whose pitch is known, librosa's estimate from four times as long a frame, and what has no pitch."""

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd

RATE = 16_000


def voice(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """A voice of twelve harmonics whose pitch runs as given, in Hz for each sample."""
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    return 0.1 * np.asarray(sum(np.sin(k * phase + k * k) / k for k in range(1, 13)))


def pitch(samples: NDArray[np.float64], **given: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hz, 0 where there is no voice, and clarity: of frames that lie wholly inside."""
    frontend = FrontEnd({"pitch": given}, level_prior_s=None, silence_db=-200.0).double()
    octaves, clarity = frontend(torch.from_numpy(samples)[None])[0].features[0, 2:].numpy().T
    return np.where(octaves > 0, given.get("low_hz", 80.0) * 2**octaves, 0.0), clarity


@pytest.mark.parametrize("hz", [82.0, 110.0, 163.7, 220.0, 317.0, 440.0, 590.0])
def test_a_steady_voice(hz: float) -> None:
    found, clarity = pitch(voice(np.full(4_800, hz)))
    np.testing.assert_allclose(found, hz, rtol=0.004)
    assert clarity.min() > 0.97


def test_a_gliding_voice_against_librosa() -> None:
    """librosa's YIN hears 64 ms around the middle of our 25: within a twentieth of a semitone in the median."""
    samples = voice(180 + 60 * np.sin(np.arange(32_000) / RATE * 5))
    found, _ = pitch(samples)
    middles = (np.arange(len(found)) + 3) * 160 - 200
    theirs = librosa.yin(samples, fmin=80, fmax=600, sr=RATE, frame_length=1_024, hop_length=40)[middles // 40]
    semitones = 12 * np.abs(np.log2(found / theirs))
    assert np.median(semitones) < 0.05
    assert np.quantile(semitones, 0.98) < 0.5


def test_hiss_has_none_and_noise_takes_clarity() -> None:
    hiss = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    found, clarity = pitch(hiss)
    assert (found > 0).mean() < 0.05
    assert clarity.mean() < 0.5
    tone = voice(np.full(32_000, 150.0))
    clear, noisy = pitch(tone)[1].mean(), pitch(tone + hiss)[1].mean()
    assert 0.5 < noisy < clear - 0.1


def test_a_voice_in_a_little_noise_is_not_an_octave_off() -> None:
    noise = 0.02 * np.random.default_rng(1).standard_normal(32_000)
    for hz in (100.0, 250.0, 400.0):
        found, _ = pitch(voice(np.full(32_000, hz)) + noise)
        assert (found > 0).mean() > 0.95
        assert (np.abs(found[found > 0] / hz - 1) < 0.1).mean() > 0.98


def test_nothing_has_no_pitch() -> None:
    for samples in (np.zeros(3_200), np.full(3_200, 0.3)):
        found, clarity = pitch(samples)
        assert np.abs(found).max() == np.abs(clarity).max() == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low_hz": 60.0}, r"frames of 0\.025 s need a low_hz of at least 80"),
        ({"high_hz": 70.0}, "high_hz lies between low_hz and 4000, not at 70"),
        ({"high_hz": 5_000.0}, "not at 5000"),
    ],
)
def test_ranges_that_cannot_be(given: dict[str, float], message: str) -> None:
    with pytest.raises(VocaffectError, match=message):
        FrontEnd({"pitch": given})


def test_longer_frames_reach_lower() -> None:
    frontend = FrontEnd({"pitch": {"low_hz": 50.0}}, win_s=0.04, level_prior_s=None)
    octaves = frontend(torch.from_numpy(voice(np.full(8_000, 55.0)))[None].float())[0].features[0, 5:, 0]
    np.testing.assert_allclose(50 * 2 ** octaves.numpy(), 55, rtol=0.004)
