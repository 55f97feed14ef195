"""What training survives: stops at every step, `kill -9` at random moments, damaged checkpoints, and full disks.

    python benchmarks/durability.py
    python benchmarks/durability.py --workers 0 --kills 5 --damage 40 --every 5

A small model learns generated clips in a forked process, which is stopped, killed, or given a disk that is full. Each
law counts how often it held; the script ends with 1 if one did not. The plot of a run's history is left out but where
the disk is full: it is slow to draw.
"""

import argparse
import errno
import functools
import hashlib
import itertools
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from vocaffect import experiment
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.recipe import Recipe, make_recipe
from vocaffect.runs import Run, open_run
from vocaffect.training import checkpoint
from vocaffect.training.stopping import StopAskedError

EPOCHS, KILLED_EPOCH = 3, 2
Hook = Callable[[int, int], None]
Law = tuple[int, int, str]
"""How often it held, how often it was tried, and what else was seen."""


def make_corpus(root: Path) -> Path:
    """Clips as label/speaker/clip.wav, of three pitches and of many lengths."""
    rng = np.random.default_rng(0)
    for emotion, hz in (("neutral", 300), ("happy", 900), ("sad", 150)):
        for speaker in "ABCDEF":
            (root / emotion / speaker).mkdir(parents=True)
            for take in range(3):
                t = np.arange(int(16_000 * rng.uniform(0.3, 0.6))) / 16_000
                tone = 0.2 * np.sign(np.sin(2 * np.pi * hz * t)) + 0.01 * rng.standard_normal(len(t))
                soundfile.write(root / emotion / speaker / f"{take}.wav", tone, 16_000)
    return root


def recipe(workers: int = 0, epochs: int = EPOCHS) -> Recipe:
    """Everything that a resumed run must get right: dropout, augmentation, crops, averaging, a falling rate."""
    return make_recipe(
        {
            "data": {"corpus": "folder", "protocol": "speaker-kfold"},
            "model": {"name": "lstm", "hidden_size": 16, "num_layers": 1, "dropout": 0.3},
            "training": {
                "batch_size": 4,
                "learning_rate": 0.01,
                "max_epochs": epochs,
                "early_stopping_patience": epochs,
                "scheduler": "cosine",
                "average_decay": 0.9,
                "crop_s": 0.3,
                "frame_weight": 0.3,
                "checkpoint_every": 2,
                "workers": workers,
            },
        }
    )


