"""Ensembles of runs: paired fold by fold, weighed and calibrated by held-out speakers, tested like any run."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from vocaffect.audio import read_clip
from vocaffect.bundle import read_card
from vocaffect.cli import build_app
from vocaffect.corpora import prepare
from vocaffect.ensemble import combined
from vocaffect.ensembles import Plan, ensemble_file, ensemble_run
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.manifest import Manifest
from vocaffect.packing import MODEL, bundle_of, export_run, for_verification
from vocaffect.posteriors import hear
from vocaffect.recipe import Recipe
from vocaffect.recognizer import Recognizer
from vocaffect.runs import Run, open_run
from vocaffect.testing import measure_run
from vocaffect.verification import verify

Floats = NDArray[np.float64]
Small = Callable[..., Recipe]
LABELS = ("neutral", "happy", "sad")
MODELS = {
    "lstm": ["frontend.deltas=1"],
    "window": ["model.bidirectional=true", "window.length_s=0.5", "window.hop_s=0.25"],
}


@pytest.fixture(scope="module")
def members(small: Small, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models of two folds each; the first runs frame by frame, the second on a window."""
    root = tmp_path_factory.mktemp("members")
    for name, changes in MODELS.items():
        for fold in (1, 2):
            few = ["training.max_epochs=2", "data.num_folds=2", f"data.fold={fold}", f"name={name}"]
            train_run(start_run(small(*few, *changes), root / name / f"fold_{fold}", corpus))
    return [root / name for name in MODELS]


