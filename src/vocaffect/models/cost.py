"""What a model costs and how late it answers, found out by running it, not typed in."""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from vocaffect.models.registry import Model, num_parameters
from vocaffect.units import SAMPLE_RATE, exact_div, samples_to_seconds, seconds_to_samples

TRACED_FRAMES = 50
SEEN = 1e-3
"""What share of the largest difference between two decisions is one, and not rounding."""


@dataclass(frozen=True)
class Cost:
    """What a second of audio costs, and the time from a sound to the first decision that has heard it."""

    num_parameters: int
    multiply_adds_per_s: float
    latency_s: float
    streaming: Literal["frame", "window"]


def cost(model: Model, num_features: int, hop: int, window_s: float, window_hop_s: float) -> Cost:
    """What a model costs behind a front end.

    Args:
        model: trained or not.
        num_features: features of a frame.
        hop: samples from frame to frame.
        window_s: the window of a model that must see a whole one.
        window_hop_s: the time between two windows; so long may a sound wait for a window to end.
    """
    if model.streaming == "window":
        frames, seconds = exact_div(seconds_to_samples(window_s), hop), window_hop_s
        latency_s = window_hop_s
    else:
        frames = SAMPLE_RATE // hop
        seconds = samples_to_seconds(frames * hop)
        latency_s = samples_to_seconds((1 + delay(model, num_features)) * hop)
    per_second = multiply_adds(model, num_features, frames) / seconds
    return Cost(num_parameters(model), per_second, latency_s, model.streaming)


def multiply_adds(model: Model, num_features: int, num_frames: int) -> int:
    """The multiply-adds of all matrix products and convolutions over so many frames.

    Not counted: what works element by element, such as activations, norms and running sums.
    """
    shapes = copy.deepcopy(model).to("meta").eval()
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shapes(torch.zeros(1, num_frames, num_features), torch.ones(1, num_frames, 1), None)
    return exact_div(int(counter.get_total_flops()), 2)


def delay(model: Model, num_features: int) -> int:
    """How many frames after a frame the first decision stands that depends on it; below 0, a model looks ahead.

    Found out from two signals that part at a frame: the first decisions that differ tell.
    """
    rng = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, 2 * TRACED_FRAMES, num_features, generator=rng) for _ in range(2))
    other[:, :TRACED_FRAMES] = one[:, :TRACED_FRAMES]
    model = copy.deepcopy(model).eval()
    with torch.inference_mode():
        first, second = (model(given, torch.ones_like(given[..., :1]), None)[0][0] for given in (one, other))
    difference = (first - second).abs().amax(-1)
    reached = (difference > SEEN * difference.max()).to(torch.int8)
    return int(reached.argmax()) - TRACED_FRAMES
