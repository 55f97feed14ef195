"""The front end: silence, level, standardisation, names."""

import numpy as np
import pytest
import torch

from vocaffect.errors import VocaffectError
from vocaffect.features import Feature, Frames, FrontEnd, build_feature, register_feature
from vocaffect.models import Model, register_model


def noise(num_samples: int, scale: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((1, num_samples)) * scale).float()


def test_silence_is_masked_and_leaves_no_trace() -> None:
    loud, silent = noise(3_200, 0.1), noise(3_200, 1e-5)
    frontend = FrontEnd({"mfcc": {}}, silence_db=-60.0)
    (features, active), _ = frontend(torch.cat([silent, loud, silent], dim=1))
    assert active[0, :20].sum() == 0
    assert active[0, 20:40].sum() == 20
    assert features[0, :20].abs().max() == 0
    assert features[0, 20:40].abs().min() > 0


@pytest.mark.parametrize("gain_db", [-12.0, 12.0])
def test_level_forgets_the_gain(gain_db: float) -> None:
    """After ten seconds a gain of 12 dB moves the first coefficient by less than a tenth of what it would."""
    samples = noise(160_000, 0.05)
    louder = samples * 10 ** (gain_db / 20)
    levelled, plain = FrontEnd({"mfcc": {}}, level_prior_s=1.0), FrontEnd({"mfcc": {}}, level_prior_s=None)

    def moved(frontend: FrontEnd) -> float:
        one, other = frontend(samples)[0].features, frontend(louder)[0].features
        return float((one - other)[0, -1, 0].abs())

    assert moved(plain) == pytest.approx(12 * np.sqrt(40), rel=0.01)
    assert moved(levelled) < 0.1 * moved(plain)


def test_fit_standardises_the_active_frames() -> None:
    clips = [noise(8_000, scale, seed)[0] for seed, scale in enumerate((0.01, 0.1, 0.3, 1e-6))]
    frontend = FrontEnd({"mfcc": {}})
    frontend.fit(clips)
    outputs = [frontend(clip[None])[0] for clip in clips]
    features = torch.cat([features[active[..., 0] > 0] for features, active in outputs])
    assert features.mean(0).abs().max() < 1e-3
    assert (features.std(0) - 1).abs().max() < 1e-2


def test_fit_by_groups_standardises_each_in_training_and_pools_those_that_were_chosen() -> None:
    """Against numpy: two channels that differ by a filter come alike in training; the unknown have the first's."""
    colour = np.array([1.0, -0.9])
    bright = [noise(8_000, 0.1, seed)[0] for seed in range(3)]
    dark = [torch.from_numpy(np.convolve(noise(8_000, 0.1, 9)[0], colour)[:8_000]).float()]
    clips, groups = [bright[0], dark[0], bright[1], bright[2]], [0, 1, 0, 0]
    frontend, raw = FrontEnd({"mfcc": {}}, deltas=1), FrontEnd({"mfcc": {}})
    frontend.fit(iter(clips), groups, pooled=[0])
    plain = [raw(clip[None])[0].features[0].double().numpy() for clip in clips]
    means, deviations = zip(
        *((part.mean(0), part.std(0)) for part in (np.concatenate([plain[0], plain[2], plain[3]]), plain[1])),
        strict=True,
    )
    np.testing.assert_allclose(frontend.mean, means[0], atol=1e-3)
    np.testing.assert_allclose(frontend.deviation, deviations[0], rtol=1e-3)
    known = frontend(torch.stack([dark[0], bright[1]]), clips=torch.tensor([1, 2]))[0].features
    np.testing.assert_allclose(known[0, :, :13], (plain[1] - means[1]) / deviations[1], atol=2e-3)
    np.testing.assert_allclose(known[1, :, :13], (plain[2] - means[0]) / deviations[0], atol=2e-3)
    unknown = frontend(dark[0][None])[0].features
    np.testing.assert_allclose(unknown[0, :, :13], (plain[1] - means[0]) / deviations[0], atol=2e-3)
    assert "own" not in " ".join(frontend.state_dict()), "what training knows is not exported"


def test_digital_silence_gives_numbers() -> None:
    (features, active), _ = FrontEnd({"mfcc": {}, "mel": {}}, deltas=2)(torch.zeros(2, 4_800))
    assert features.shape == (2, 30, 53 * 3)
    assert torch.isfinite(features).all()
    assert active.sum() == 0


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(VocaffectError, match="did you mean 'mfcc'"):
        build_feature("mfc", sample_rate=16_000, win=400)
    with pytest.raises(VocaffectError, match=r"cannot be built.*num_coeffs"):
        FrontEnd({"mfcc": {"num_coeffs": 13}})
    with pytest.raises(VocaffectError, match="50 coefficients"):
        FrontEnd({"mfcc": {"num_coefficients": 50}})
    with pytest.raises(VocaffectError, match="too many for a window"):
        FrontEnd({"mel": {"num_mels": 300}})


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(VocaffectError, match="a feature 'mfcc' already"):

        @register_feature("mfcc")
        class Other(Feature):
            pass

    with pytest.raises(VocaffectError, match="a model 'lstm' already"):

        @register_model("lstm")
        class Another(Model):
            pass


def test_a_registered_feature_takes_part() -> None:
    @register_feature("test_peak")
    class Peak(Feature):
        num_features = 1

        def __init__(self, sample_rate: int, win: int) -> None:
            super().__init__()

        def forward(self, frames: Frames) -> torch.Tensor:
            return frames.samples.abs().amax(-1, keepdim=True)

    samples = noise(1_600, 0.1)
    features = FrontEnd({"mfcc": {}, "test_peak": {}}, silence_db=-200)(samples)[0].features
    assert features.shape == (1, 10, 14)
    assert features[0, -1, 13] == samples[0, -400:].abs().max()
