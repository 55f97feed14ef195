"""State is a value: nested named tuples of tensors whose first dimension is the batch.

A streaming module takes its state as an argument and returns the next one; a fresh state is all zeros. The functions
here name the tensors inside a state (``frontend.remainder``), and pack them side by side into one tensor, which is how
an exported graph carries them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State", bound=tuple[Any, ...])


def walk(state: tuple[Any, ...], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state with their dotted names, depth first, in the order of the fields."""
    for name, value in zip(_field_names(state), state, strict=True):
        if isinstance(value, Tensor):
            yield prefix + name, value
        else:
            yield from walk(value, f"{prefix}{name}.")


def refill(state: State, tensors: Mapping[str, Tensor], prefix: str = "") -> State:
    """A state of the same shape as ``state`` that holds the given tensors, looked up by dotted name."""
    values = [
        tensors[prefix + name] if isinstance(value, Tensor) else refill(value, tensors, f"{prefix}{name}.")
        for name, value in zip(_field_names(state), state, strict=True)
    ]
    return state._make(values) if hasattr(state, "_make") else type(state)(values)


def pack(state: tuple[Any, ...]) -> Tensor:
    """All tensors of a state side by side, ``(batch, size)``."""
    return torch.cat([_row(tensor) for _, tensor in walk(state) if tensor.numel()], dim=2)[:, 0]


def unpack(state: State, packed: Tensor) -> State:
    """A state of the same shape as ``state`` with another batch's values, as `pack` laid them side by side."""
    tensors = dict(walk(state))
    parts = torch.split(packed[:, None], [tensor.shape[1:].numel() for tensor in tensors.values()], dim=2)
    shaped = (
        part if _is_row(tensor) else torch.unflatten(part[:, 0], 1, tensor.shape[1:])
        for part, tensor in zip(parts, tensors.values(), strict=True)
    )
    return refill(state, dict(zip(tensors, shaped, strict=True)))


def running_sum(values: Tensor, before: Tensor | None) -> Tensor:
    """The sums of values ``(batch, num_frames, size)`` so far, going on from the sum ``(batch, 1, size)`` before."""
    sums = values if is_one(values.shape[1]) else values.cumsum(dim=1)
    return sums if before is None else before + sums


def is_one(length: Any) -> bool:
    """Whether a length is known to be 1; in a graph of any number of frames it is a symbol."""
    return isinstance(length, int) and length == 1


def _is_row(tensor: Tensor) -> bool:
    return tensor.dim() == 3 and tensor.shape[1] == 1


def _row(tensor: Tensor) -> Tensor:
    return tensor if _is_row(tensor) else tensor.flatten(1)[:, None]


def _field_names(state: tuple[Any, ...]) -> tuple[str, ...]:
    fields: tuple[str, ...] | None = getattr(state, "_fields", None)
    return fields or tuple(str(index) for index in range(len(state)))
