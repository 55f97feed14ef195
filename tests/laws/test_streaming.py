"""The one law: offline is a stream from a fresh state, for every front end and every model that streams."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vocaffect.features import FrontEnd, feature_names
from vocaffect.losses import decisions
from vocaffect.models import Model, Network, build_model, model_names

FRONT_ENDS: dict[str, Callable[[], FrontEnd]] = {
    "mfcc": lambda: FrontEnd({"mfcc": {}}),
    "mfcc with deltas": lambda: FrontEnd({"mfcc": {}}, deltas=2),
    "without level": lambda: FrontEnd({"mel": {"num_mels": 20}}, level_prior_s=None, deltas=1),
    "every feature": lambda: FrontEnd({name: {} for name in feature_names() if "test" not in name}),
}
TINY = {"model_type": "moonshine", "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}
SMALL: dict[str, dict[str, Any]] = {
    "causal_encoder": {"encoder": TINY, "layers": [0, 1, 2, 3], "window": 7},
    "encoder": {"encoder": TINY, "layers": [0, 1, 2]},
}
WAVEFORM = {"causal_encoder": 384, "encoder": 160}
"""Models that hear the waveform, and the samples of their hop."""


def small(name: str, num_features: int, **parameters: Any) -> Model:
    return build_model(name, num_features=num_features, num_labels=8, **SMALL.get(name, {}), **parameters)


STREAMING = [name for name in model_names() if small(name, 13).streaming == "frame"]
CHUNKS = st.lists(st.integers(0, 900), min_size=1, max_size=12)


def signal(num_samples: int, seed: int = 0) -> Tensor:
    """Noise in bursts, so that some frames are silent."""
    rng = np.random.default_rng(seed)
    bursts = np.repeat(rng.choice([0.0, 1e-5, 0.05, 0.3], size=num_samples // 400 + 1), 400)[:num_samples]
    return torch.from_numpy(bursts * rng.standard_normal(num_samples))[None]


def network(model: str = "lstm", frontend: FrontEnd | None = None, **parameters: Any) -> Network:
    torch.manual_seed(0)
    if hop := WAVEFORM.get(model):
        waveform = FrontEnd({"waveform": {}}, win_s=hop / 16_000, hop_s=hop / 16_000)
        return Network(waveform, small(model, hop, **parameters)).eval()
    frontend = frontend or FrontEnd({"mfcc": {}})
    frontend.mean.fill_(-30.0)
    frontend.deviation.fill_(20.0)
    return Network(frontend, small(model, frontend.num_features, **parameters)).eval()


def in_chunks(module: Any, samples: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Each output, streamed in chunks of these sizes and a last one with what is left."""
    state, parts, start = None, [], 0
    for size in [*sizes, samples.shape[1]]:
        output, state = module(samples[:, start : start + size], state)
        parts.append(output)
        start += size
    return [torch.cat(columns, dim=1) for columns in zip(*parts, strict=True)]


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@settings(deadline=None, max_examples=25)
@given(sizes=CHUNKS, num_samples=st.integers(0, 6_000))
def test_front_ends(name: str, dtype: torch.dtype, tolerance: float, sizes: list[int], num_samples: int) -> None:
    """Features are compared on the scale they are standardised to, so the front end is given a real one."""
    frontend = FRONT_ENDS[name]().to(dtype)
    frontend.deviation.fill_(20.0)
    samples = signal(num_samples).to(dtype)
    with torch.inference_mode():
        offline = frontend(samples)[0]
        streamed = in_chunks(frontend, samples, sizes)
    assert offline.features.shape[1] == num_samples // frontend.hop
    for one, other in zip(offline, streamed, strict=True):
        assert one.shape == other.shape
        assert one.numel() == 0 or (one - other).abs().max() <= tolerance


@pytest.mark.parametrize("name", STREAMING)
@settings(deadline=None, max_examples=15)
@given(hops=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_models(name: str, hops: list[int]) -> None:
    whole = network(name)
    samples = signal(whole.frontend.hop * (sum(hops) + 3)).float()
    with torch.inference_mode():
        offline = whole(samples)[0]
        streamed = in_chunks(whole, samples, [whole.frontend.hop * size for size in hops])
    assert (offline.logits.softmax(-1) - streamed[0].softmax(-1)).abs().max() <= 1e-5


@pytest.mark.parametrize("name", STREAMING)
@settings(deadline=None, max_examples=10)
@given(cut=st.integers(1, 29), seed=st.integers(0, 5))
def test_causality(name: str, cut: int, seed: int) -> None:
    """Whatever comes later, what was decided stands, bit for bit."""
    whole = network(name, FrontEnd({"mfcc": {}}, deltas=1))
    hop = whole.frontend.hop
    one, other = signal(30 * hop).float(), signal(30 * hop).float()
    other[:, cut * hop :] = signal(30 * hop, seed + 1)[:, cut * hop :].float()
    with torch.inference_mode():
        first, second = whole(one)[0], whole(other)[0]
    assert torch.equal(first.features[:, :cut], second.features[:, :cut])
    assert torch.allclose(first.logits[:, :cut], second.logits[:, :cut], atol=1e-6)


@pytest.mark.parametrize("name", FRONT_ENDS)
@settings(deadline=None, max_examples=15)
@given(cut=st.integers(1, 179), first=st.integers(0, 100), last=st.integers(1, 179), seed=st.integers(0, 5))
def test_causality_of_front_ends(name: str, cut: int, first: int, last: int, seed: int) -> None:
    """Bit for bit, however much of what comes earlier or later is silent; pitch rounds by how threads share frames."""
    frontend = FRONT_ENDS[name]()
    hop = frontend.hop
    one = signal(180 * hop, seed).float()
    one[:, : first * hop] *= 1e-5
    other = one.clone()
    one[:, max(cut, last) * hop :] *= 1e-5
    other[:, cut * hop :] = signal(180 * hop, seed + 1)[:, cut * hop :].float()
    with torch.inference_mode():
        earlier, later = frontend(one)[0].features, frontend(other)[0].features
    difference = (earlier[:, :cut] - later[:, :cut]).abs().max()
    assert difference <= (1e-6 if name == "every feature" else 0)


@pytest.mark.parametrize("name", model_names())
def test_batch_equals_solo(name: str) -> None:
    """A clip's decision, at its own last frame, is the same among longer clips; a window's, among other windows."""
    whole = network(name)
    hop, num_frames = whole.frontend.hop, torch.tensor([30, 20, 10])
    clips = [
        signal(int(length), seed).float() for seed, length in enumerate(num_frames * hop + torch.tensor([0, 100, 0]))
    ]
    padded = torch.cat([torch.nn.functional.pad(clip, (0, 30 * hop - clip.shape[1])) for clip in clips])
    if name not in STREAMING:
        clips, num_frames = list(padded[:, None]), torch.full((3,), 30)
    with torch.inference_mode():
        together = decisions(whole(padded)[0].logits, num_frames)
        for row, clip in zip(together, clips, strict=True):
            assert torch.allclose(row, whole(clip)[0].logits[0, -1], atol=1e-5)


@pytest.mark.parametrize("name", model_names())
def test_silence_gives_numbers(name: str) -> None:
    with torch.inference_mode():
        (logits, _, active), _ = network(name)(torch.zeros(2, 3_200))
    assert torch.isfinite(logits).all()
    assert active.sum() == 0