def fork(work: Callable[[], Any]) -> tuple[int, Any]:
    """Start something in a forked process; returns its number, and what it will say on stderr."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, os.fdopen(reading, encoding="utf-8")
    os.dup2(writing, 2)
    code = 1
    try:
        work()
        code = 0
    except StopAskedError as stopped:
        code = 128 + stopped.signal
    except VocaffectError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def in_child(work: Callable[[], Any]) -> tuple[int, str]:
    """Do something in a forked process; returns its exit code, below zero for a signal, and what it said."""
    child, stream = fork(work)
    with stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def fit(run: Run, *, resume: bool = False, on_batch: Hook = lambda done, total: None) -> None:
    """Train a run without drawing its history."""
    experiment.plot_training_history = lambda *given: None  # type: ignore[assignment]
    train_run(run, resume=resume, on_batch=on_batch)


def digests(folder: Path) -> tuple[str, ...]:
    """Of the newest checkpoint (weights, moments, averages, every number of the history) and of the best weights."""
    return tuple(digest(path) for path in (checkpoint.resumable(folder)[0], folder / checkpoint.BEST))


def digest(path: Path) -> str:
    """Of a checkpoint's tensors, bit for bit, and of its facts; the order in its header is the writer's whim."""
    tensors, facts = checkpoint.load(path)
    parts = [json.dumps(facts).encode(), *(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def stops(scratch: Path, corpus: Path, workers: int, every: int) -> Law:
    """Straight runs against runs that were stopped or killed at each step of an epoch, and resumed: bit for bit."""
    straight = start_run(recipe(workers), scratch / "straight", corpus)
    assert in_child(lambda: fit(straight))[0] == 0
    wanted, held, tried = digests(straight.folder), 0, 0
    steps = math.ceil(len(straight.split.of(straight.manifest)[0]) / straight.recipe.training.batch_size)
    for number, step in itertools.product((signal.SIGTERM, signal.SIGKILL), range(1, steps + 1, every)):
        run = start_run(recipe(workers), scratch / f"{number}_{step}", corpus)
        strike = after((KILLED_EPOCH - 1) * steps + step, functools.partial(os.kill, 0, number))
        code, _ = in_child(functools.partial(fit_alone, run, strike))
        kept = step if number == signal.SIGTERM else 0
        as_meant = code in (143, -9) and checkpoint.resumable(run.folder)[0].name == f"last_1_{kept}.safetensors"
        code, _ = in_child(functools.partial(fit, run, resume=True))
        held, tried = held + (as_meant and code == 0 and digests(run.folder) == wanted), tried + 1
        shutil.rmtree(run.folder)
    return held, tried, f"an epoch has {steps} steps; by SIGTERM and by SIGKILL"


def fit_alone(run: Run, on_batch: Hook) -> None:
    """Train in a process group of its own, loaders included, so that a signal to the group reaches them too."""
    os.setpgid(0, 0)
    fit(run, on_batch=on_batch)


def after(batches: int, strike: Callable[[], Any]) -> Hook:
    """Do something after so many batches."""
    left = itertools.count(batches - 1, -1)
    return lambda done, total: None if next(left) else strike()


def kills(scratch: Path, corpus: Path, count: int) -> Law:
    """`kill -9` at random moments, again and again in the same run: the newest checkpoint is always whole."""
    rng, epochs = random.Random(0), 30
    straight = start_run(recipe(0, epochs), scratch / "straight", corpus)
    began = time.monotonic()
    assert in_child(lambda: fit(straight))[0] == 0
    epoch_s, wanted = (time.monotonic() - began) / epochs, digests(straight.folder)
    run, held, writing, ended = start_run(recipe(0, epochs), scratch / "0", corpus), 0, 0, 0
    for number in range(1, count + 1):
        begun = after(1, lambda: print("begun", file=sys.stderr, flush=True))
        child, said = fork(functools.partial(fit, run, resume=True, on_batch=begun))
        assert said.readline() == "begun\n"
        time.sleep(rng.uniform(0, 4 * epoch_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said.close()
        writing += any(run.folder.glob(".*.*"))
        held += newest_is_whole(run.folder)
        if checkpoint.resumable(run.folder)[0].name == f"last_{epochs}_0.safetensors":
            held, ended = held - (digests(run.folder) != wanted), ended + 1
            run = start_run(recipe(0, epochs), scratch / str(number), corpus)
    return held, count, f"{writing} while a file was written; {ended} runs came to their end, the straight run's"


def newest_is_whole(folder: Path) -> bool:
    """Whether the newest checkpoint loads, and the best weights if there are any."""
    try:
        checkpoint.load(checkpoint.resumable(folder)[0])
        if (folder / checkpoint.BEST).is_file():
            checkpoint.load(folder / checkpoint.BEST)
    except VocaffectError as error:
        print(error, file=sys.stderr)
        return False
    return True


def damage(scratch: Path, corpus: Path, count: int) -> Law:
    """A flipped bit or a zeroed tail anywhere in a checkpoint is found, and the checkpoint before is used."""
    rng = random.Random(1)
    run = start_run(recipe(), scratch / "run", corpus)
    assert in_child(lambda: fit(run))[0] == 0
    newest, before = checkpoint.resumable(run.folder)
    held = 0
    for number in range(count):
        path = (newest, before, run.folder / checkpoint.BEST)[number % 3]
        whole = path.read_bytes()
        if number % 2:
            at = rng.randrange(len(whole.rstrip(b"\0")))
            spoilt = whole[:at] + bytes(len(whole) - at)
        else:
            at = rng.randrange(len(whole))
            spoilt = whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
        path.write_bytes(spoilt)
        held += found(path) and (path != newest or falls_back(run.folder, spoilt))
        path.write_bytes(whole)
    return held, count, "half flipped bits, half zeroed tails; newest, the one before, best"


def found(path: Path) -> bool:
    try:
        checkpoint.load(path)
    except VocaffectError:
        return True
    return False


def falls_back(folder: Path, spoilt: bytes) -> bool:
    """Whether resuming says that the newest checkpoint is damaged and takes the one before."""
    notes: list[str] = []
    newest, before = checkpoint.resumable(folder)
    _, facts = checkpoint.load_last(folder, notes.append)
    epoch = int(before.name.split("_")[1])
    return len(notes) == 1 and newest.name in notes[0] and facts["progress"]["epoch"] == epoch


def disks(scratch: Path, corpus: Path, every: int) -> Law:
    """A disk that is full at one write after another: one sentence, exit code 2, and nothing that was there is lost."""
    first = start_run(recipe(), scratch / "first", corpus)
    stop = after(14, functools.partial(os.kill, 0, signal.SIGTERM))
    assert in_child(functools.partial(fit_alone, first, stop))[0] == 143
    straight = copied(first, scratch / "straight")
    assert in_child(lambda: fit(straight, resume=True))[0] == 0
    wanted, outcomes = digests(straight.folder), []
    for number in itertools.count(1, every):
        run = copied(first, scratch / f"write_{number}")
        outcomes.append(survives(run, functools.partial(refuse_writes, run.folder, number), wanted))
        if outcomes[-1] is None:
            break
    refused = len(outcomes) - 1
    for size in (0, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)[::every]:
        run = copied(first, scratch / f"size_{size}")
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        outcomes.append(survives(run, limit, wanted))
    for size in range(0, 80, 8 * every) if os.geteuid() == 0 else ():
        with small_disk(scratch / f"disk_{size}", first.folder, size) as folder:
            outcomes.append(survives(copied(first, folder), lambda: None, wanted))
    tried = [outcome for outcome in outcomes if outcome is not None]
    return sum(tried), len(tried), f"{refused} writes, syncs and renames refused; files and disks too small"


def copied(run: Run, folder: Path) -> Run:
    """The same run in another folder."""
    shutil.copytree(run.folder, folder, dirs_exist_ok=True)
    return open_run(folder, run.manifest.root)


def survives(run: Run, fill: Callable[[], Any], wanted: tuple[str, ...]) -> bool | None:
    """Whether a run on a full disk leaves all whole and can go on later; None if the disk was not full."""

    def work() -> None:
        fill()
        train_run(run, resume=True)

    code, said = in_child(work)
    if code == 0:
        return None if digests(run.folder) == wanted else False
    sentence = said.startswith("error: ") and "could not be written" in said and said.count("\n") == 1
    whole, left = newest_is_whole(run.folder), list(run.folder.glob(".*"))
    elsewhere = copied(run, Path(tempfile.mkdtemp(dir=run.manifest.root.parent)))
    same = in_child(lambda: fit(elsewhere, resume=True))[0] == 0 and digests(elsewhere.folder) == wanted
    if code == 2 and sentence and whole and not left and same:
        return True
    print(f"{run.folder.name}: {code=} {whole=} {left=} {same=}\n{said}", file=sys.stderr)
    return False


def refuse_writes(folder: Path, number: int) -> None:
    """From now on count what opens a file for writing, syncs or renames in a folder, and refuse the so manieth."""
    left, sync = itertools.count(number - 1, -1), os.fsync

    def refuse() -> None:
        if next(left) == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def hook(event: str, given: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event == "os.rename") and str(given[0]).startswith(str(folder)):
            refuse()

    os.fsync = lambda descriptor: (refuse(), sync(descriptor))[1]  # type: ignore[func-returns-value]
    sys.addaudithook(hook)


@contextmanager
def small_disk(folder: Path, content: Path, spare: int) -> Iterator[Path]:
    """A file system with room for what a folder holds and so many kilobytes."""
    held = sum(-(-path.stat().st_size // 4096) * 4 for path in content.iterdir()) + 4
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={held + spare}k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2, 4])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--damage", type=int, default=1200)
    parser.add_argument("--every", type=int, default=1, help="try only each so manieth step and each so manieth write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    laws: dict[str, Callable[[Path, Path], Law]] = {
        f"stopped at every step, {workers} workers": functools.partial(stops, workers=workers, every=given.every)
        for workers in given.workers
    }
    if given.kills:
        laws["kill -9 at a random moment"] = functools.partial(kills, count=given.kills)
    if given.damage:
        laws["damaged checkpoints found"] = functools.partial(damage, count=given.damage)
    laws["full disk"] = functools.partial(disks, every=given.every)
    broken = False
    for name, law in laws.items():
        with tempfile.TemporaryDirectory() as folder:
            held, tried, seen = law(Path(folder), make_corpus(Path(folder, "corpus")))
        broken |= held != tried
        print(f"{name:34} {held:5} of {tried:5}   {seen}", flush=True)
    sys.exit(broken)


if __name__ == "__main__":
    main()
