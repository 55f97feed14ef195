"""State is a value: nested named tuples of tensors whose first dimension is the batch.

A streaming module takes its state as an argument and returns the next one; a fresh state is all zeros. The functions
here name the tensors inside a state (``frontend.remainder``) so that an exported graph can carry them as inputs.
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


def zeros_like_batch(state: State, batch: int) -> State:
    """A fresh state for another batch size."""
    return refill(state, {name: tensor.new_zeros((batch, *tensor.shape[1:])) for name, tensor in walk(state)})


def detach(state: State) -> State:
    """The same values, cut off from the gradient's history."""
    return refill(state, {name: tensor.detach() for name, tensor in walk(state)})


def concatenate(states: list[State]) -> State:
    """Many streams' states as one batch."""
    columns = [dict(walk(state)) for state in states]
    return refill(states[0], {name: torch.cat([column[name] for column in columns]) for name in columns[0]})


def _field_names(state: tuple[Any, ...]) -> tuple[str, ...]:
    fields: tuple[str, ...] | None = getattr(state, "_fields", None)
    return fields or tuple(str(index) for index in range(len(state)))
