"""Runs on several corpora and on shards: one loop, drawn by weights, read from the disk, standardised by corpus."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vocaffect.corpora import prepare
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.manifest import Manifest
from vocaffect.packing import bundle_of
from vocaffect.recipe import Recipe
from vocaffect.recognizer import Recognizer
from vocaffect.runs import trained_network
from vocaffect.shards import write_shards
from vocaffect.testing import measure_run
from vocaffect.training import checkpoint
from vocaffect.training.stopping import StopAskedError

Small = Callable[..., Recipe]


def two_corpora(manifest: Manifest) -> Manifest:
    """The clips of half the speakers as another corpus."""
    rows = []
    for clip in manifest:
        away = clip.speaker[-1] in "DEF"
        rows.append(replace(clip, corpus="away", speaker=f"away-{clip.speaker}") if away else clip)
    return replace(manifest, utterances=tuple(rows))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.resumable(folder)[0])[0]


@pytest.fixture(scope="module")
def shards(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(two_corpora(prepare("folder", corpus)), folder, 0.1)
    return folder / "shards.json"


def test_a_run_from_shards_goes_on_where_it_stopped_and_workers_change_nothing(
    small: Small, shards: Path, tmp_path: Path
) -> None:
    changes = [f"data.corpus={shards}", "data.shuffle_buffer=10", "training.max_epochs=2", "training.crop_s=0.4"]
    changes += ["data.sampling={away: 0.5}", "data.balance=emotion"]
    straight = start_run(small(*changes), tmp_path / "straight", Path("nowhere"))
    train_run(straight)
    broken = start_run(small(*changes, "training.workers=2"), tmp_path / "broken", Path("nowhere"))

    def stop(done: int, total: int) -> None:
        if (broken.folder / "metrics.jsonl").is_file() and done == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StopAskedError, match="in epoch 2 after batch 2"):
        train_run(broken, on_batch=stop)
    train_run(start_run(broken.recipe, broken.folder, Path("nowhere"), resume=True), resume=True)
    one, other = weights(straight.folder), weights(broken.folder)
    assert all(torch.equal(one[key], other[key]) for key in one)
    evaluation = measure_run(straight.folder, robustness=False)
    assert evaluation["num_utterances"] == len(straight.split.test)


def test_a_run_whose_shards_are_gone_says_so(small: Small, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(VocaffectError, match=r"there is no .*gone/shards\.json: make shards"):
        start_run(small("data.corpus=gone/shards.json"), tmp_path / "run", Path("nowhere"))
    assert not (tmp_path / "run").exists()


def test_a_shard_cut_short_before_or_while_a_run_reads_it_is_a_sentence(
    small: Small, shards: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shards.parent, tmp_path / "shards")
    recipe = small(f"data.corpus={copy / 'shards.json'}", "data.statistics=corpus", "training.max_epochs=1")
    run = start_run(recipe, tmp_path / "run", Path("nowhere"))
    for shard in copy.glob("*.tar"):
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(VocaffectError, match=r"shard-0.*\.tar.* cut short"):
        train_run(run)
    with pytest.raises(VocaffectError, match=r"shard-0.*\.tar has [\d,]+ bytes and not [\d,]+: copy it again"):
        start_run(recipe, tmp_path / "other", Path("nowhere"))
    assert not (tmp_path / "other").exists()


def test_a_corpus_that_is_only_trained_on_gives_the_recogniser_no_statistics(
    small: Small, corpus: Path, tmp_path: Path
) -> None:
    two_corpora(prepare("folder", corpus)).write(tmp_path / "clips.csv")
    changes = [f"data.corpus={tmp_path / 'clips.csv'}", "data.train_only=away", "training.max_epochs=1"]
    cards, means = [], []
    for statistics in ("pooled", "corpus"):
        recipe = small(*changes, f"data.statistics={statistics}", "data.num_folds=3")
        run = start_run(recipe, tmp_path / statistics, corpus)
        train_run(run)
        cards.append(Recognizer.load(bundle_of(run)).card.normalisation["statistics_of"])
        means.append(trained_network(run).frontend.mean)
        assert json.loads((run.folder / "metrics.jsonl").read_text())["epoch"] == 1
    assert cards == [["away", "folder"], ["folder"]]
    assert not torch.allclose(means[0], means[1])


def test_weights_of_a_corpus_that_is_not_there_are_refused_before_anything_is_written(
    small: Small, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(VocaffectError, match="corpus 'foldr' is not known; did you mean 'folder'"):
        start_run(small("data.sampling={foldr: 0.5}"), tmp_path / "run", corpus)
    assert not (tmp_path / "run").exists()
