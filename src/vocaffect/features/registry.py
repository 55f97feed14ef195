"""The features a recipe can name."""

from collections.abc import Callable
from typing import Any, TypeVar

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.features.base import Feature
from vocaffect.features.plain import PlainFeature, PlainFunction
from vocaffect.registry import enter

_REGISTRY: dict[str, type[Feature] | PlainFunction] = {}
F = TypeVar("F", bound=type[Feature] | PlainFunction)


def register_feature(name: str) -> Callable[[F], F]:
    """Make a `Feature` class, or a plain function of a whole signal, known to recipes under a name.

    >>> @register_feature("doctest_energy")
    ... class Energy(Feature):
    ...     num_features = 1
    ...     def __init__(self, sample_rate, win):
    ...         super().__init__()
    ...     def forward(self, frames):
    ...         return frames.power.sum(-1, keepdim=True)
    >>> build_feature("doctest_energy", sample_rate=16_000, win=400).num_features
    1

    >>> @register_feature("doctest_plain")
    ... def peak(wav, sr, params):
    ...     return abs(wav).max(keepdims=True)
    >>> build_feature("doctest_plain", sample_rate=16_000, win=400).streaming
    'window'

    Raises:
        VocaffectError: if the name is taken, or stands for neither.
    """

    def register(thing: F) -> F:
        if (isinstance(thing, type) and not issubclass(thing, Feature)) or not callable(thing):
            raise VocaffectError(f"feature '{name}' is no vocaffect.features.Feature: derive your class from it")
        enter(_REGISTRY, "feature", name, thing)
        return thing

    return register


def build_feature(name: str, *, sample_rate: int, win: int, hop: int = 160, **parameters: Any) -> Feature:
    """Build a registered feature from plain keyword arguments; a plain function is given them as its ``params``.

    Raises:
        VocaffectError: if no feature has that name, or it does not know a parameter.
    """
    thing = registered(name)
    if not isinstance(thing, type):
        return PlainFeature(name, thing, sample_rate, win, hop, parameters)
    try:
        feature: Feature = thing(sample_rate=sample_rate, win=win, **parameters)
    except (TypeError, ValueError) as error:
        raise VocaffectError(f"feature '{name}' cannot be built from {parameters}: {error}") from error
    return feature


def registered(name: str) -> type[Feature] | PlainFunction:
    """The class or plain function of that name.

    Raises:
        VocaffectError: if there is none.
    """
    if name not in _REGISTRY:
        raise VocaffectError(unknown_name("feature", name, _REGISTRY))
    return _REGISTRY[name]


def feature_names() -> list[str]:
    """The names of all registered features, sorted."""
    return sorted(_REGISTRY)
