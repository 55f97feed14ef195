"""Features of a spectrum's and a waveform's shape against librosa."""

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd
from vocaffect.features.chroma import chroma_filters

WIN, HOP, RATE = 400, 160, 16_000
KHZ_PER_BIN = RATE / WIN / 1000


def sounds() -> NDArray[np.float64]:
    """A gliding voice, then hiss, then a whisper of it."""
    rng, t = np.random.default_rng(0), np.arange(12_000) / RATE
    tone = sum(np.sin(2 * np.pi * k * (150 * t + 30 * np.sin(3 * t))) / k for k in range(1, 20))
    hiss = 0.05 * rng.standard_normal(6_000)
    return np.concatenate([0.1 * np.asarray(tone) + 0.002 * rng.standard_normal(12_000), hiss, 0.01 * hiss])


def ours(features: dict[str, dict[str, Any]], samples: NDArray[np.float64], **options: Any) -> NDArray[np.float64]:
    given: dict[str, Any] = {"level_prior_s": None, "silence_db": -200.0} | options
    frontend = FrontEnd(features, **given).double()
    return np.asarray(frontend(torch.from_numpy(samples)[None])[0].features[0].numpy())


def padded(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(WIN - HOP), samples])


def magnitude(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(librosa.stft(padded(samples), n_fft=WIN, hop_length=HOP, center=False)))


def test_chroma() -> None:
    """librosa with its estimate of the tuning switched off; the whisper is as large as the voice."""
    spectrum = magnitude(sounds()) ** 2
    for num_classes, tuning in ((12, 0.0), (24, 0.3)):
        given = {"num_classes": num_classes, "tuning": tuning}
        theirs = librosa.feature.chroma_stft(S=spectrum, sr=RATE, n_fft=WIN, n_chroma=num_classes, tuning=tuning)
        np.testing.assert_allclose(ours({"chroma": given}, sounds()), theirs.T, atol=1e-6)


def test_chroma_of_a_tone() -> None:
    """A at 880 Hz is the tenth class from C."""
    tone = 0.1 * np.sin(2 * np.pi * 880 * np.arange(3_200) / RATE)
    assert (ours({"chroma": {}}, tone)[3:].argmax(1) == 9).all()
    filters = librosa.filters.chroma(sr=RATE, n_fft=WIN, tuning=0.0, dtype=np.float64)
    np.testing.assert_allclose(chroma_filters(RATE, WIN).numpy(), filters.T, atol=1e-12)


def test_centroid() -> None:
    theirs = librosa.feature.spectral_centroid(S=magnitude(sounds()), sr=RATE, n_fft=WIN) / 1000
    np.testing.assert_allclose(ours({"centroid": {}}, sounds()), theirs.T, atol=1e-6)


def test_flatness() -> None:
    theirs = librosa.feature.spectral_flatness(S=magnitude(sounds()))
    np.testing.assert_allclose(ours({"flatness": {}}, sounds()), theirs.T, atol=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.85])
def test_rolloff(share: float) -> None:
    """Within half a bin of librosa's, and on average in its middle."""
    theirs = librosa.feature.spectral_rolloff(S=magnitude(sounds()), sr=RATE, n_fft=WIN, roll_percent=share) / 1000
    difference = ours({"rolloff": {"share": share}}, sounds()) - theirs.T
    assert np.abs(difference).max() <= KHZ_PER_BIN / 2 + 1e-9
    assert np.abs(difference.mean()) < KHZ_PER_BIN / 10


def test_zero_crossings() -> None:
    theirs = librosa.feature.zero_crossing_rate(padded(sounds()), frame_length=WIN, hop_length=HOP, center=False)
    np.testing.assert_allclose(ours({"zero_crossings": {}}, sounds()), theirs.T, atol=1e-12)


def test_rms() -> None:
    theirs = librosa.feature.rms(y=padded(sounds()), frame_length=WIN, hop_length=HOP, center=False, dtype=np.float64)
    np.testing.assert_allclose(ours({"rms": {}}, sounds()), librosa.amplitude_to_db(theirs, top_db=None).T, atol=1e-6)


@pytest.mark.parametrize("name", ["chroma", "centroid", "flatness", "rolloff", "zero_crossings", "pitch"])
def test_what_has_no_level_does_not_see_the_gain(name: str) -> None:
    one, other = (ours({name: {}}, gain * sounds()) for gain in (1.0, 4.0))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_rms_follows_the_reference_level() -> None:
    """Ten seconds on, a signal 12 dB louder is less than 2 dB louder."""
    noise = 0.02 * np.random.default_rng(1).standard_normal(160_000)
    one, other = (ours({"rms": {}}, gain * noise, level_prior_s=1.0)[-1, 0] for gain in (1.0, 4.0))
    assert 0 < other - one < 2


def test_silence_gives_numbers_and_concatenation_adds_up() -> None:
    names = ["mfcc", "chroma", "centroid", "flatness", "rolloff", "zero_crossings", "rms"]
    values = ours({name: {} for name in names}, np.zeros(1_600))
    assert values.shape == (10, 13 + 12 + 5)
    assert np.isfinite(values).all()
    assert values[:, 13:26].max() == 0


def test_wrong_parameters() -> None:
    with pytest.raises(VocaffectError, match="multiple of it, not 13"):
        FrontEnd({"chroma": {"num_classes": 13}})
    with pytest.raises(VocaffectError, match="between 0 and 1, not at 85"):
        FrontEnd({"rolloff": {"share": 85}})
