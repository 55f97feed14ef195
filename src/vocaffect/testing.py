"""What a run is worth: its exported recogniser on test speakers, through the same `Recognizer` that users call."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.adaptation import Side, adaptation
from vocaffect.audio import read_clip
from vocaffect.decision import Settled, onset_s, settled
from vocaffect.evaluation import Predictions, evaluate
from vocaffect.files import write_text
from vocaffect.folds import refuse_missing
from vocaffect.manifest import Utterance
from vocaffect.metrics import confusion, uar
from vocaffect.packing import recognizer_of
from vocaffect.processes import in_lots, shared
from vocaffect.recognizer import Recognizer
from vocaffect.report import write_report
from vocaffect.robustness import CONDITIONS, Condition
from vocaffect.runs import Run, fold_folders, open_run, trained_network
from vocaffect.splits import audit
from vocaffect.units import seconds_to_samples

AT_ONCE = 8
"""Clips that a process hears before it tells of them."""

SECONDS = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Seconds after speech began, by its level: what would the decision be if the clip ended there?"""


@dataclass(frozen=True)
class Heard:
    """One test clip and what the recogniser said: log posteriors ``(num_labels,)``, and the labels shown live."""

    utterance: Utterance
    fold: int
    temperature: float
    log_posterior: NDArray[np.float64]
    at_seconds: dict[float, NDArray[np.float64]]
    spoiled: dict[str, NDArray[np.float64]]
    track: NDArray[np.int64]
    settled: Settled | None
    alone: NDArray[np.float32] | None
    """Logits before any voice was allowed for, ``(num_labels,)``, of a recogniser that learns voices."""


def measure_run(
    folder: Path,
    data_root: Path | None = None,
    on_clip: Callable[[int, int], None] = lambda done, total: None,
    *,
    robustness: bool = True,
    live: bool = True,
    workers: int = 1,
) -> dict[str, Any]:
    """Test every fold in a folder, write metrics, pictures and a report to its ``test`` folder, and return them.

    ``robustness`` also hears each clip under the conditions of `vocaffect.robustness`; ``live`` also asks what is
    decided as the clip goes on. Without both each clip is heard once, as a whole. So many ``workers`` share the clips,
    one of them meaning this process; what comes out is the same.

    Raises:
        VocaffectError: if there is no trained run, or no test side, or a run of all folds lacks some; or if a worker
            was killed.
    """
    refuse_missing(folder)
    runs = [open_run(fold, data_root) for fold in fold_folders(folder)]
    lots = [(run, some) for run in runs for some in in_lots(run.split.of(run.manifest)[2], AT_ONCE)]
    total, heard = sum(len(run.split.test) for run in runs), list[Heard]()
    for clips in shared(_Hearing(robustness, live), lots, workers):
        heard.extend(clips)
        on_clip(len(heard), total)
    predictions = gather(heard, runs)
    temperatures = np.array([[clip.temperature] for clip in heard])
    evaluation = evaluate(predictions, temperatures[:, 0])
    evaluation |= {"robustness": _robustness(heard, predictions), "adaptation": _adaptation(heard, runs)}
    write_text(folder / "test" / "metrics.json", json.dumps(evaluation, indent=1) + "\n")
    _write_predictions(folder / "test" / "predictions.jsonl", heard, runs[0].labels)
    write_report(folder / "test", evaluation)
    return evaluation


class _Hearing:
    """What is asked of test clips; their run's recogniser is loaded where they are heard."""

    def __init__(self, robustness: bool, live: bool) -> None:
        self.robustness, self.live = robustness, live
        self._run: Run | None = None

    def __call__(self, lot: tuple[Run, Sequence[Utterance]]) -> list[Heard]:
        run, utterances = lot
        if run is not self._run:
            self._run, self._recognizer = run, recognizer_of(run)
        conditions = CONDITIONS if self.robustness else {}
        return [hear(self._recognizer, run, utterance, conditions, self.live) for utterance in utterances]


