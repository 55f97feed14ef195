"""Exported graphs compute what torch computes, and the commands around them."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from typer.testing import CliRunner

from vocaffect.audio import read_clip
from vocaffect.bundle import read_card
from vocaffect.cli import build_app
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.packing import bundle_of, for_verification, recognizer_of
from vocaffect.recipe import Recipe
from vocaffect.recognizer import Recognizer
from vocaffect.runs import Run, label_offset, open_run, trained_network
from vocaffect.testing import measure_run
from vocaffect.verification import verify

VARIANTS: dict[str, list[str]] = {
    "plain": [],
    "deltas and attention": ["frontend.deltas=2", "model.attention=true", "model.num_layers=2"],
    "bidirectional": ["model.bidirectional=true", "window.length_s=1.0", "window.hop_s=0.25"],
}


@pytest.fixture(scope="module", params=VARIANTS)
def run(
    request: pytest.FixtureRequest,
    small: Callable[..., Recipe],
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "run"
    trained = start_run(small("training.max_epochs=2", *VARIANTS[request.param]), folder, corpus)
    train_run(trained)
    return trained


def test_the_bundle_is_the_network(run: Run) -> None:
    """Each way of running it gives the same; several exports in one process, several lengths and batches."""
    recognizer, clips, reference = for_verification(run.folder, None)
    checks = {check.name: check for check in verify(recognizer, clips, reference)}
    assert all(check.passed for check in checks.values()), checks
    assert "torch, before export" in checks
    card = recognizer.card
    assert card.labels == ["neutral", "happy", "sad"]
    assert card.streaming == ("window" if run.recipe.model.parameters.get("bidirectional") else "frame")
    assert card.manifest_hash == run.manifest.hash


def test_a_graph_that_answers_otherwise_is_found(run: Run) -> None:
    recognizer, clips, reference = for_verification(run.folder, None)

    def wrong(samples: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.asarray(-reference(samples))

    failed = [check.name for check in verify(recognizer, clips, wrong) if not check.passed]
    assert failed == ["torch, before export"]


def test_even_labels_take_back_how_often_training_showed_each(
    small: Callable[..., Recipe], corpus: Path, tmp_path: Path
) -> None:
    recipe = small("training.max_epochs=1", "training.class_weights={happy: 4.0}", "export.even_labels=true")
    run = start_run(recipe, tmp_path / "run", corpus)
    train_run(run)
    shown = Counter(clip.emotion for clip in run.split.of(run.manifest)[0])
    logs = np.log([shown[label] * (4.0 if label == "happy" else 1.0) for label in run.labels])
    assert label_offset(run) == pytest.approx(logs.mean() - logs)
    uneven = run.recipe.model_copy(update={"export": run.recipe.export.model_copy(update={"even_labels": False})})
    samples = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (even, *_), _ = trained_network(run)(samples)
        (plain, *_), _ = trained_network(replace(run, recipe=uneven))(samples)
    assert (even - plain)[0, -1].numpy() == pytest.approx(label_offset(run), abs=1e-5)


def test_measuring_a_run(run: Run) -> None:
    evaluation = measure_run(run.folder)
    conditions = {row["condition"]: row["uar"] for row in evaluation["robustness"]}
    assert len(conditions) == 7
    assert conditions["gain -12 dB"] == pytest.approx(evaluation["uar"]["value"], abs=0.35)
    assert evaluation["num_utterances"] == len(run.split.test)
    assert evaluation["speaker_disjoint"] is True
    written = {path.name for path in (run.folder / "test").iterdir()}
    assert written >= {"metrics.json", "predictions.jsonl", "confusion_matrix.png", "confusion_matrix.json"}
    rows = [json.loads(line) for line in (run.folder / "test" / "predictions.jsonl").read_text().splitlines()]
    correct = [row["emotion"] == row["recognised"] for row in rows]
    assert evaluation["war"]["value"] == pytest.approx(np.mean(correct))
    recognizer = Recognizer.load(bundle_of(run))
    again = recognizer.posterior(clip_of(run, rows[0]["path"])).posterior
    np.testing.assert_allclose(again, rows[0]["posterior"], atol=1e-5)


def clip_of(run: Run, path: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return read_clip(run.manifest.root / path).samples


def test_a_tested_run_that_learned_on_is_packed_anew(
    small: Callable[..., Recipe], corpus: Path, tmp_path: Path
) -> None:
    run = start_run(small("training.max_epochs=1"), tmp_path / "run", corpus)
    train_run(run)
    measure_run(run.folder, robustness=False)
    (run.folder / "model.onnx").unlink()
    assert recognizer_of(run).card.metrics["num_utterances"] == len(run.split.test)


def _temperature_by_search(folder: Path) -> float:
    """Of the raw decisions that the folds took about their own test speakers, the temperature of least surprise."""
    logits, targets = [], []
    for fold in (1, 2):
        run = open_run(folder / f"fold_{fold}")
        recognizer = Recognizer.load(folder / f"fold_{fold}" / "model.onnx")
        for clip in run.split.of(run.manifest)[2]:
            posterior = recognizer.posterior(read_clip(run.manifest.audio_path(clip)).samples).posterior
            logits.append(np.log(np.maximum(posterior, 1e-7)) * recognizer.card.temperature)
            targets.append(run.labels.index(clip.emotion))
    tried = np.geomspace(0.05, 50, 2000)
    rows = np.arange(len(targets))
    surprise = [-log_softmax(np.array(logits) / t, axis=1)[rows, targets].mean() for t in tried]
    return float(tried[int(np.argmin(surprise))])


def test_the_commands(small: Callable[..., Recipe], corpus: Path, tmp_path: Path) -> None:
    """Train two folds, test them together, export one with their numbers, verify the file."""
    small("training.max_epochs=1", "name=tiny").write(tmp_path / "tiny.yaml")

    def vocaffect(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(build_app(), [str(argument) for argument in arguments])
        if code == 2:
            assert isinstance(result.exception, VocaffectError)
            return str(result.exception)
        assert result.exit_code == code, result.output
        return result.output

    runs = ["--runs-dir", tmp_path, "--data-root", corpus, "--config", tmp_path / "tiny.yaml"]
    vocaffect("train", *runs, "--run-name", "six", "--folds", "all", "--set", "data.num_folds=2")
    assert "1 to 5" in vocaffect("train", *runs, "--run-name", "one", "--folds", "9", code=2)
    output = vocaffect("test", tmp_path / "six")
    assert "UAR" in output
    assert json.loads((tmp_path / "six" / "test" / "metrics.json").read_text())["num_utterances"] == 54
    bundle = tmp_path / "tiny.onnx"
    vocaffect("export", tmp_path / "six" / "fold_1", "-o", bundle, "--metrics-from", tmp_path / "six")
    assert read_card(bundle).metrics["num_folds"] == 2
    assert read_card(bundle).temperature == pytest.approx(_temperature_by_search(tmp_path / "six"), rel=0.02)
    assert "ok" in vocaffect("verify", bundle)
    assert "golden vector" in vocaffect("verify", tmp_path / "six" / "fold_1")
    assert "name one of them" in vocaffect("export", tmp_path / "six", "-o", bundle, code=2)
    assert "was not tested" in vocaffect(
        "export", tmp_path / "six" / "fold_1", "-o", bundle, "--metrics-from", tmp_path, code=2
    )
    assert "holds no run" in vocaffect("test", tmp_path / "seven", code=2)
    assert "no name for a folder" in vocaffect("train", *runs, "--run-name", "../x", code=2)
