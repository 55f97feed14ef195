"""Beginning with what another run has learned: load what fits, name what does not, and hold parts still."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vocaffect.errors import VocaffectError
from vocaffect.training import checkpoint


class Transfer(NamedTuple):
    """What became of each tensor, by name: loaded, of another shape, only in the network, only in the file."""

    loaded: tuple[str, ...]
    misshapen: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def sentence(self) -> str:
        """What did and did not fit, in words."""
        parts = [
            f"{what} {', '.join(names)}"
            for what, names in (
                ("of another shape:", self.misshapen),
                ("new here:", self.missing),
                ("left out:", self.unused),
            )
            if names
        ]
        return "; ".join([f"{len(self.loaded)} tensors loaded", *parts])


def initialise(network: nn.Module, source: Path) -> Transfer:
    """Load into a network what fits of a run's best model, or of a safetensors file.

    A tensor fits where its name and shape do. The front end's mean and deviation are among them, so that loaded
    weights go on hearing what they learned to hear. A file from elsewhere has the names of ``network.state_dict()``.

    Raises:
        VocaffectError: if there is no such run or file, or nothing in it fits.
    """
    given = _tensors(source / checkpoint.BEST if source.is_dir() else source)
    own = network.state_dict()
    shared = [name for name in own if name in given]
    loaded = tuple(name for name in shared if own[name].shape == given[name].shape)
    if not loaded:
        raise VocaffectError(f"nothing in {source} fits this model: begin with a run of the same architecture")
    network.load_state_dict({name: given[name] for name in loaded}, strict=False)
    return Transfer(
        loaded,
        tuple(name for name in shared if name not in loaded),
        tuple(name for name in own if name not in given),
        tuple(name for name in given if name not in own),
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, which is checked, or whatever a safetensors file from elsewhere holds."""
    try:
        with safe_open(path, "pt") as file:
            if "sha256" not in (file.metadata() or {}):
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        pass  # what is wrong with it is said below
    found, _ = checkpoint.load(path)
    return {name.removeprefix("model."): tensor for name, tensor in found.items() if name.startswith("model.")}


def freeze(network: nn.Module, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Hold the parameters still whose names match a pattern such as ``model.lstm.*``; returns their names.

    Raises:
        VocaffectError: if a pattern matches no parameter, or nothing is left to learn.
    """
    frozen: set[str] = set()
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        matched = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matched:
            known = ", ".join(sorted({name.rsplit(".", 1)[0] + ".*" for name in parameters}))
            raise VocaffectError(f"training.freeze: no parameter matches '{pattern}'; there are {known}")
        frozen.update(matched)
    if len(frozen) == len(parameters):
        raise VocaffectError("training.freeze holds every parameter still: leave something to learn")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return tuple(name for name in parameters if name in frozen)
