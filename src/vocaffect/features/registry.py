"""The features a recipe can name, and what every feature is: a module from frames to numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from vocaffect.errors import VocaffectError, unknown_name


class Frames(NamedTuple):
    """What a feature may look at: one frame at a time, nothing of the clip.

    ``samples``: ``(batch, num_frames, win)`` as they came.
    ``power``: ``(batch, num_frames, num_bins)``, the power spectrum at the reference level.
    ``power_gain``: ``(batch, num_frames, 1)``, what brought the power to the reference level.
    """

    samples: Tensor
    power: Tensor
    power_gain: Tensor


class Feature(nn.Module):
    """One registered feature: ``forward(frames: Frames) -> (batch, num_frames, num_features)``.

    Built with ``sample_rate`` and ``win`` (samples in a frame) and its own parameters from the recipe.
    """

    num_features: int


_REGISTRY: dict[str, type[Feature]] = {}
F = TypeVar("F", bound=type[Feature])


def register_feature(name: str) -> Callable[[F], F]:
    """Make a feature known to recipes under a name.

    >>> @register_feature("doctest_energy")
    ... class Energy(Feature):
    ...     num_features = 1
    ...     def __init__(self, sample_rate, win):
    ...         super().__init__()
    ...     def forward(self, frames):
    ...         return frames.power.sum(-1, keepdim=True)
    >>> build_feature("doctest_energy", sample_rate=16_000, win=400).num_features
    1
    """

    def register(thing: F) -> F:
        if name in _REGISTRY and _REGISTRY[name].__qualname__ != thing.__qualname__:
            raise VocaffectError(f"there is a feature '{name}' already: register yours under another name")
        _REGISTRY[name] = thing
        return thing

    return register


def build_feature(name: str, **parameters: Any) -> Feature:
    """Build a registered feature from plain keyword arguments.

    Raises:
        VocaffectError: if no feature has that name, or it does not know a parameter.
    """
    if name not in _REGISTRY:
        raise VocaffectError(unknown_name("feature", name, _REGISTRY))
    try:
        return _REGISTRY[name](**parameters)
    except (TypeError, ValueError) as error:
        raise VocaffectError(f"feature '{name}' cannot be built from {parameters}: {error}") from error


def feature_names() -> list[str]:
    """The names of all registered features, sorted."""
    return sorted(_REGISTRY)
