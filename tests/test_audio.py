"""Decoding: every width, rate and container gives the same tone, and every bad file a sentence."""

import hashlib
import io
import os
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vocaffect.audio import (
    MAX_RATE_HZ,
    AudioError,
    EmptyAudioError,
    Resampler,
    decode,
    measure,
    read_clip,
    read_pcm,
    read_source,
)
from vocaffect.pcm import to_pcm

Array = NDArray[np.float64]


def tone(rate: int, duration_s: float = 0.5, hz: float = 440.0, level: float = 0.4) -> Array:
    return np.asarray(level * np.sin(2 * np.pi * hz * np.arange(round(rate * duration_s)) / rate))


def encoded(samples: Array, rate: int, container: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def recorded(samples: Array, rate: int, container: str, codec: str) -> bytes:
    """What a browser or a telephone would store: stereo, in a container that only FFmpeg reads."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]).astype(np.float32), "fltp", "stereo")
        frame.sample_rate = rate
        shaped = av.AudioResampler(stream.format, "stereo", rate, stream.codec_context.frame_size or None)
        for piece in [*shaped.resample(frame), *shaped.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def error_db(found: NDArray[np.float32], wanted: Array) -> float:
    """Error to signal in dB over the middle, at the delay (of a codec) that fits best."""
    middle = found[2000:6000].astype(np.float64)
    errors = [np.square(middle - wanted[2000 - lag : 6000 - lag]).sum() for lag in range(-600, 1800)]
    return float(10 * np.log10(min(errors) / np.square(middle).sum()))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
def test_any_rate_and_channels_give_the_same_tone(rate: int, channels: int) -> None:
    clip = decode(encoded(np.tile(tone(rate)[:, None], channels), rate))
    assert (clip.source_rate, clip.source_channels) == (rate, channels)
    assert clip.samples.dtype == np.float32
    assert len(clip.samples) == 8000
    assert np.abs(clip.samples - tone(16_000))[500:-500].max() < 2e-4


@pytest.mark.parametrize(
    ("container", "subtype", "worst_db"),
    [
        ("WAV", "PCM_U8", -33),
        ("WAV", "PCM_16", -80),
        ("WAV", "PCM_24", -120),
        ("WAV", "PCM_32", -120),
        ("WAV", "FLOAT", -120),
        ("WAV", "DOUBLE", -120),
        ("WAV", "ULAW", -30),
        ("FLAC", "PCM_16", -80),
        ("FLAC", "PCM_24", -120),
        ("OGG", "VORBIS", -25),
        ("OGG", "OPUS", -25),
        ("MP3", "MPEG_LAYER_III", -25),
    ],
)
def test_any_width_and_container(container: str, subtype: str, worst_db: float) -> None:
    clip = decode(encoded(tone(16_000), 16_000, container, subtype))
    assert error_db(clip.samples, tone(16_000)) < worst_db


@pytest.mark.parametrize(
    ("container", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("mp4", "alac"), ("mov", "pcm_s24le")]
)
def test_what_browsers_and_telephones_record(container: str, codec: str) -> None:
    clip = decode(recorded(tone(48_000), 48_000, container, codec))
    assert (clip.source_rate, clip.source_channels) == (48_000, 2)
    assert error_db(clip.samples, tone(16_000)) < -25


def test_channels_are_averaged() -> None:
    left, right = tone(16_000, hz=300), tone(16_000, hz=1000)
    clip = decode(encoded(np.stack([left, right], axis=1), 16_000, subtype="FLOAT"))
    np.testing.assert_allclose(clip.samples, (left + right) / 2, atol=1e-7)


def test_nothing_above_the_new_band_is_folded_back() -> None:
    clip = decode(encoded(tone(48_000, hz=12_000), 48_000))
    assert np.abs(clip.samples)[500:-500].max() < 1e-4


def test_an_overshoot_is_held_at_full_scale() -> None:
    clip = decode(encoded(tone(16_000, level=1.5), 16_000, subtype="FLOAT"))
    assert np.abs(clip.samples).max() == 1.0


def test_a_file_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(encoded(tone(22_050), 22_050))
    np.testing.assert_array_equal(read_clip(path).samples, decode(path.read_bytes()).samples)


@given(cuts=st.lists(st.integers(0, 3000), max_size=8), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_a_live_stream_equals_the_whole(cuts: list[int], rate: int) -> None:
    samples = np.random.default_rng(rate).normal(0, 0.1, 3000).astype(np.float32)
    resampler = Resampler(rate)
    parts = [resampler.push(chunk) for chunk in np.split(samples, sorted(cuts))]
    streamed = np.concatenate([*parts, resampler.finish()])
    whole = samples if rate == 16_000 else soxr.resample(samples, rate, 16_000, quality="HQ")
    np.testing.assert_array_equal(streamed, whole)


@pytest.mark.parametrize("rate", [-1, 0, 3_999, MAX_RATE_HZ + 1])
def test_a_stream_of_an_absurd_rate_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match="samples a second"):
        Resampler(rate)


def ints_as_float() -> bytes:
    return encoded(tone(16_000) * 32_767, 16_000, subtype="FLOAT")


def with_one(value: float) -> Callable[[], bytes]:
    def make() -> bytes:
        samples = tone(16_000)
        samples[4321] = value
        return encoded(samples, 16_000, subtype="FLOAT")

    return make


def rate_in_header(rate: int) -> Callable[[], bytes]:
    def make() -> bytes:
        content = bytearray(encoded(tone(16_000), 16_000))
        content[24:28] = rate.to_bytes(4, "little")
        return bytes(content)

    return make


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"I am not a sound.\n" * 99, "not audio that can be read: give wav"),
    "web page": (lambda: b"<!doctype html><title>x</title>", "not audio that can be read"),
    "nothing": (lambda: b"", "not audio that can be read"),
    "playlist": (lambda: b"ffconcat version 1.0\nfile good.wav\n", "not audio that can be read"),
    "no samples": (lambda: encoded(np.zeros(0), 16_000), "holds no samples"),
    "one sample": (lambda: encoded(np.zeros(1), 16_000), "holds 1 sample, less than 25 ms"),
    "one sample at 192 kHz": (lambda: encoded(np.zeros(1), 192_000), "holds 1 sample, less than 25 ms"),
    "NaN": (with_one(np.nan), "not numbers"),
    "infinity": (with_one(-np.inf), "not numbers"),
    "unscaled": (ints_as_float, "reaches 13106.* divide"),
    "nine channels": (lambda: encoded(np.zeros((800, 9)), 16_000), "has 9 channels: mix it down"),
    "rate 1": (rate_in_header(1), "1 samples a second: resample"),
    "rate 4e9": (rate_in_header(4_000_000_000), "samples a second|not audio"),
    "too long": (lambda: encoded(np.zeros(16_000 * 11), 16_000, "FLAC"), "longer than 10 s: cut it"),
    "video only": (lambda: silent_film(), "no sound"),
    "cut flac": (lambda: encoded(np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000, "FLAC")[:9000], "damaged"),
}


def silent_film() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for packet in stream.encode(av.VideoFrame(16, 16, "yuv420p")):
            output.mux(packet)
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("name", BAD)
def test_bad_audio_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    make, sentence = BAD[name]
    (tmp_path / "good.wav").write_bytes(encoded(tone(16_000), 16_000))
    path = tmp_path / "clip.wav"
    path.write_bytes(make())
    with pytest.raises(AudioError, match=sentence) as raised:
        read_clip(path, max_s=10.0)
    assert str(path) in str(raised.value)
    with pytest.raises(AudioError, match=sentence):
        decode(path.read_bytes(), max_s=10.0)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"there is no file .*gone\.wav: check the path"):
        read_clip(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="is a folder"):
        read_clip(tmp_path)


def test_a_small_file_that_expands_is_stopped_early() -> None:
    packed = encoded(np.zeros((192_000 * 30, 2)), 192_000, "FLAC")
    with pytest.raises(AudioError, match="longer than 1 s"):
        decode(packed, max_s=1.0)


def damaged(content: bytes, keep: float, flips: list[tuple[float, int]]) -> bytes:
    """The first part of a file, with bits flipped at places from 0, its beginning, to 1."""
    cut = bytearray(content[: max(1, round(len(content) * keep))])
    for place, flip in flips:
        cut[int(place * len(cut))] ^= flip
    return bytes(cut)


SEEDS = [
    encoded(tone(16_000), 16_000),
    encoded(tone(16_000), 16_000, "WAV", "FLOAT"),
    encoded(tone(16_000), 16_000, "FLAC"),
    encoded(tone(16_000), 16_000, "OGG", "VORBIS"),
    recorded(tone(48_000, 0.2), 48_000, "webm", "libopus"),
    recorded(tone(48_000, 0.2), 48_000, "mp4", "aac"),
]


@settings(deadline=None, max_examples=300)
@given(
    seed=st.sampled_from(SEEDS),
    keep=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
)
def test_whatever_happens_to_a_file_it_is_a_clip_or_a_sentence(
    seed: bytes, keep: float, flips: list[tuple[float, int]]
) -> None:
    try:
        clip = decode(damaged(seed, keep, [(place**3, flip) for place, flip in flips]), max_s=60.0)
    except AudioError:
        return
    assert np.isfinite(clip.samples).all()
    assert np.abs(clip.samples).max() <= 1.0


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_a_flac_file_is_decoded_as_its_bytes_are(rate: int, channels: int, subtype: str, tmp_path: Path) -> None:
    """Files go another way than bytes where they have 16 bits, and both say what libsndfile's own reader does."""
    samples = np.random.default_rng(3).normal(0, 0.1, (rate, channels))
    (tmp_path / "a.flac").write_bytes(content := encoded(samples, rate, "FLAC", subtype))
    clip = decode(content)
    assert np.array_equal(read_clip(tmp_path / "a.flac").samples, clip.samples)
    assert np.array_equal(read_pcm(tmp_path / "a.flac"), to_pcm(clip.samples))
    source = read_source(tmp_path / "a.flac")
    assert source.sha256 == measure(tmp_path / "a.flac").sha256
    assert np.array_equal(source.pcm(), to_pcm(clip.samples))
    if subtype == "PCM_16":
        stored, _ = soundfile.read(tmp_path / "a.flac", dtype="int16", always_2d=True)
        assert source.sha256 == hashlib.sha256(stored.tobytes()).hexdigest()


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "webm", "m4a"])
@pytest.mark.parametrize("content", [b"", b"fLaC", b"RIFF", b"OggS"])
def test_a_file_of_nothing_is_no_audio_whatever_it_is_called(ending: str, content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / f"clip.{ending}").write_bytes(content)
    with pytest.raises(AudioError, match="not audio that can be read"):
        read_clip(path)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_a_pipe_is_read_as_a_file_is(container: str, tmp_path: Path) -> None:
    content, pipe = encoded(tone(16_000), 16_000, container), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert np.array_equal(read_clip(pipe).samples, decode(content).samples)
    writer.join()


