"""Filters against SciPy's, levels against fitted lines, rooms against their decay, codecs against their definition."""

import numpy as np
import pytest
import scipy.signal

from vocaffect.augment.channel import EQ_HZ, filtered, overloaded
from vocaffect.augment.codec import a_law, coded, mu_law
from vocaffect.augment.options import CODECS, CodecName
from vocaffect.augment.room import direct_first, in_room, synthetic_room
from vocaffect.augment.samples import Samples, quick_length

RATE = 16_000


def noise(num_samples: int = 2 * RATE, seed: int = 0) -> Samples:
    return 0.1 * np.random.default_rng(seed).standard_normal(num_samples, dtype=np.float32)


def response_db(samples: Samples, before: Samples) -> tuple[np.ndarray, np.ndarray]:
    hz, after = scipy.signal.welch(samples, RATE, nperseg=2048)
    return hz, 10 * np.log10((after + 1e-20) / scipy.signal.welch(before, RATE, nperseg=2048)[1])


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(("kind", "corner_hz"), [("low", 2_700.0), ("low", 7_000.0), ("high", 300.0), ("high", 60.0)])
def test_filters_are_scipy_s_butterworth(order: int, kind: str, corner_hz: float) -> None:
    """Also in their phase: nothing is heard before it happens."""
    samples = noise()
    low, high = (corner_hz, None) if kind == "low" else (None, corner_hz)
    expected = scipy.signal.sosfilt(scipy.signal.butter(order, corner_hz, kind, fs=RATE, output="sos"), samples)
    found = filtered(samples, order=order, low_pass_hz=low, high_pass_hz=high)
    np.testing.assert_allclose(found, np.asarray(expected), atol=2e-5)


def test_the_telephone_keeps_its_band_alone() -> None:
    samples = noise(20 * RATE)
    hz, level_db = response_db(filtered(samples, telephone=True), samples)
    assert np.abs(level_db[(hz > 400) & (hz < 3_000)]).max() < 0.5
    assert level_db[np.abs(hz - 300) < 10].mean() == pytest.approx(-3, abs=0.7)
    assert level_db[np.abs(hz - 3_400) < 10].mean() == pytest.approx(-3, abs=0.7)
    assert level_db[(hz > 50) & (hz < 150)].max() < -35
    assert level_db[hz > 5_000].max() < -25


@pytest.mark.parametrize("tilt_db", [-3.0, 2.0])
def test_a_tilt_is_in_decibels_an_octave(tilt_db: float) -> None:
    samples = noise(20 * RATE)
    hz, level_db = response_db(filtered(samples, tilt_db=tilt_db), samples)
    band = (hz > 100) & (hz < 7_000)
    slope, at_1_khz = np.polyfit(np.log2(hz[band] / 1_000), level_db[band], 1)
    assert (slope, at_1_khz) == pytest.approx((tilt_db, 0), abs=0.05)


def test_an_equaliser_sets_each_octave() -> None:
    samples, levels = noise(20 * RATE), (-6.0, 4.0, -2.0, 6.0, 0.0, -5.0, 3.0, 1.0)
    hz, level_db = response_db(filtered(samples, eq_db=levels), samples)
    found = [level_db[np.abs(hz / centre - 1) < 0.03].mean() for centre in EQ_HZ[2:7]]
    assert found == pytest.approx(levels[2:7], abs=0.6)


def test_filters_together_are_filters_one_after_the_other() -> None:
    samples = np.pad(noise(), 4_000)
    together = filtered(samples, high_pass_hz=100, low_pass_hz=4_000, order=2, tilt_db=2, telephone=True)
    one = filtered(filtered(samples, high_pass_hz=100, order=2), low_pass_hz=4_000, order=2)
    np.testing.assert_allclose(together, filtered(filtered(one, tilt_db=2), telephone=True), atol=1e-4)


def test_overload_cuts_off_what_passes() -> None:
    samples = noise()
    limit = np.abs(samples).max() / 2
    np.testing.assert_allclose(overloaded(samples, 20 * np.log10(2)), np.clip(samples, -limit, limit), atol=1e-7)
    np.testing.assert_array_equal(overloaded(samples, 0), samples)


@pytest.mark.parametrize("reverb_s", [0.2, 0.6])
def test_a_room_decays_by_60_db_in_its_time(reverb_s: float) -> None:
    """Schroeder's backward integral of the squared answer, fitted from -5 to -25 dB."""
    slopes = []
    for seed in range(20):
        tail = synthetic_room(reverb_s, np.random.default_rng(seed))[1:].astype(np.float64)
        left = np.cumsum(tail[::-1] ** 2)[::-1]
        level_db = 10 * np.log10(left / left[0])
        fit = (level_db < -5) & (level_db > -25)
        slopes.append(np.polyfit(np.flatnonzero(fit) / RATE, level_db[fit], 1)[0])
    assert -60 / np.mean(slopes) == pytest.approx(reverb_s, rel=0.1)


