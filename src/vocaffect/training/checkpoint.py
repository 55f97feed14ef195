"""Checkpoints: tensors and numbers in one safetensors file that is written whole or not at all.

The file's header carries a SHA-256 of the tensors, because neither safetensors nor torch notices a flipped bit.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vocaffect.errors import VocaffectError
from vocaffect.files import atomic_path

BEST, LAST = "best_model.safetensors", "last.safetensors"


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts that JSON can hold, to one file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"facts": json.dumps(dict(facts)), "sha256": _digest(contiguous, json.dumps(dict(facts)))}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata=metadata)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save` wrote.

    Raises:
        VocaffectError: if the file is missing, cut short, or not what was written.
    """
    if not path.is_file():
        raise VocaffectError(f"there is no checkpoint {path}: train the run first with 'vocaffect train'")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise VocaffectError(f"{path} is no whole checkpoint ({error}): delete it and resume the run") from error
    facts = metadata.get("facts", "")
    if metadata.get("sha256") != _digest(tensors, facts):
        raise VocaffectError(f"{path} is not what was written: delete it and resume from an older checkpoint")
    return tensors, json.loads(facts)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and persistent buffers under ``model.NAME``."""
    return {f"model.{name}": tensor for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's weights into a module of the same architecture."""
    module.load_state_dict(
        {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    )


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments under ``optimiser.PARAMETER.NAME``."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{name}": value for index, row in state.items() for name, value in row.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], learning_rate: float) -> None:
    """Put a checkpoint's moments and learning rate back into an optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    for group in groups:
        group["lr"] = learning_rate
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
