"""From a trained run to its recogniser: one file, or in Python where no file can hold it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vocaffect.audio import read_clip
from vocaffect.bundle import read_card, unseal, write_bundle
from vocaffect.card import Card
from vocaffect.corpora import corpus_names, get_corpus
from vocaffect.encoders.store import KNOWN
from vocaffect.ensemble import reference_of
from vocaffect.errors import VocaffectError
from vocaffect.export import bundle_in_python, describe, refuse_plain, write_recognizer
from vocaffect.files import write_text
from vocaffect.golden import golden_of
from vocaffect.metrics import fit_temperature, softmax
from vocaffect.models import Network
from vocaffect.recognizer import Recognizer
from vocaffect.runs import (
    Run,
    build_network,
    fold_folders,
    learned_from,
    open_run,
    statistics_of,
    trained_network,
    validation_loader,
)
from vocaffect.training import checkpoint
from vocaffect.training.loop import predict
from vocaffect.verification import Reference, Samples

MODEL, CARD, PREDICTIONS = "model.onnx", "card.json", "predictions.jsonl"
LEAST = 1e-7
"""Below what a written posterior tells apart."""
INTENDED_USE = (
    "Research, teaching and applications in which people see what is recognised of their own voice and agree to "
    "it. Not for inferring emotions at work or in education (forbidden in the EU by the AI Act, article 5(1)(f)), "
    "and not for decisions about people."
)
LIMITS = (
    "Learned from acted speech: what it recognises is how an emotion is performed, not what anyone feels. Expect "
    "much lower accuracy on other languages, recording conditions and spontaneous speech than on the corpus."
)


@dataclass(frozen=True)
class Calibration:
    """What logits are divided by, and the posterior's largest below which no label is claimed."""

    temperature: float = 1.0
    uncertain_below: float = 0.0

    @classmethod
    def fit(cls, logits: NDArray[np.floating[Any]], targets: NDArray[np.integer[Any]], coverage: float) -> Self:
        """The temperature that suits clips of unheard voices, and the threshold that a share of them passes."""
        temperature = float(fit_temperature(logits.astype(np.float64), targets))
        if coverage == 1:
            return cls(temperature)
        return cls(temperature, float(np.quantile(softmax(logits, temperature).max(-1), 1 - coverage)))


def calibrate(run: Run, network: Network, otherwise: Calibration = Calibration()) -> Calibration:
    """What the validation speakers ask for, or another calibration where nobody is held out."""
    if not run.split.validation:
        return otherwise
    logits, targets = predict(network.cpu(), validation_loader(run), torch.device("cpu"))
    return Calibration.fit(logits.numpy(), targets.numpy(), run.recipe.export.coverage)


def export_run(run: Run, path: Path, *, metrics: Mapping[str, Any] | None = None, name: str | None = None) -> Path:
    """Write a run's best model as a bundle, calibrated on its validation speakers or as ``metrics`` say.

    Args:
        run: a trained run.
        path: the bundle to write.
        metrics: what `tested_folds` says of the same recipe, for the card; its temperature was fitted on more
            voices than the few this run holds out. Otherwise what testing this run has found, if it was tested.
        name: what the recogniser is called; otherwise as the recipe calls it.

    Raises:
        VocaffectError: if a feature is a plain function.
    """
    if run.recipe.ensemble.members:
        return _export_ensemble(run, path, metrics, name)
    network = trained_network(run)
    refuse_plain(network)
    write_recognizer(network, path, describe(network, **_description(run, network, metrics, name)))
    return path


def bundle_of(run: Run) -> Path:
    """The run's recogniser as a file; exported first, unless that was done since its best model was written."""
    path = run.folder / MODEL
    return path if run.recipe.ensemble.members or _is_current(path) else export_run(run, path)


def _export_ensemble(run: Run, path: Path, metrics: Mapping[str, Any] | None, name: str | None) -> Path:
    data = (run.folder / MODEL).read_bytes()
    worth = dict(metrics if metrics is not None else tested(run.folder))
    write_bundle(path, data, unseal(data).model_copy(update={"metrics": worth, "name": name or run.recipe.name}))
    return path


def recognizer_of(run: Run) -> Recognizer:
    """The run's recogniser: its bundle, or in Python where a feature is a plain function.

    What `vocaffect.Recognizer` offers is the same either way; in Python it needs torch and the feature's code.
    """
    if run.recipe.ensemble.members or not build_network(run).frontend.plain_names:
        return Recognizer.load(bundle_of(run))
    network, path = trained_network(run), run.folder / CARD
    if not _is_current(path):
        card = describe(network, **_description(run, network))
        golden = golden_of(bundle_in_python(network, card), tolerance=card.golden.tolerance)
        write_text(path, card.model_copy(update={"golden": golden}).model_dump_json(indent=1) + "\n")
    return Recognizer(bundle_in_python(network, Card.model_validate_json(path.read_text(encoding="utf-8"))))


def _is_current(path: Path) -> bool:
    """Whether a file beside a run's best model was written after it."""
    best = path.parent / checkpoint.BEST
    return path.is_file() and best.is_file() and path.stat().st_mtime >= best.stat().st_mtime


