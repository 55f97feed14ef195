"""Checkpoints: tensors and facts in files that are written whole or not at all, each with two SHA-256 digests.

Neither safetensors nor torch notices a flipped bit. So the digest of the whole file stands in the folder's
checkpoints.json, and one of the tensors and facts in the file's own header, for a file that was taken elsewhere.

A run's weights and optimiser after E epochs and S batches of the next are in last_E_S.safetensors; the newest two
are kept, so that one is left where the other is damaged.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from vocaffect.errors import VocaffectError
from vocaffect.files import write_bytes, write_text

BEST, DIGESTS = "best_model.safetensors", "checkpoints.json"
LAST = re.compile(r"last_(\d+)_(\d+)\.safetensors")
OLD_LAST = "last.safetensors"
KEPT = 2

Content = tuple[dict[str, Tensor], dict[str, Any]]


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors, and facts that JSON can hold, to one file.

    The new digest is listed before the file takes its place, beside that of the file it replaces: whenever the
    writing ends, what then lies there is listed.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(facts))
    content = safetensors.save(contiguous, {"facts": text, "sha256": _digest(contiguous, text)})
    listed = {name: digests for name, digests in digests_of(path.parent).items() if (path.parent / name).is_file()}
    before = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    kept = [before] if before and before in listed.get(path.name, [before]) else []
    listed[path.name] = [hashlib.sha256(content).hexdigest(), *kept]
    write_text(path.parent / DIGESTS, json.dumps({"sha256": listed}, indent=1) + "\n")
    write_bytes(path, content)


def load(path: Path) -> Content:
    """Read what `save` wrote.

    Raises:
        VocaffectError: if the file is missing, cut short, or not what was written.
    """
    if not path.is_file():
        raise VocaffectError(f"there is no checkpoint {path}: train the run first with 'vocaffect train'")
    content = path.read_bytes()
    listed = digests_of(path.parent).get(path.name)
    if listed is not None and hashlib.sha256(content).hexdigest() not in listed:
        raise VocaffectError(f"{path} is not what was written: delete it and resume the run from an older checkpoint")
    try:
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        facts, digest = metadata["facts"], metadata["sha256"]
        tensors = safetensors.load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise VocaffectError(f"{path} is no whole checkpoint ({error}): delete it and resume the run") from error
    if digest != _digest(tensors, facts):
        raise VocaffectError(f"{path} is not what was written: delete it and resume the run from an older checkpoint")
    return tensors, json.loads(facts)


def digests_of(folder: Path) -> dict[str, list[str]]:
    """The digests that a folder lists for each of its checkpoints; none, where the list is missing or damaged."""
    try:
        listed = json.loads((folder / DIGESTS).read_bytes())["sha256"]
        return {str(name): [str(digest) for digest in digests] for name, digests in listed.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def save_last(folder: Path, epoch: int, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write what going on from a place in training needs, and delete all but the newest checkpoints of that kind."""
    save(folder / f"last_{epoch}_{step}.safetensors", tensors, facts)
    for path in resumable(folder)[KEPT:]:
        path.unlink()


def load_last(folder: Path, on_note: Callable[[str], None]) -> Content:
    """Read the newest checkpoint of `save_last` that is whole; damaged ones are told of and deleted.

    Raises:
        VocaffectError: if none is whole.
    """
    damaged = []
    for path in resumable(folder):
        try:
            content = load(path)
        except VocaffectError:
            damaged.append(path)
            continue
        for spoilt in damaged:
            on_note(f"{spoilt.name} is damaged and was deleted; going on from {path.name}, the one before")
            spoilt.unlink()
        return content
    names = ", ".join(path.name for path in damaged) or "there is none"
    raise VocaffectError(f"{folder} has no whole checkpoint to go on from ({names}): train again as another --run-name")


def resumable(folder: Path) -> list[Path]:
    """The checkpoints that training can go on from, the newest first."""

    def place(path: Path) -> tuple[int, ...]:
        found = LAST.fullmatch(path.name)
        return tuple(map(int, found.groups())) if found else (-1, 0)

    files = [path for path in folder.glob("last*.safetensors") if LAST.fullmatch(path.name) or path.name == OLD_LAST]
    return sorted(files, key=place, reverse=True)


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files that a process left which was killed while it wrote a checkpoint."""
    for path in folder.glob(".*.safetensors"):
        path.unlink(missing_ok=True)


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
