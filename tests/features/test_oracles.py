"""Features against independent implementations: librosa, kaldi-native-fbank and scipy."""

import kaldi_native_fbank
import librosa
import numpy as np
import pytest
import scipy.fft
import torch
from numpy.typing import NDArray

from vocaffect.features import Deltas, FrontEnd, PowerSpectrum
from vocaffect.features.base import Frames
from vocaffect.features.mel import Mel, hz_to_mel, mel_filters
from vocaffect.features.mfcc import cosine_basis

WIN, HOP, RATE = 400, 160, 16_000


def voice(num_samples: int, seed: int = 0) -> NDArray[np.float64]:
    """Harmonics that glide, and noise: every mel band has something in it."""
    rng = np.random.default_rng(seed)
    t = np.arange(num_samples) / RATE
    tone = sum(np.sin(2 * np.pi * k * (120 * t + 20 * np.sin(3 * t))) / k for k in range(1, 20))
    return np.asarray(0.1 * tone + 0.02 * rng.standard_normal(num_samples))


def extract(samples: NDArray[np.float64], features: dict[str, dict[str, int]]) -> NDArray[np.float64]:
    frontend = FrontEnd(features, level_prior_s=None, silence_db=-200.0).double()
    return np.asarray(frontend(torch.from_numpy(samples)[None])[0].features[0].numpy())


def after_the_first_remainder(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.zeros(WIN - HOP), samples])


def test_mfcc_equals_librosa() -> None:
    """Same mel scale, norm, window and DCT; librosa's dB floor of 80 below the clip's maximum is switched off."""
    samples = voice(20_000)
    power = librosa.feature.melspectrogram(
        y=after_the_first_remainder(samples), sr=RATE, n_fft=WIN, hop_length=HOP, n_mels=40, center=False
    )
    theirs = librosa.feature.mfcc(S=librosa.power_to_db(power, top_db=None), n_mfcc=13)
    np.testing.assert_allclose(extract(samples, {"mfcc": {}}), theirs.T, atol=1e-4)


def test_mel_equals_librosa() -> None:
    samples = voice(20_000)
    power = librosa.feature.melspectrogram(
        y=after_the_first_remainder(samples), sr=RATE, n_fft=WIN, hop_length=HOP, n_mels=26, center=False
    )
    ours = extract(samples, {"mel": {"num_mels": 26}})
    np.testing.assert_allclose(ours, librosa.power_to_db(power, top_db=None).T, atol=1e-4)


@pytest.mark.parametrize(
    ("num_mels", "edges_hz"), [(3, (300, 3_400)), (8, (0, 8_000)), (26, (80, 7_600)), (64, (0, 8_000))]
)
def test_bands_cut_in_two_equal_librosa(num_mels: int, edges_hz: tuple[int, int]) -> None:
    low_hz, high_hz = edges_hz
    theirs = librosa.filters.mel(sr=RATE, n_fft=WIN, n_mels=num_mels, fmin=low_hz, fmax=high_hz, dtype=np.float64)
    power = np.random.default_rng(0).exponential(size=(5, WIN // 2 + 1))
    frames = Frames(torch.zeros(1, 5, WIN), torch.from_numpy(power)[None], torch.zeros(1, 5, 1, dtype=torch.double))
    ours = Mel(RATE, WIN, num_mels, low_hz, high_hz).double()(frames)[0].numpy()
    np.testing.assert_allclose(ours, 10 * np.log10(power @ theirs.T), atol=1e-5)


def test_filters_and_basis_equal_librosa_and_scipy() -> None:
    theirs = librosa.filters.mel(sr=RATE, n_fft=WIN, n_mels=40, dtype=np.float64)
    np.testing.assert_allclose(mel_filters(RATE, WIN, 40, 0, 8_000).numpy(), theirs.T, atol=1e-8)
    assert hz_to_mel(440.0) == pytest.approx(librosa.hz_to_mel(440.0))
    assert hz_to_mel(4400.0) == pytest.approx(librosa.hz_to_mel(4400.0))
    np.testing.assert_allclose(
        cosine_basis(40, 13).numpy(), scipy.fft.dct(np.eye(40), norm="ortho")[:, :13], atol=1e-12
    )


def test_framing_and_spectrum_equal_kaldi() -> None:
    """Kaldi draws its triangles on the mel axis, on HTK's scale and without norm; framing and power agree.

    So its own filters are put on our power spectrum; with dither, DC removal and pre-emphasis off, the log energies
    are then the same.
    """
    samples = voice(16_000)
    options = kaldi_native_fbank.FbankOptions()
    frame = options.frame_opts
    frame.samp_freq, frame.frame_length_ms, frame.frame_shift_ms = RATE, 25.0, 10.0
    frame.dither, frame.preemph_coeff, frame.remove_dc_offset = 0.0, 0.0, False
    frame.window_type, frame.snip_edges, frame.round_to_power_of_two = "hanning", True, False
    options.mel_opts.num_bins, options.mel_opts.low_freq, options.mel_opts.high_freq = 40, 20.0, 8_000.0
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, after_the_first_remainder(samples).tolist())
    theirs = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])

    frontend = FrontEnd({"mel": {}}).double()
    frames, _ = frontend.framing(torch.from_numpy(samples)[None])
    symmetric = torch.hann_window(WIN, periodic=False, dtype=torch.float64)
    power = torch.fft.rfft(frames[0] * symmetric).abs().square().numpy()
    ours = np.log(power @ kaldi_filters(40, 20.0, 8_000.0))
    assert theirs.shape == ours.shape == (100, 40)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def kaldi_filters(num_bins: int, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Kaldi's triangles (feature-fbank of the Kaldi documentation): linear on ``1127 ln(1 + f / 700)``."""

    def mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(1127.0 * np.log(1.0 + np.asarray(hz) / 700.0))

    edges = np.linspace(mel(low_hz), mel(high_hz), num_bins + 2)
    bins = mel(np.arange(WIN // 2) * RATE / WIN)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.vstack([np.maximum(0.0, np.minimum(rising, falling)), np.zeros(num_bins)])


def test_fast_transform_equals_the_matrix_that_is_exported() -> None:
    spectrum = PowerSpectrum(WIN).double()
    frames = torch.from_numpy(voice(1_600)).reshape(1, 4, WIN)
    product = frames @ (PowerSpectrum(WIN).basis.double())
    real, imaginary = product.chunk(2, dim=-1)
    np.testing.assert_allclose((real**2 + imaginary**2).numpy(), spectrum(frames).numpy(), rtol=1e-4, atol=1e-3)


def test_deltas_equal_librosas_two_frames_later() -> None:
    """librosa centres the slope; ours is the same slope at the last frame of its window."""
    values = torch.from_numpy(voice(900).reshape(1, 30, 30))
    slopes = Deltas(30, order=1, width=2).double()(values)[0][0, :, 30:].numpy()
    theirs = librosa.feature.delta(values[0].numpy().T, width=5, mode="interp").T
    np.testing.assert_allclose(slopes[4:], theirs[2:-2], atol=1e-6)
