"""The models a recipe can name, and what every model is: features and state in, logits and state out."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.registry import enter


class Model(nn.Module):
    """One registered model: ``forward(features, active, state) -> (logits, state)``.

    ``features``: ``(batch, num_frames, num_features)``; ``active``: ``(batch, num_frames, 1)``, 0 where silent;
    ``logits``: ``(batch, num_frames, num_labels)``, at each frame the decision about the utterance so far.
    Built with ``num_features`` and ``num_labels`` and its own parameters from the recipe.

    ``streaming`` is ``frame`` where no frame's logits depend on later frames, and ``window`` where the model must
    see a whole window before it decides; then it has no state. ``hears`` says whether it takes any features, such as
    it standardises itself (``raw``), or the waveform alone, a hop of samples as a frame.
    """

    streaming: Literal["frame", "window"] = "frame"
    hears: Literal["features", "raw", "waveform"] = "features"
    hop: int | None = None
    """The samples in a hop, where it can hear no other."""
    pretrained: str | None = None
    """The name of the pretrained encoder that it begins with."""

    @property
    def learned_from(self) -> frozenset[str]:
        """The corpora that what it begins with has learned from, beside those of its run; not those of `pretrained`."""
        return frozenset()

    def load(self) -> None:
        """Before training: take over what was learned elsewhere; most models begin with nothing."""

    def measure(self, clips: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Before training, after `load`: measure the training clips; most models need not.

        Args:
            clips: ``features`` and ``active`` of each, as a batch of one.
        """

    @property
    def still(self) -> bool:
        """Whether `stem` does not learn, so that what it says of a clip can be computed once and kept."""
        return False

    def stem(self, features: Tensor, active: Tensor) -> Tensor:
        """What the model begins with, ``(batch, length, height, width)``; `forward` takes it in place of features."""
        raise NotImplementedError

    def stem_settings(self) -> dict[str, Any]:
        """All that `stem` depends on beside features and code; JSON can hold it."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """A fresh state, all zeros; a model without memory has none."""
        return ()


_REGISTRY: dict[str, type[Model]] = {}
M = TypeVar("M", bound=type[Model])


def register_model(name: str) -> Callable[[M], M]:
    """Make a model known to recipes under a name, and to the tests of the laws that every model keeps."""

    def register(thing: M) -> M:
        enter(_REGISTRY, "model", name, thing)
        return thing

    return register


def build_model(name: str, **parameters: Any) -> Model:
    """Build a registered model from plain keyword arguments.

    Raises:
        VocaffectError: if no model has that name, or it does not know a parameter.
    """
    if name not in _REGISTRY:
        raise VocaffectError(unknown_name("model", name, _REGISTRY))
    try:
        return _REGISTRY[name](**parameters)
    except (TypeError, ValueError) as error:
        raise VocaffectError(f"model '{name}' cannot be built from {parameters}: {error}") from error


def model_names() -> list[str]:
    """The names of all registered models, sorted."""
    return sorted(_REGISTRY)


def num_parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    parameters: list[Tensor] = list(module.parameters())
    return sum(parameter.numel() for parameter in parameters)