def test_a_room_has_its_direct_sound_first_and_keeps_length_and_power() -> None:
    answer = synthetic_room(0.4, np.random.default_rng(3))
    assert answer[0] == 1
    assert not answer[1 : int(0.002 * RATE)].any()
    click = np.zeros(RATE, np.float32)
    click[500] = 0.5
    wet = in_room(click, answer)
    assert len(wet) == len(click)
    assert np.abs(wet[:500]).max() < 1e-6
    assert np.mean(wet**2) == pytest.approx(np.mean(click**2), rel=1e-4)
    samples = noise()
    wet, expected = in_room(samples, answer), scipy.signal.fftconvolve(samples, answer)[: len(samples)]
    assert np.corrcoef(wet, expected)[0, 1] == pytest.approx(1, abs=1e-6)


def test_a_recorded_room_begins_at_its_peak() -> None:
    answer = np.zeros(1_000, np.float32)
    answer[[100, 300]] = -0.9, 0.4
    np.testing.assert_allclose(direct_first(answer)[[0, 200]], [-0.9, 0.4], rtol=1e-6)
    assert len(direct_first(np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize("law", [mu_law, a_law])
def test_companding_has_255_levels_and_the_noise_of_its_definition(law: object) -> None:
    """About 38 dB under any voice between -30 and 0 dBFS, which is why the laws were made."""
    assert callable(law)
    levels = np.unique(law(np.linspace(-1, 1, 100_001, dtype=np.float32)))
    assert len(levels) in (254, 255)
    assert levels[-1] == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(law(levels.astype(np.float32)), levels, rtol=1e-4)
    for level_db in (-30, -20, -10):
        samples = (10 ** (level_db / 20) * noise() / noise().std()).clip(-1, 1).astype(np.float32)
        error = law(samples) - samples
        assert 35 < 10 * np.log10((samples**2).mean() / (error**2).mean()) < 40


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("num_samples", [1, 37, 5_000, 32_000])
def test_codecs_keep_length_and_time(codec: CodecName, num_samples: int) -> None:
    samples = filtered(noise(num_samples), low_pass_hz=2_500, order=8)
    back = coded(samples, codec, np.random.default_rng(0))
    assert len(back) == num_samples
    assert back.dtype == np.float32
    assert np.isfinite(back).all()


def chirps() -> Samples:
    """Harmonics of a gliding pitch that come and go three times a second."""
    time_s = np.arange(3 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(150 * (1 + 0.2 * np.sin(2 * np.pi * 2 * time_s))) / RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 15)) * np.clip(np.sin(2 * np.pi * 3 * time_s), 0, 1)
    return np.asarray(0.1 * sound, np.float32)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("choice", range(4))
def test_codecs_sound_alike_and_at_the_same_time(codec: CodecName, choice: int) -> None:
    """The levels of 10 ms in four bands go together, and best without delay; yet something was lost."""
    samples = chirps()
    back = coded(samples, codec, np.random.default_rng(choice))

    def levels_db(sound: Samples) -> np.ndarray:
        _, _, spectrum = scipy.signal.stft(sound, RATE, nperseg=320, noverlap=160)
        power = np.abs(spectrum) ** 2
        return np.asarray(10 * np.log10([power[low:high].sum(0) + 1e-9 for low, high in ((2, 10), (10, 20), (20, 40))]))

    one, other = levels_db(samples), levels_db(back)
    alike = [np.corrcoef(one[:, 2:-2].ravel(), np.roll(other, -lag, 1)[:, 2:-2].ravel())[0, 1] for lag in (-1, 0, 1)]
    assert np.argmax(alike) == 1
    assert alike[1] > 0.9
    assert not np.allclose(back, samples, atol=1e-5)


def test_the_line_of_a_codec_has_no_more_than_its_band() -> None:
    samples = noise()
    for codec in ("mu-law", "a-law", "amr"):
        hz, level_db = response_db(coded(samples, codec, np.random.default_rng(1)), samples)
        assert level_db[hz > 4_500].max() < -20


def test_quick_lengths_are_no_shorter_and_little_longer() -> None:
    for least in (1, 2, 100, 33_600, 40_001):
        assert least <= quick_length(least) < 1.34 * least + 1