@pytest.fixture(scope="module")
def both(members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ensemble of them, a run of two folds."""
    folder = tmp_path_factory.mktemp("both") / "both"
    ensemble_run(list(map(str, members)), folder, Plan("posteriors", fit_weights=True, name="both"))
    return folder


def log_posteriors(run: Run, clips: Manifest) -> Floats:
    return np.log(hear(Recognizer.load(bundle_of(run)), clips).of(clips, LABELS).astype(np.float64))


def test_each_fold_is_calibrated_and_weighed_by_its_own_held_out_speakers(members: list[Path], both: Path) -> None:
    for fold in ("fold_1", "fold_2"):
        runs = [open_run(member / fold) for member in members]
        ensemble = open_run(both / fold)
        assert ensemble.split == runs[0].split
        assert ensemble.manifest.hash == runs[0].manifest.hash
        card = read_card(both / fold / MODEL)
        assert [about["digest"] for about in card.recipe["members"]] == [read_card(bundle_of(r)).digest for r in runs]
        held_out = ensemble.split.of(ensemble.manifest)[1]
        targets = [LABELS.index(clip.emotion) for clip in held_out]
        weights = [about["weight"] for about in card.recipe["members"]]
        logs = [log_posteriors(run, held_out) for run in runs]

        def nll(shares: list[float], targets: list[int] = targets, logs: list[Floats] = logs) -> float:
            logits = combined(logs, shares, "posteriors")
            heats = np.exp(np.linspace(-3, 3, 121))
            scaled = [logits / heat for heat in heats]
            return min(float(np.mean(np.log(np.exp(z).sum(1)) - z[range(len(z)), targets])) for z in scaled)

        assert nll(weights) <= min(nll([share, 1 - share]) for share in np.linspace(0.01, 0.99, 21)) + 2e-3


def test_an_ensemble_is_tested_verified_and_exported_like_any_run(
    both: Path, members: list[Path], tmp_path: Path
) -> None:
    evaluation = measure_run(both, robustness=False)
    assert (evaluation["num_utterances"], evaluation["num_folds"], evaluation["speaker_disjoint"]) == (54, 2, True)
    recognizer, clips, reference = for_verification(both / "fold_2", None)
    checks = {check.name: check for check in verify(recognizer, clips, reference)}
    assert all(check.passed for check in checks.values()), checks
    assert "torch, before export" in checks
    measure_run(both / "fold_1", robustness=False)
    export_run(open_run(both / "fold_1"), tmp_path / "x.onnx", name="both at once")
    card = read_card(tmp_path / "x.onnx")
    assert (card.name, card.metrics["num_folds"]) == ("both at once", 1)
    clip = open_run(both / "fold_1").manifest.utterances[0]
    samples = read_clip(open_run(both / "fold_1").manifest.audio_path(clip)).samples
    packed, own = (Recognizer.load(path) for path in (tmp_path / "x.onnx", both / "fold_1" / MODEL))
    np.testing.assert_array_equal(packed.posterior(samples).posterior, own.posterior(samples).posterior)
    member = members[0] / "fold_1"
    before = (member / MODEL).read_bytes()
    export_run(open_run(member), member / MODEL, name="another")
    with pytest.raises(VocaffectError, match=r"has changed since .*: make the ensemble again"):
        for_verification(both / "fold_1", None)
    (member / MODEL).write_bytes(before)


def test_an_ensemble_can_teach(both: Path, small: Small, corpus: Path, tmp_path: Path) -> None:
    changes = ["training.max_epochs=1", "data.num_folds=2", f"distillation.teachers=['{both}']"]
    run = start_run(small(*changes), tmp_path / "student", corpus)
    assert np.isfinite(train_run(run).rows[0]["train_loss"])
    with pytest.raises(VocaffectError, match="has heard speakers of this run's test side"):
        start_run(small(*changes[:2], f"distillation.teachers=['{both / 'fold_2'}']"), tmp_path / "leaky", corpus)


def test_what_one_member_has_learned_from_is_not_held_out(members: list[Path], tmp_path: Path) -> None:
    """The same run with another validation side: only clips that neither trained on are left."""
    run = open_run(members[0] / "fold_1")
    train = run.split.of(run.manifest)[0]
    speaker = train.speakers[0]
    moved = [clip.path for clip in train if clip.speaker == speaker]
    fewer, more = set(run.split.train) - set(moved), [*run.split.validation, *moved]
    shutil.copytree(run.folder, tmp_path / "copy")
    replace(run.split, train=tuple(fewer), validation=tuple(more)).write(tmp_path / "copy" / "split.json")
    [bundle] = ensemble_run([str(run.folder), str(tmp_path / "copy")], tmp_path / "e", Plan())
    split = open_run(bundle.parent).split
    assert (set(split.train), set(split.validation)) == (set(run.split.train), set(run.split.validation))


def test_runs_that_cannot_be_one(
    members: list[Path], small: Small, corpus: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    one, other = members
    manifest = prepare("folder", corpus)
    fewer = replace(manifest, utterances=tuple(clip for clip in manifest if clip.emotion != "sad"))
    train_run(start_run(small("training.max_epochs=1", "data.num_folds=2"), tmp_path / "two", corpus, manifest=fewer))

    def refused(message: str, *names: object, file: bool = False, plan: Plan | None = None) -> None:
        make = ensemble_file if file else ensemble_run
        with pytest.raises(VocaffectError, match=message):
            make([str(name) for name in names], tmp_path / ("x.onnx" if file else "x"), plan or Plan())
        assert not list(tmp_path.glob("x*"))

    refused("is no run, so it has nobody to be tested on", one, toy_bundle)
    refused("have different folds", one, other / "fold_1")
    refused("tested on different clips", one / "fold_1", other / "fold_2")
    refused(r"disagree on labels \(sad\)", one / "fold_1", tmp_path / "two")
    refused(r"disagree on labels \(sad\)", toy_bundle, tmp_path / "two", file=True)
    refused("one model for each fold", one, other, file=True)
    refused("nobody is held out to weigh", toy_bundle, toy_bundle, file=True, plan=Plan(fit_weights=True))
    refused("two members or more", one / "fold_1")
    with pytest.raises(VocaffectError, match="holds a run that was trained"):
        ensemble_run([str(one / "fold_1"), str(other / "fold_1")], tmp_path / "two", Plan())


def test_the_command(members: list[Path], toy_bundle: Path, tmp_path: Path) -> None:
    def vocaffect(*arguments: object) -> str:
        result = CliRunner().invoke(build_app(), [str(argument) for argument in arguments])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    said = vocaffect("ensemble", members[0] / "fold_1", members[1] / "fold_1", toy_bundle, "-o", tmp_path / "x.onnx")
    assert "x.onnx" in said
    assert "lstm 0.33, window 0.33, toy-frame 0.33" in said
    assert "ok" in vocaffect("verify", tmp_path / "x.onnx")
    said = vocaffect("ensemble", *members, "-o", tmp_path / "both", "--combine", "posteriors")
    assert said.count("lstm 0.50, window 0.50") == 2
    assert "MISMATCH" not in vocaffect("verify", tmp_path / "both" / "fold_1")