def _description(
    run: Run, network: Network, metrics: Mapping[str, Any] | None = None, name: str | None = None
) -> dict[str, Any]:
    """What `vocaffect.export.describe` is to say of a run's recogniser."""
    given = dict(metrics or {})
    metrics = given or tested(run.folder)
    unheard = Calibration(metrics.get("temperature", 1.0), metrics.pop("uncertain_below", 0.0))
    calibration = unheard if given else calibrate(run, network, unheard)
    return {
        "name": name or run.recipe.name,
        "labels": run.labels,
        "temperature": calibration.temperature,
        "window": (run.recipe.window.length_s, run.recipe.window.hop_s),
        "facts": {
            "uncertain_below": calibration.uncertain_below,
            "coverage": run.recipe.export.coverage,
            "recipe": run.recipe.model_dump(mode="json"),
            "manifest_hash": run.manifest.hash,
            "metrics": metrics,
            "normalisation": {"statistics_of": list(statistics_of(run))},
            **terms(learned_from(run) | network.model.learned_from, network.model.pretrained),
        },
    }


def tested(folder: Path) -> dict[str, Any]:
    """The headline of what testing a run has found: UAR, WAR and calibration with protocol and intervals.

    The temperature is the geometric mean over the folds.
    """
    path = folder / "test" / "metrics.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    kept = (
        "protocol",
        "speaker_disjoint",
        "num_utterances",
        "num_speakers",
        "num_folds",
        "uar",
        "war",
        "macro_f1",
    )
    return {key: found[key] for key in kept} | {
        **{key: found["adaptation"][key] for key in ("adapted", "skewed") if found.get("adaptation")},
        "ece": found["calibration"]["ece"],
        "temperature": float(np.exp(np.log(found["calibration"]["temperature"]).mean())),
        "recall": {label: row["recall"] for label, row in found["per_class"].items()},
    }


def tested_folds(folder: Path) -> dict[str, Any]:
    """What `tested` says, and the temperature that suits what all folds said about speakers they had not heard."""
    found = tested(folder)
    return found and found | asdict(_unheard(folder))


def _unheard(folder: Path) -> Calibration:
    """What suits what the folds of a run, each calibrated by itself, have said about their test speakers."""
    lines = (folder / "test" / PREDICTIONS).read_text(encoding="utf-8").splitlines()
    rows, runs = [json.loads(line) for line in lines], [open_run(fold) for fold in fold_folders(folder)]
    used = {run.recipe.data.fold: recognizer_of(run).card.temperature for run in runs}
    posteriors = np.maximum([row["posterior"] for row in rows], LEAST)
    logits = np.log(posteriors) * np.array([[used[row["fold"]]] for row in rows])
    targets = np.array([runs[0].labels.index(row["emotion"]) for row in rows])
    return Calibration.fit(logits, targets, runs[0].recipe.export.coverage)


def terms(corpora: Collection[str], pretrained: str | None = None) -> dict[str, Any]:
    """Licence, intended use and limits of whatever has learned from these corpora, on a pretrained encoder or none."""
    licences = []
    for name in sorted(corpora):
        known = get_corpus(name) if name in corpus_names() else None
        licences.append(f"{name}: {known.licence if known else 'as its owner says'}")
    data, begun = "; ".join(licences), ""
    if pretrained:
        licence = KNOWN[pretrained].licence if pretrained in KNOWN else "as its owner says"
        begun = f", and begun with {pretrained}: {licence}"
    return {
        "licence": {
            "weights": f"bound by the terms of the data they were learned from ({data}){begun}",
            "data": data,
        },
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
    }


def for_verification(folder: Path, data_root: Path | None) -> tuple[Recognizer, list[Samples], Reference]:
    """A run's recogniser, four clips of its test side, and its network in torch, or its members one by one.

    Raises:
        VocaffectError: if an ensemble's members are no longer those that it was made of.
    """
    run = open_run(folder, data_root)
    chosen = (run.split.of(run.manifest)[2] if run.split.test else run.manifest).utterances[::61][:4]
    clips = [read_clip(run.manifest.audio_path(utterance)).samples for utterance in chosen]
    if run.recipe.ensemble.members:
        return recognizer_of(run), clips, reference_of(recognizer_of(run).card, _members(run))
    network = trained_network(run)

    def reference(samples: Samples) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = network(torch.from_numpy(samples))[0].logits
        return np.asarray((logits[:, -1] if network.streaming == "window" else logits).numpy())

    return recognizer_of(run), clips, reference


def _members(run: Run) -> list[Recognizer]:
    """The recognisers that an ensemble was made of."""
    found = []
    for folder, about in zip(run.recipe.ensemble.members, read_card(run.folder / MODEL).recipe["members"], strict=True):
        path = bundle_of(open_run(Path(folder)))
        if read_card(path).digest != about["digest"]:
            raise VocaffectError(f"{folder} has changed since {run.folder} was made of it: make the ensemble again")
        found.append(Recognizer.load(path))
    return found
