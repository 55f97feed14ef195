"""The result of one recogniser on a test side: what it said, and everything that is reported about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vocaffect.decision import Settled, settling
from vocaffect.errors import VocaffectError
from vocaffect.metrics import (
    COVERAGES,
    Floats,
    Ints,
    Metric,
    bootstrap,
    confusion,
    confusions_by,
    coverage_accuracy,
    deviation,
    ece,
    f1_scores,
    fit_temperature,
    flips_per_minute,
    macro_f1,
    nll,
    precisions,
    recalls,
    reliability,
    softmax,
    uar,
    war,
)


@dataclass(frozen=True)
class Predictions:
    """What a recogniser said about ``n`` test clips, gathered over all folds of a protocol.

    Raises:
        VocaffectError: if there are no clips.
        ValueError: if the fields do not fit together.
    """

    labels: tuple[str, ...]
    utterances: tuple[str, ...]
    targets: Ints
    """``(n,)`` indices into ``labels``."""
    logits: Floats
    """``(n, num_labels)``."""
    speakers: tuple[str, ...]
    sexes: tuple[str, ...] = ()
    intensities: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    folds: tuple[int, ...] = ()
    """Of each clip; empty where there is one fold only. So with the three above, and "" is unknown."""
    logits_at: Mapping[float, Floats] = field(default_factory=dict)
    """After that many seconds of speech: ``(n, num_labels)``."""
    tracks: tuple[Ints, ...] = ()
    """The label shown at every update of each clip, -1 for silence."""
    update_interval_s: float = 0.1
    settled: tuple[Settled | None, ...] = ()
    """When each clip's stream was settled on a label; None where it never was."""
    protocol: str = ""
    speaker_disjoint: bool = True
    """False if the training side had heard the test speakers: then the result says that it leaks."""

    def __post_init__(self) -> None:
        """Refuse what would give a wrong number instead of an error."""
        n, shape = len(self.utterances), (len(self.utterances), len(self.labels))
        if not n:
            raise VocaffectError("there are no clips to test on; check the split and the manifest")
        columns = (self.speakers, self.sexes, self.intensities, self.corpora, self.folds, self.tracks, self.settled)
        if len(self.targets) != n or any(len(column) not in (0, n) for column in columns):
            raise ValueError(f"every column must have one entry for each of the {n} utterances")
        if any(np.shape(z) != shape or not np.isfinite(z).all() for z in (self.logits, *self.logits_at.values())):
            raise ValueError(f"logits must be finite and of shape {shape}")
        if np.min(self.targets) < 0 or np.max(self.targets) >= len(self.labels):
            raise ValueError(f"targets must lie between 0 and {len(self.labels) - 1}")


def evaluate(
    predictions: Predictions, temperature: float | Floats = 1.0, *, seed: int = 0, num_resamples: int = 1_000
) -> dict[str, Any]:
    """Everything that one recogniser's result reports, ready for JSON: shares in 0 to 1, None where unknown.

    The temperature may be one number or ``(n,)``, since each fold's recogniser brings its own.
    """
    p, num_labels = predictions, len(predictions.labels)
    targets = np.asarray(p.targets)
    folds = p.folds or (1,) * len(targets)
    speakers = p.speakers or p.utterances
    said = np.asarray(p.logits).argmax(-1)
    posteriors, raw = softmax(p.logits, temperature), softmax(p.logits)

    def measured(metric: Metric, predicted: Ints) -> dict[str, float]:
        """Of the clips for which something was predicted: -1 is nothing."""
        known = predicted >= 0
        who, fold = np.asarray(speakers)[known], np.asarray(folds)[known]
        cells = confusions_by(targets[known], predicted[known], who, fold, num_labels)
        return bootstrap(metric, cells, seed=seed, num_resamples=num_resamples)._asdict()

    def grouped(names: Sequence[Any]) -> dict[str, dict[str, Any]]:
        column = np.asarray(names)
        return {
            str(name): _summary(confusion(targets[column == name], said[column == name], num_labels))
            for name in sorted(set(names))
            if name != ""
        }

    counts = confusion(targets, said, num_labels)
    result = {
        "protocol": p.protocol,
        "speaker_disjoint": p.speaker_disjoint,
        "labels": list(p.labels),
        "num_utterances": len(targets),
        "num_speakers": len(set(speakers)),
        "num_folds": len(set(folds)),
        "uar": measured(uar, said),
        "war": measured(war, said),
        "macro_f1": measured(macro_f1, said),
        "fold_deviation": {
            name: deviation(metric, confusions_by(targets, said, speakers, folds, num_labels))
            for name, metric in (("uar", uar), ("war", war), ("macro_f1", macro_f1))
        },
        "pooled": {"uar": uar(counts), "war": war(counts), "macro_f1": macro_f1(counts)},
        "confusion": counts,
        "per_class": {
            label: {"recall": r, "precision": q, "f1": f, "num_utterances": n}
            for label, r, q, f, n in zip(
                p.labels, recalls(counts), precisions(counts), f1_scores(counts), counts.sum(-1), strict=True
            )
        },
        "per_fold": grouped(folds),
        "per_speaker": grouped(p.speakers),
        "per_sex": grouped(p.sexes),
        "per_intensity": grouped(p.intensities),
        "per_corpus": grouped(p.corpora),
        "calibration": {
            "temperature": np.unique(temperature),
            "ece": ece(posteriors, targets),
            "ece_uncalibrated": ece(raw, targets),
            "ece_as_exported": _ece_as_exported(p),
            "nll": nll(posteriors, targets),
            "nll_uncalibrated": nll(raw, targets),
            "reliability": reliability(posteriors, targets)._asdict(),
            "reliability_uncalibrated": reliability(raw, targets)._asdict(),
        },
        "coverage": {"coverage": list(COVERAGES), "accuracy": coverage_accuracy(posteriors, targets)},
        "by_seconds": [
            {"seconds": seconds, **measured(uar, np.asarray(logits).argmax(-1))}
            for seconds, logits in sorted(p.logits_at.items())
        ],
        "flips_per_minute": flips_per_minute(p.tracks, p.update_interval_s) if p.tracks else None,
        "settling": None,
    }
    if any(p.settled):
        settled_on = np.array([p.labels.index(each.label) if each else -1 for each in p.settled])
        whole = [p.labels[index] for index in said]
        result["settling"] = {**settling(p.settled, whole), "uar": measured(uar, settled_on)}
    plain: dict[str, Any] = _plain(result)
    return plain


def _ece_as_exported(p: Predictions) -> float | None:
    """The calibration error if each fold has the temperature that suits what the others said of voices new to them.

    So the recogniser is calibrated that is exported with the numbers of all folds; None of a single fold.
    """
    folds, targets, logits = np.asarray(p.folds), np.asarray(p.targets), np.asarray(p.logits, np.float64)
    if len(set(p.folds)) < 2:
        return None
    posteriors = np.zeros_like(logits)
    for fold in np.unique(folds):
        others = folds != fold
        posteriors[~others] = softmax(logits[~others], fit_temperature(logits[others], targets[others]))
    return ece(posteriors, targets)


def _summary(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    return {"uar": uar(counts), "war": war(counts), "num_utterances": counts.sum()}


def _plain(value: Any) -> Any:
    """The same in types that JSON knows: arrays as lists, NaN as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
