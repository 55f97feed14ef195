"""Several processes that train as one: their shares add up to the whole, and torchrun gives what one process gives."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.errors import VocaffectError
from vocaffect.losses import count, distillation, focal, utterance_loss
from vocaffect.recipe import Recipe
from vocaffect.sampling import BucketSampler
from vocaffect.training import checkpoint

TOLERANCE = 2e-4
"""Of a weight after two epochs: float32 sums in another order, made larger by AdamW, which divides by small moments."""

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@given(
    lengths=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    world=st.integers(1, 3),
    frame_weight=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 99),
)
def test_the_losses_of_the_shares_add_up_to_the_loss_of_the_whole(
    lengths: list[int], world: int, frame_weight: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    num_frames, clips = torch.tensor(lengths), len(lengths)
    logits = torch.randn(clips, 9, 4, generator=generator).double()
    active = (torch.rand(clips, 9, 1, generator=generator) < 0.7).double()
    shares = torch.rand(clips, 4, generator=generator).double().softmax(1)
    shares[0] = 0
    counts, weights = count(active, num_frames), torch.tensor([1.0, 2.0, 0.5, 0.0])

    def labels(part: slice) -> torch.Tensor:
        rows = (logits[part], active[part], num_frames[part], shares[part])
        return utterance_loss(*rows, focal, weights, frame_weight, 0.1, counts)

    def teacher(part: slice) -> torch.Tensor:
        return distillation(logits[part], active[part], num_frames[part], shares[part], 2.0, frame_weight, counts)

    for loss in (labels, teacher):
        parts = torch.stack([loss(slice(rank, None, min(world, clips))) for rank in range(min(world, clips))])
        torch.testing.assert_close(parts.sum(), loss(slice(None)))


@given(
    lengths=st.lists(st.integers(1, 10_000), min_size=8, max_size=100),
    world=st.integers(1, 4),
    start=st.integers(0, 30),
    shuffle=st.booleans(),
)
def test_every_process_gets_its_part_of_every_batch(lengths: list[int], world: int, start: int, shuffle: bool) -> None:
    samplers = [BucketSampler(lengths, 8, 1, shuffle, share=(rank, world)) for rank in range(world)]
    whole = BucketSampler(lengths, 8, 1, shuffle)
    batches = list(whole)
    for sampler in samplers:
        sampler.start = start
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {max(len(batches) - start, 0)}
    for batch, *shares in zip(batches[start:], *parts, strict=True):
        assert sorted(place for share in shares for place in share) == sorted(batch)
        assert all(shares)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_batches_that_are_too_small_to_share_are_refused() -> None:
    with pytest.raises(VocaffectError, match=r"a batch of 2 clips cannot be shared by 3 processes.*batch_size to 6"):
        BucketSampler([5, 5, 5, 5], 3, share=(0, 3))


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed as Linux lists them")
def test_a_group_has_ended_before_the_program_does(tmp_path: Path) -> None:
    """Its threads would abort a program that ends under them; what exporting imports had kept them."""
    script = tmp_path / "ends.py"
    script.write_text(
        "import atexit\n"
        "from os import environ\n"
        "from pathlib import Path\n"
        "def tell(when, tasks=Path('/proc/self/task'), file=Path(__file__), rank=environ['RANK']):\n"
        "    names = [(task / 'comm').read_text() for task in tasks.iterdir()]\n"
        "    file.with_name(when + rank).write_text(str(any('gloo' in name for name in names)))\n"
        "atexit.register(tell, 'ended')\n"
        "from vocaffect.training import ranks\n"
        "ranks.join()\n"
        "import torch._dynamo\n"
        "tell('began')\n"
    )
    subprocess.run([*TORCHRUN, script], env=ENVIRONMENT, check=True)
    told = {path.name: path.read_text() for path in tmp_path.iterdir() if path != script}
    assert told == {"began0": "True", "began1": "True", "ended0": "False", "ended1": "False"}


def test_torchrun_trains_what_one_process_trains(small: Callable[..., Recipe], corpus: Path, tmp_path: Path) -> None:
    """Clips of many lengths in batches of odd numbers; augmentation and masks on, dropout off."""
    small(
        "training.max_epochs=2",
        "training.batch_size=7",
        "training.frame_weight=0.3",
        "training.average_decay=0.5",
        "model.dropout=0",
    ).write(tmp_path / "recipe.yaml")
    options = ["--config", tmp_path / "recipe.yaml", "--runs-dir", tmp_path, "--data-root", corpus]
    train = ["-m", "vocaffect.cli", "train", *map(str, options), "--run-name"]
    said = {}
    for name, command in (("one", [sys.executable, *train, "one"]), ("two", [*TORCHRUN, *train, "two"])):
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout
    assert said["two"].count("epoch   2") == said["two"].count("best epoch") == 1

    one, two = tmp_path / "one", tmp_path / "two"
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    for name in ("last_2_0.safetensors", checkpoint.BEST):
        (alone, _), (together, _) = (checkpoint.load(folder / name) for folder in (one, two))
        assert alone.keys() == together.keys()
        for key in alone:
            torch.testing.assert_close(together[key], alone[key], rtol=TOLERANCE, atol=TOLERANCE)
    rows = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
    assert all(a == pytest.approx(b, rel=TOLERANCE) for a, b in zip(*rows, strict=True))