def hear(
    recognizer: Recognizer, run: Run, utterance: Utterance, conditions: Mapping[str, Condition], live: bool = True
) -> Heard:
    """Run the recogniser on one clip: as one utterance, live if so asked, and as one utterance under each condition."""
    samples = read_clip(run.manifest.audio_path(utterance)).samples
    whole, onset = recognizer.decide(samples), onset_s(samples)
    ends = {seconds: seconds_to_samples(onset + seconds) for seconds in SECONDS} if live else {}
    seed = zlib.crc32(utterance.path.encode())
    stream = recognizer.open_stream()
    updates = [*stream.push(samples), *stream.finish()] if live else []
    return Heard(
        utterance,
        run.split.fold,
        recognizer.card.temperature,
        _log(whole.posterior),
        {
            seconds: _log((recognizer.decide(samples[:end]) if end < len(samples) else whole).posterior)
            for seconds, end in ends.items()
        },
        {
            name: _log(recognizer.decide(spoil(samples, np.random.default_rng(seed))).posterior)
            for name, spoil in conditions.items()
        },
        np.array([run.labels.index(each.label) if each.label in run.labels else -1 for each in updates], np.int64),
        settled(updates, onset) if live else None,
        None if whole.voice is None else whole.voice.newest_logits,
    )


def gather(heard: Sequence[Heard], runs: Sequence[Run]) -> Predictions:
    """All folds' answers as one table; the logits are log posteriors before temperature."""
    labels, utterances = runs[0].labels, [clip.utterance for clip in heard]
    leaks = any(audit(run.manifest, run.split, listen=False).leaks for run in runs)
    return Predictions(
        labels=labels,
        utterances=tuple(utterance.path for utterance in utterances),
        targets=np.array([labels.index(utterance.emotion) for utterance in utterances]),
        logits=np.stack([clip.log_posterior * clip.temperature for clip in heard]),
        speakers=tuple(utterance.speaker for utterance in utterances),
        sexes=tuple(utterance.sex for utterance in utterances),
        intensities=tuple(utterance.intensity for utterance in utterances),
        corpora=tuple(utterance.corpus for utterance in utterances),
        folds=tuple(clip.fold for clip in heard),
        logits_at={
            seconds: np.stack([clip.at_seconds[seconds] * clip.temperature for clip in heard])
            for seconds in heard[0].at_seconds
        },
        tracks=tuple(clip.track for clip in heard if clip.at_seconds),
        settled=tuple(clip.settled for clip in heard if clip.at_seconds),
        protocol=runs[0].split.name,
        speaker_disjoint=not leaks,
    )


def _robustness(heard: Sequence[Heard], predictions: Predictions) -> list[dict[str, Any]]:
    """UAR under each condition, the mean over folds, and how far it falls."""
    folds, targets, num_labels = np.array([clip.fold for clip in heard]), predictions.targets, len(predictions.labels)

    def mean_uar(said: Sequence[int]) -> float:
        found = [confusion(targets[folds == f], np.asarray(said)[folds == f], num_labels) for f in np.unique(folds)]
        return float(np.mean([uar(counts) for counts in found]))

    clean = mean_uar([int(clip.log_posterior.argmax()) for clip in heard])
    rows = []
    for name in heard[0].spoiled:
        value = mean_uar([int(clip.spoiled[name].argmax()) for clip in heard])
        rows.append({"condition": name, "uar": value, "drop": clean - value})
    return rows


def _adaptation(heard: Sequence[Heard], runs: Sequence[Run]) -> dict[str, Any] | None:
    """What knowing the voice gives, of a recogniser that learns voices."""
    sides = []
    for run in runs:
        own = [clip for clip in heard if clip.fold == run.split.fold and clip.alone is not None]
        voice = None if run.recipe.ensemble.members else trained_network(run).voice
        if voice is None or not own:
            return None
        logits = np.array([clip.alone for clip in own], np.float32) + voice.centre.numpy()
        targets = np.array([run.labels.index(clip.utterance.emotion) for clip in own])
        speakers = np.array([clip.utterance.speaker for clip in own])
        sides.append(Side(run.split.fold, logits, targets, speakers, voice))
    return adaptation(sides, len(runs[0].labels))


def _log(posterior: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.log(np.maximum(posterior.astype(np.float64), 1e-12))


def _write_predictions(path: Path, heard: Sequence[Heard], labels: Sequence[str]) -> None:
    rows = [
        {
            "path": clip.utterance.path,
            "speaker": clip.utterance.speaker,
            "fold": clip.fold,
            "emotion": clip.utterance.emotion,
            "recognised": labels[int(clip.log_posterior.argmax())],
            "posterior": [round(float(value), 6) for value in np.exp(clip.log_posterior)],
        }
        for clip in heard
    ]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
