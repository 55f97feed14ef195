"""Augmentation against independent oracles: counted cycles, measured powers, fitted slopes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocaffect.augment import (
    CODECS,
    SYNTHETIC_NOISES,
    AugmentOptions,
    NoiseKind,
    Parameters,
    Range,
    Samples,
    Sounds,
    apply,
    draw,
    pink_noise,
    shift_pitch,
    stretch,
)
from vocaffect.errors import VocaffectError


def tone(frequency_hz: float, seconds: float = 2.0, level: float = 0.3) -> Samples:
    time_s = np.arange(round(seconds * 16_000)) / 16_000
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def voice(pitch_hz: float, seconds: float = 2.0) -> Samples:
    """A buzz of ten harmonics whose level rises and falls, as unlike a sine as a vowel is."""
    harmonics = np.sum([tone(k * pitch_hz, seconds, 0.3 / k) for k in range(1, 11)], axis=0)
    envelope = 0.2 + 0.1 * np.sin(2 * np.pi * 3 * np.arange(len(harmonics)) / 16_000)
    return np.asarray(harmonics * envelope, np.float32)


def power(samples: Samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def peak_hz(samples: Samples) -> float:
    """The frequency of the strongest component, by parabolic interpolation on a zero-padded spectrum."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 20)) + 1e-12)
    k = int(np.argmax(spectrum))
    a, b, c = spectrum[k - 1 : k + 2]
    return float((k + 0.5 * (a - c) / (a - 2 * b + c)) * 16_000 / (1 << 20))


