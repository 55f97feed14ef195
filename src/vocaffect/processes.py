"""Work shared out to processes: who does what is known from the start, and answers come back in order."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from vocaffect.errors import VocaffectError

Thing = TypeVar("Thing")
Lot = TypeVar("Lot")
Answer = TypeVar("Answer")


def in_lots(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """So many at a time.

    >>> list(in_lots("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    left = iter(things)
    return iter(lambda: list(islice(left, size)), [])


def shared(job: Callable[[Lot], Answer], lots: Iterable[Lot], workers: int) -> Iterator[Answer]:
    """What a job answers to each lot, in their order; of n processes, number k has lots k, k + n and so on.

    Each computes on one thread. Ctrl-C is for the process that asked, which ends the others.

    Args:
        job: what is to be done with a lot.
        lots: whatever the job takes.
        workers: processes; one means this process, as it is.

    Raises:
        VocaffectError: if a process was killed; and whatever the job raises.
    """
    if workers <= 1:
        yield from map(job, lots)
        return
    context = get_context("fork") if "fork" in get_all_start_methods() else get_context("spawn")
    lots, pipes, processes = list(lots), [], []
    workers = min(workers, len(lots))
    try:
        for number in range(workers):
            pipe, end = context.Pipe(duplex=False)
            processes.append(context.Process(target=_work, args=(job, lots[number::workers], end), daemon=True))
            processes[-1].start()
            end.close()
            pipes.append(pipe)
        for number in range(len(lots)):
            yield _answer(pipes[number % workers])
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _answer(pipe: Connection) -> Any:
    try:
        failed, answer = pipe.recv()
    except (EOFError, OSError) as error:
        raise VocaffectError(
            "a process was killed, perhaps for want of memory: run the same command again, with --workers 1 if it "
            "happens again; what is in the cache stays there"
        ) from error
    if failed:
        raise answer
    return answer


def _work(job: Callable[[Lot], Answer], lots: Sequence[Lot], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        for lot in lots:
            pipe.send((False, job(lot)))
    except Exception as error:
        pipe.send((True, error))
