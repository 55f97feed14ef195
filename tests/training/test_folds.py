"""All folds by one command: left speakers, left corpora, folds from files; resumed fold by fold, tested as one."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vocaffect import experiment
from vocaffect.cli import build_app
from vocaffect.corpora import prepare
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.manifest import Manifest
from vocaffect.recipe import Recipe, read_recipe
from vocaffect.runs import open_run
from vocaffect.splits import Split
from vocaffect.training import checkpoint

Small = Callable[..., Recipe]


def vocaffect(*arguments: object, code: int = 0) -> str:
    """What a command prints; the sentence of its error, if that is the user's to mend."""
    result = CliRunner().invoke(build_app(), [str(argument) for argument in arguments])
    if code == 2:
        assert isinstance(result.exception, VocaffectError), result.output
        return str(result.exception)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture
def three(corpus: Path, tmp_path: Path) -> Path:
    """The clips of three speakers."""
    for speaker in sorted(corpus.glob("*/[ABC]")):
        shutil.copytree(speaker, tmp_path / "three" / speaker.relative_to(corpus))
    return tmp_path / "three"


def test_each_speaker_is_left_out_in_turn_and_a_stopped_run_goes_on_with_its_fold(
    small: Small, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small("training.max_epochs=2", "data.protocol=speaker-loso").write(tmp_path / "tiny.yaml")
    where = ["--runs-dir", tmp_path, "--data-root", three, "--config", tmp_path / "tiny.yaml"]
    command, run = ["train", *where, "--run-name", "loso", "--folds", "all"], tmp_path / "loso"

    def stop_in_the_second(*arguments: Any, **named: Any) -> Any:
        def on_batch(done: int, total: int) -> None:
            if arguments[0].folder.name == "fold_2":
                signal.raise_signal(signal.SIGTERM)

        return train_run(*arguments, **{**named, "on_batch": on_batch})

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "train_run", stop_in_the_second)
        assert "fold 2" in vocaffect(*command, code=128 + signal.SIGTERM)
    assert "2 of the 3 folds" in vocaffect("test", run, code=2)
    assert "go on with it by --resume" in vocaffect(*command, code=2)

    refused = "training.batch_size 8, not 4: go on as before"
    assert refused in vocaffect(*command, "--resume", "--set", "training.batch_size=4", code=2)
    assert "holds a run of all folds" in vocaffect("train", *where, "--run-name", "loso", "--folds", "3", code=2)
    shutil.copytree(three, tmp_path / "more")
    (tmp_path / "more" / "sad" / "A" / "1.wav").unlink()
    assert "begun with other clips" in vocaffect(*command, "--resume", "--data-root", tmp_path / "more", code=2)

    before = (run / "fold_1" / "best_model.safetensors").stat().st_mtime_ns
    said = vocaffect(*command, "--resume", "--set", "training.workers=1")
    assert "fold 1: finished before, best epoch" in said
    assert before == (run / "fold_1" / "best_model.safetensors").stat().st_mtime_ns
    unbroken = small("training.max_epochs=2", "data.protocol=speaker-loso", "data.fold=2")
    train_run(start_run(unbroken, tmp_path / "unbroken", three))
    one, other = (checkpoint.load(checkpoint.resumable(f)[0])[0] for f in (run / "fold_2", tmp_path / "unbroken"))
    assert all(torch.equal(one[key], other[key]) for key in one)

    folds = [open_run(run / f"fold_{fold}") for fold in (1, 2, 3)]
    assert [fold.split.of(fold.manifest)[2].speakers for fold in folds] == [(f"folder-{name}",) for name in "ABC"]
    assert "deviation" in vocaffect("test", run, "--no-robustness", "--workers", 1)
    by_one = [(run / "test" / name).read_bytes() for name in ("metrics.json", "predictions.jsonl")]
    vocaffect("test", run, "--no-robustness", "--workers", 3)
    assert by_one == [(run / "test" / name).read_bytes() for name in ("metrics.json", "predictions.jsonl")]
    found = json.loads((run / "test" / "metrics.json").read_text())
    assert (found["num_folds"], found["num_speakers"], found["num_utterances"]) == (3, 3, 27)
    for measure in ("uar", "war"):
        values = [fold[measure] for fold in found["per_fold"].values()]
        assert found[measure]["value"] == pytest.approx(np.mean(values))
        assert found["fold_deviation"][measure] == pytest.approx(np.std(values, ddof=1))
        assert found[measure]["low"] <= found[measure]["value"] <= found[measure]["high"]
    shown = f"{100 * found['fold_deviation']['uar']:.1f} points"
    assert shown in (run / "test" / "report.md").read_text()
    shutil.rmtree(run / "fold_2")
    assert "1 of the 3 folds" in vocaffect("test", run, code=2)
    assert "(first: fold 2)" in vocaffect("ensemble", run, run, "-o", tmp_path / "e", code=2)