def purity_db(samples: Samples, frequency_hz: float) -> float:
    """Power within 30 Hz of a frequency over the power everywhere else."""
    spectrum = np.abs(np.fft.rfft(samples * np.blackman(len(samples)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / 16_000) - frequency_hz) < 30
    return float(10 * np.log10(spectrum[near].sum() / spectrum[~near].sum()))


@pytest.mark.parametrize("frequency_hz", [90.0, 220.0, 1_000.0])
@pytest.mark.parametrize("tempo", [0.85, 1.15, 1.5])
def test_stretch_keeps_pitch_and_gives_the_duration(frequency_hz: float, tempo: float) -> None:
    stretched = apply(tone(frequency_hz), Parameters(tempo=tempo))
    assert len(stretched) == round(32_000 / tempo)
    assert peak_hz(stretched) == pytest.approx(frequency_hz, rel=2e-3)
    assert purity_db(stretched, frequency_hz) > 25
    assert power(stretched) == pytest.approx(power(tone(frequency_hz)), rel=0.05)


@pytest.mark.parametrize("semitones", [-4.0, -1.0, 2.0, 5.0])
def test_pitch_shift_moves_pitch_and_keeps_the_length(semitones: float) -> None:
    shifted = apply(tone(220), Parameters(pitch_semitones=semitones))
    expected = 220 * 2 ** (semitones / 12)
    assert len(shifted) == 32_000
    assert peak_hz(shifted) == pytest.approx(expected, rel=2e-3)
    assert purity_db(shifted, expected) > 25


def test_tempo_and_pitch_together() -> None:
    changed = apply(tone(200), Parameters(tempo=0.8, pitch_semitones=12))
    assert len(changed) == 40_000
    assert peak_hz(changed) == pytest.approx(400, rel=2e-3)


@pytest.mark.parametrize("tempo", [0.85, 1.15])
def test_stretched_voice_keeps_its_harmonics_and_its_envelope(tempo: float) -> None:
    stretched = apply(voice(120), Parameters(tempo=tempo))
    spectrum = np.abs(np.fft.rfft(stretched * np.hanning(len(stretched)))) ** 2
    offset = np.abs(np.fft.rfftfreq(len(stretched), 1 / 16_000) / 120 % 1 - 0.5)
    assert spectrum[offset > 0.35].sum() > 300 * spectrum[offset < 0.35].sum()
    frames = stretched[: len(stretched) // 400 * 400].reshape(-1, 400)
    level = np.sqrt((frames**2).mean(axis=1))
    expected_hz = 3 * tempo
    turns = np.abs(np.fft.rfft(level - level.mean(), 4096))
    assert np.argmax(turns) * 40 / 4096 == pytest.approx(expected_hz, abs=0.15)


@pytest.mark.parametrize("num_samples", [14_000, 18_000])
def test_events_stay_where_they_belong(num_samples: int) -> None:
    samples = np.random.default_rng(0).normal(0, 1e-3, 16_000).astype(np.float32)
    samples[8_000] = 0.9
    stretched = stretch(samples, num_samples)
    clicks = np.flatnonzero(np.abs(stretched) > 0.05)
    assert 1 <= len(clicks) <= 2
    assert np.abs(clicks - num_samples // 2).max() <= 320


VOICES = [(20_000 * voice(100 + 10 * k, 0.3 + 0.2 * k)).astype(np.int16) for k in range(9)]


@pytest.mark.parametrize("kind", SYNTHETIC_NOISES)
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_noise_is_at_its_snr(kind: NoiseKind, snr_db: float) -> None:
    clean = voice(150)
    noisy = apply(clean, Parameters(noise_snr_db=snr_db, noise_kind=kind, noise_seed=7), Sounds(VOICES))
    assert 10 * np.log10(power(clean) / power(noisy - clean)) == pytest.approx(snr_db, abs=0.01)


def test_pink_noise_has_equal_power_in_every_octave() -> None:
    noise = pink_noise(1 << 19, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    frequencies = np.fft.rfftfreq(len(noise), 1 / 16_000)
    octaves = [spectrum[(frequencies >= low) & (frequencies < 2 * low)].sum() for low in 31.25 * 2.0 ** np.arange(8)]
    assert max(octaves) / min(octaves) < 1.2
    assert spectrum[frequencies < 19].sum() < 1e-6 * spectrum.sum()


def test_gain_is_in_decibels_and_never_clips() -> None:
    quiet, loud = tone(300, level=0.1), tone(300, level=0.8)
    np.testing.assert_allclose(apply(quiet, Parameters(gain_db=6)), quiet * 10**0.3, rtol=1e-5)
    turned_up = apply(loud, Parameters(gain_db=12))
    np.testing.assert_allclose(turned_up, loud / np.abs(loud).max(), rtol=1e-5)


def test_shift_puts_silence_in_front_or_cuts() -> None:
    samples = tone(300, seconds=1)
    later = apply(samples, Parameters(shift_s=0.1))
    assert not later[:1_600].any()
    np.testing.assert_array_equal(later[1_600:], samples)
    np.testing.assert_array_equal(apply(samples, Parameters(shift_s=-0.1)), samples[1_600:])
    np.testing.assert_array_equal(apply(samples, Parameters(shift_s=-5)), samples[8_000:])


def test_each_change_happens_with_its_probability_and_within_its_range() -> None:
    options = AugmentOptions(probability=0.3)
    drawn = [draw(np.random.default_rng([1, i]), options) for i in range(2_000)]
    names = ["tempo", "pitch_semitones", "shift_s", "noise_snr_db", "gain_db"]
    still = Parameters()
    for name in names:
        values = [getattr(p, name) for p in drawn if getattr(p, name) != getattr(still, name)]
        assert len(values) / len(drawn) == pytest.approx(0.3, abs=0.04)
        low, high = getattr(options, name)
        assert low <= min(values) < low + 0.03 * (high - low)
        assert high >= max(values) > high - 0.03 * (high - low)
    untouched = sum(p == still for p in drawn) / len(drawn)
    assert untouched == pytest.approx(0.7**5, abs=0.04)
    kinds = [p.noise_kind for p in drawn if p.noise_snr_db is not None]
    assert {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)} == pytest.approx(
        {"white": 0.5, "pink": 0.5}, abs=0.05
    )


def test_switching_one_change_off_leaves_the_others_as_they_were() -> None:
    for seed in range(50):
        full = draw(np.random.default_rng(seed), AugmentOptions(probability=0.6))
        without = draw(np.random.default_rng(seed), AugmentOptions(probability=0.6, tempo=None))
        assert without.tempo == 1.0
        assert (without.gain_db, without.noise_seed) == (full.gain_db, full.noise_seed)


EVERYTHING = AugmentOptions(
    probability=0.5,
    noises=SYNTHETIC_NOISES,
    speed=(0.9, 1.1),
    reverb_s=(0.1, 0.8),
    high_pass_hz=(50, 400),
    low_pass_hz=(2_500, 7_500),
    tilt_db=(-3, 3),
    eq_db=(-6, 6),
    telephone=True,
    clip_db=(0, 15),
    part=(0.4, 1.0),
    codecs=CODECS,
)


def test_later_changes_leave_the_earlier_ones_and_their_generator_as_they_were() -> None:
    """So that a recipe from before them hears what it always heard."""
    early = ("tempo", "pitch_semitones", "shift_s", "noise_snr_db", "noise_seed", "gain_db")
    for seed in range(50):
        one, other = np.random.default_rng(seed), np.random.default_rng(seed)
        plain, full = draw(one, AugmentOptions(probability=0.5)), draw(other, EVERYTHING)
        assert [getattr(plain, name) for name in early] == [getattr(full, name) for name in early]
        assert one.random() == other.random()


def test_a_change_can_have_its_own_probability_and_its_draws_stay_where_they_are() -> None:
    options = replace(EVERYTHING, probabilities={"telephone": 0.1, "eq_db": 0.9})
    drawn = [draw(np.random.default_rng([2, i]), options) for i in range(1_500)]
    before = [draw(np.random.default_rng([2, i]), EVERYTHING) for i in range(1_500)]
    assert np.mean([p.telephone for p in drawn]) == pytest.approx(0.1, abs=0.03)
    assert np.mean([p.eq_db != () for p in drawn]) == pytest.approx(0.9, abs=0.03)
    assert [replace(p, telephone=False, eq_db=()) for p in drawn] == [
        replace(p, telephone=False, eq_db=()) for p in before
    ]


@pytest.mark.parametrize(
    ("name", "bounds", "still"),
    [
        ("speed", (0.9, 1.1), 1.0),
        ("reverb_s", (0.1, 0.8), 0.0),
        ("high_pass_hz", (50.0, 400.0), None),
        ("low_pass_hz", (2_500.0, 7_500.0), None),
        ("tilt_db", (-3.0, 3.0), 0.0),
        ("clip_db", (0.0, 15.0), 0.0),
        ("part", (0.4, 1.0), 1.0),
    ],
)
def test_later_changes_are_drawn_within_their_ranges(name: str, bounds: Range, still: float | None) -> None:
    drawn = [draw(np.random.default_rng([4, i]), EVERYTHING) for i in range(1_500)]
    values = [value for p in drawn if (value := getattr(p, name)) != still]
    assert len(values) / len(drawn) == pytest.approx(0.5, abs=0.05)
    assert bounds[0] <= min(values) < bounds[0] + 0.03 * (bounds[1] - bounds[0])
    assert bounds[1] >= max(values) > bounds[1] - 0.03 * (bounds[1] - bounds[0])
    if name.endswith("_hz"):
        assert np.median(values) == pytest.approx(np.sqrt(bounds[0] * bounds[1]), rel=0.1)


def test_a_part_is_the_beginning() -> None:
    clip = tone(200)
    assert np.array_equal(apply(clip, Parameters(part=0.5)), clip[: len(clip) // 2])
    assert len(apply(clip[:1], Parameters(part=0.01))) == 1


def test_speed_moves_pitch_and_length_together() -> None:
    faster = apply(tone(200), Parameters(speed=1.25))
    assert len(faster) == 25_600
    assert peak_hz(faster) == pytest.approx(250, rel=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    num_samples=st.one_of(st.integers(0, 3), st.integers(0, 6_000)),
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([0.0, 1e-30, 1e-6, 0.1, 1.0, 100.0]),
)
def test_any_clip_stays_finite_float32_in_scale_and_repeatable(num_samples: int, seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    samples = (level * rng.uniform(-1, 1, num_samples)).astype(np.float32)
    before = samples.copy()
    parameters = draw(rng, replace(EVERYTHING, probability=0.8))
    result = apply(samples, parameters, Sounds(VOICES), own=3)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert np.abs(result).max(initial=0) <= max(1.0, level)
    assert (len(result) > 0) == (num_samples > 0)
    np.testing.assert_array_equal(apply(samples, parameters, Sounds(VOICES), own=3), result)
    np.testing.assert_array_equal(samples, before)


def test_nothing_drawn_leaves_the_clip_as_it_is() -> None:
    samples = voice(100)
    np.testing.assert_array_equal(apply(samples, Parameters()), samples)
    np.testing.assert_array_equal(stretch(samples, len(samples)), samples)
    np.testing.assert_array_equal(shift_pitch(samples, 0), samples)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"probability": 1.5}, "probability"),
        ({"gain_db": (6.0, -6.0)}, "gain_db"),
        ({"noise_snr_db": (float("nan"), 20.0)}, "noise_snr_db"),
        ({"tempo": (0.0, 1.0)}, "tempo"),
        ({"pitch_semitones": (-40.0, 0.0)}, "pitch_semitones"),
        ({"low_pass_hz": (3_000.0, 9_000.0)}, "low_pass_hz.*between 10 and 7900"),
        ({"reverb_s": (0.0, 1.0)}, "reverb_s"),
        ({"noises": ("pinc",)}, "did you mean 'pink'"),
        ({"noises": ()}, "noises is empty"),
        ({"codecs": ("mulaw",)}, "did you mean 'mu-law'"),
        ({"probabilities": {"gain": 0.1}}, "did you mean 'gain_db'"),
        ({"probabilities": {"gain_db": 2.0}}, "gain_db is 2.0"),
    ],
)
def test_senseless_options_are_refused_by_name(options: dict[str, float], word: str) -> None:
    with pytest.raises(VocaffectError, match=word):
        AugmentOptions(**options)  # type: ignore[arg-type]
