"""The conditions do to a clip what their names say."""

import numpy as np
import pytest
import scipy.signal

from vocaffect.robustness import CONDITIONS, gained, noisy, opus, telephone

RATE = 16_000
VOICE = np.float32(0.1) * scipy.signal.chirp(np.arange(2 * RATE) / RATE, 100, 2, 7_500).astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0])
def test_noise_has_the_power_that_is_asked_for(snr_db: float) -> None:
    noise = noisy(VOICE, rng(), snr_db) - VOICE
    assert 10 * np.log10((VOICE**2).mean() / (noise**2).mean()) == pytest.approx(snr_db, abs=0.05)


def test_the_telephone_keeps_its_band_alone() -> None:
    hz, power = scipy.signal.welch(telephone(VOICE, rng()), RATE, nperseg=1024)
    _, before = scipy.signal.welch(VOICE, RATE, nperseg=1024)
    ratio_db = 10 * np.log10((power + 1e-20) / before)
    assert np.abs(ratio_db[(hz > 350) & (hz < 3_300)]).max() < 0.5
    assert ratio_db[(hz > 150) & (hz < 250)].max() < -20
    assert ratio_db[(hz > 3_600) & (hz < 7_000)].max() < -20


def test_gain_cuts_off_at_full_scale() -> None:
    np.testing.assert_allclose(gained(VOICE, rng(), -12.0), VOICE * 10**-0.6, rtol=1e-6)
    assert np.abs(gained(10 * VOICE, rng(), 12.0)).max() == 1


def test_opus_sounds_alike() -> None:
    """Not the same waveform, and a little later, but the same spectrogram to within a tenth."""
    coded = opus(VOICE, rng())
    assert len(coded) == pytest.approx(len(VOICE), abs=0.05 * RATE)
    length = min(len(coded), len(VOICE))
    (_, _, one), (_, _, other) = (scipy.signal.stft(clip[:length], RATE, nperseg=1024) for clip in (coded, VOICE))
    lost = (np.abs(one) - np.abs(other))[:, 4:-4]
    assert (lost**2).sum() < 0.1 * (np.abs(other[:, 4:-4]) ** 2).sum()
    assert not np.allclose(coded[:length], VOICE[:length], atol=1e-3)


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_is_a_function_of_clip_and_seed(name: str) -> None:
    one, other = (CONDITIONS[name](VOICE, rng()) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert not np.array_equal(one[: len(VOICE)], VOICE)