FLAC = encoded(np.random.default_rng(4).normal(0, 0.1, 30_000), 16_000, "FLAC")


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=3),
)
def test_a_damaged_flac_file_is_no_other_sound_than_its_bytes(
    tmp_path: Path, keep: float, flips: list[tuple[float, int]]
) -> None:
    content = damaged(FLAC, keep, [(place**5, flip) for place, flip in flips])  # most often in the header
    (tmp_path / "a.flac").write_bytes(content)
    try:
        wanted = decode(content, max_s=60.0).samples
    except AudioError:
        wanted = None
    try:
        found = read_clip(tmp_path / "a.flac", max_s=60.0).samples
    except AudioError:
        assert wanted is None
    else:
        assert wanted is None or np.array_equal(found, wanted)


def test_a_hash_names_the_sound_not_the_container(tmp_path: Path) -> None:
    samples = np.random.default_rng(5).integers(-3000, 3000, (5000, 2)).astype(np.int16)
    for name in ("a.wav", "b.flac", "c.aiff"):
        soundfile.write(tmp_path / name, samples, 16_000, subtype="PCM_16")
    hashes = {measure(tmp_path / name).sha256 for name in ("a.wav", "b.flac", "c.aiff")}
    assert hashes == {hashlib.sha256(samples.tobytes()).hexdigest()}


def test_measures_are_those_of_the_samples(tmp_path: Path) -> None:
    samples = tone(48_000, duration_s=3.0, level=1.7)
    soundfile.write(tmp_path / "loud.wav", np.clip(samples, -1, 1), 48_000)
    stored = soundfile.read(tmp_path / "loud.wav")[0]
    found = measure(tmp_path / "loud.wav")
    assert found.duration_s == 3.0
    assert found.peak == pytest.approx(np.abs(stored).max())
    assert found.rms == pytest.approx(np.sqrt(np.mean(stored**2)), rel=1e-5)
    stuck = sum(min(abs(before), abs(after)) > 0.9999 for before, after in pairwise(stored))
    assert found.clipped == pytest.approx(stuck / len(stored), abs=1e-4)


def test_a_single_peak_is_not_clipping(tmp_path: Path) -> None:
    samples = tone(16_000)
    samples[77] = 1.0
    soundfile.write(tmp_path / "peak.wav", samples, 16_000)
    assert measure(tmp_path / "peak.wav").clipped == 0.0


def test_empty_clips_have_their_own_error() -> None:
    with pytest.raises(EmptyAudioError):
        decode(encoded(np.zeros(100), 16_000))
