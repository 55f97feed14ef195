"""Several processes that train as one, as torchrun starts them; a single process is a group of its own.

Each process takes its share of every batch. Losses are divided by counts that are summed over the group, and so are
gradients, so a step is the step that one process would take on the whole batch. Gradients are summed by hand and not by
``DistributedDataParallel``: the network stays what it is, frozen and unused weights need no care.

``torch.distributed.nn.functional`` is imported here, and so before a group begins: its functions take the group of the
moment of import as a default, would keep it beyond its end, and its threads would abort a program that ends.
"""

import atexit
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional
from torch import Tensor, nn

from vocaffect.errors import VocaffectError

T = TypeVar("T")


def rank() -> int:
    """The number of this process in its group; the process with number 0 prints and writes."""
    return dist.get_rank() if world() > 1 else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def join() -> None:
    """Make this process one of the group that torchrun has started, if it has; until the program ends."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or world() > 1:
        return
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(local % gpus)
    each_has_one = gpus >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    dist.init_process_group("cpu:gloo,cuda:nccl" if each_has_one else "gloo")
    atexit.register(dist.destroy_process_group)


def total(value: Tensor) -> Tensor:
    """A tensor summed over the processes, without gradient."""
    if world() == 1:
        return value.detach()
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def highest(number: int) -> int:
    """The highest number that any process gives."""
    if world() == 1:
        return number
    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def gathered(thing: T) -> list[T]:
    """What each process gives, in the order of their numbers."""
    things: list[Any] = [thing] * world()
    if world() > 1:
        dist.all_gather_object(things, thing)
    return things


def first(work: Callable[[], T]) -> T:
    """What the first process finds; it alone works, and all get its result.

    Raises:
        VocaffectError: in every process, if the first one's work raises it.
    """
    if world() == 1:
        return work()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = work()
        except VocaffectError as error:
            found[1] = error
    dist.broadcast_object_list(found, src=0)
    if found[1] is not None:
        raise found[1]
    result: T = found[0]
    return result


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of the parameters that have one over the processes."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if world() == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    summed = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, summed, strict=True):
        gradient.copy_(part.view_as(gradient))


def share_weights(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if world() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)