def test_a_run_of_one_fold_becomes_no_run_of_all(small: Small, three: Path, tmp_path: Path) -> None:
    small("training.max_epochs=1", "data.protocol=speaker-loso").write(tmp_path / "tiny.yaml")
    start_run(read_recipe(tmp_path / "tiny.yaml"), tmp_path / "one", three)
    where = ["--runs-dir", tmp_path, "--data-root", three, "--config", tmp_path / "tiny.yaml"]
    assert "holds a run of one fold" in vocaffect("train", *where, "--run-name", "one", "--folds", "all", code=2)


def test_each_corpus_is_left_out_in_turn(small: Small, corpus: Path, tmp_path: Path) -> None:
    manifest = prepare("folder", corpus)
    rows = [replace(clip, corpus="away") if clip.speaker[-1] in "DEF" else clip for clip in manifest]
    replace(manifest, utterances=tuple(rows)).write(tmp_path / "clips.csv")
    changes = [f"data.corpus={tmp_path / 'clips.csv'}", "data.protocol=leave-one-corpus-out", "training.max_epochs=1"]
    small(*changes).write(tmp_path / "tiny.yaml")
    where = ["--runs-dir", tmp_path, "--data-root", corpus, "--config", tmp_path / "tiny.yaml"]
    vocaffect("train", *where, "--run-name", "loco", "--folds", "all")
    for fold, left in ((1, "away"), (2, "folder")):
        run = open_run(tmp_path / "loco" / f"fold_{fold}")
        train, validation, test = run.split.of(run.manifest)
        assert (test.corpora, {*train.corpora, *validation.corpora}) == ((left,), {"away", "folder"} - {left})
    vocaffect("test", tmp_path / "loco", "--no-robustness")
    found = json.loads((tmp_path / "loco" / "test" / "metrics.json").read_text())
    assert [row["num_utterances"] for row in found["per_corpus"].values()] == [27, 27]
    assert found["uar"]["value"] == pytest.approx(np.mean([row["uar"] for row in found["per_fold"].values()]))


def test_folds_may_be_files(small: Small, corpus: Path, tmp_path: Path) -> None:
    prepare("folder", corpus).write(tmp_path / "clips.csv")
    vocaffect("data", "split", tmp_path / "clips.csv", "--protocol", "speaker-kfold", "--folds", "2", "-o", tmp_path)
    [first, second] = sorted(tmp_path.glob("*.json"))
    files = str(first).replace("1.json", "{fold}.json")
    recipe = small(f"data.corpus={tmp_path / 'clips.csv'}", f"data.protocol='{files}'", "training.max_epochs=1")
    recipe.write(tmp_path / "tiny.yaml")
    where = ["--runs-dir", tmp_path, "--data-root", corpus, "--config", tmp_path / "tiny.yaml", "--run-name", "files"]
    vocaffect("train", *where, "--folds", "all")
    for fold, file in enumerate((first, second), 1):
        assert open_run(tmp_path / "files" / f"fold_{fold}").split == Split.read(file)

    def refused(protocol: object, *more: object) -> str:
        other = [*where[:-1], "other"]
        return vocaffect("train", *other, "--set", f"data.protocol='{protocol}'", *more, code=2)

    assert "there are no folds of" in refused(tmp_path / "gone{fold}.json", "--folds", "all")
    assert "there is no split" in refused(tmp_path / "gone.json")
    assert "is one fold" in refused(first, "--folds", "all")
    assert "leave data.train_only out" in refused(first, "--set", "data.train_only=folder")
    first.write_text(first.read_text().replace('"fold": 1', '"fold": 3'))
    assert "not what its hash says" in refused(first)
    fewer = Manifest.read(tmp_path / "clips.csv")
    replace(fewer, utterances=fewer.utterances[:30]).write(tmp_path / "clips.csv")
    assert "clips of the split are not in the manifest" in refused(second)
    assert not (tmp_path / "other").exists()
