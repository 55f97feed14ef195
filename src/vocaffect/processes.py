"""Work shared out to processes: whoever is free takes the next lot, and answers come back in order."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from vocaffect.errors import VocaffectError

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

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
    """What a job answers to each lot, in their order; each process takes the next lot that no other has.

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
    lots, taken, pipes, processes = list(lots), context.Value("q", 0), [], []
    try:
        for _ in range(min(workers, len(lots))):
            pipe, end = context.Pipe(duplex=False)
            processes.append(context.Process(target=_work, args=(job, lots, taken, end), daemon=True))
            processes[-1].start()
            end.close()
            pipes.append(pipe)
        yield from _in_order(pipes, len(lots))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _in_order(pipes: list[Any], num_lots: int) -> Iterator[Any]:
    """Answers by the number of their lot; a process whose pipe ends before it has said that it is done was killed."""
    answers: dict[int, tuple[bool, Any]] = {}
    for number in range(num_lots):
        while number not in answers:
            for pipe in wait(pipes):
                if (told := _told(pipe)) is None:
                    pipes.remove(pipe)
                else:
                    answers[told[0]] = told[1:]
        failed, answer = answers.pop(number)
        if failed:
            raise answer
        yield answer


def _told(pipe: Any) -> tuple[int, bool, Any] | None:
    try:
        told: tuple[int, bool, Any] | None = pipe.recv()
    except (EOFError, OSError) as error:
        raise VocaffectError(
            "a process was killed, perhaps for want of memory: run the same command again, with --workers 1 if it "
            "happens again; what is in the cache stays there"
        ) from error
    return told


def _work(job: Callable[[Lot], Answer], lots: Sequence[Lot], taken: "Synchronized[int]", pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    failed = False
    while not failed and (number := _next(taken)) < len(lots):
        answer: Any
        try:
            answer = job(lots[number])
        except Exception as error:
            failed, answer = True, error
        pipe.send((number, failed, answer))
    pipe.send(None)


def _next(taken: "Synchronized[int]") -> int:
    with taken.get_lock():
        taken.value += 1
        return taken.value - 1
