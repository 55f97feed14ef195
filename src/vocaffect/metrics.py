"""The measures of a recogniser: recalls, calibration, and intervals over speakers.

Most are functions of a confusion matrix ``(..., num_labels, num_labels)`` of counts, rows true and columns
predicted, so that a thousand resampled matrices are measured as easily as one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Metric = Callable[[npt.NDArray[Any]], Floats]

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the clips that are answered when the recogniser may abstain on those it is least sure of."""


def confusion(targets: npt.ArrayLike, predictions: npt.ArrayLike, num_labels: int) -> npt.NDArray[np.int64]:
    """Counts ``(num_labels, num_labels)``: entry i, j says how many clips of label i were called j.

    >>> confusion([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    pairs = np.asarray(targets, np.int64) * num_labels + np.asarray(predictions, np.int64)
    return np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels)


def recalls(counts: npt.NDArray[Any]) -> Floats:
    """Of each label's clips, the share found: ``counts[i, i] / sum_j counts[i, j]``, NaN without clips.

    >>> recalls(np.array([[3, 1], [0, 2]]))
    array([0.75, 1.  ])
    """
    return _ratio(_hits(counts), counts.sum(-1))


def precisions(counts: npt.NDArray[Any]) -> Floats:
    """Of the clips called by a label, the share that is right: ``counts[j, j] / sum_i counts[i, j]``.

    >>> precisions(np.array([[3, 1], [0, 2]])).round(3)
    array([1.   , 0.667])
    """
    return _ratio(_hits(counts), counts.sum(-2))


def f1_scores(counts: npt.NDArray[Any]) -> Floats:
    """The harmonic mean of precision and recall: ``2 TP / (2 TP + FP + FN)``.

    >>> f1_scores(np.array([[3, 1], [0, 2]])).round(3)
    array([0.857, 0.8  ])
    """
    return _ratio(2 * _hits(counts), counts.sum(-1) + counts.sum(-2))


def uar(counts: npt.NDArray[Any]) -> Floats:
    """Unweighted average recall: the mean of the recalls of the labels that occur. Chance is 1 / labels.

    >>> float(uar(np.array([[3, 1], [0, 2]])))
    0.875
    """
    return _mean_of_known(recalls(counts))


def war(counts: npt.NDArray[Any]) -> Floats:
    """Weighted average recall, which is plain accuracy: ``sum_i counts[i, i] / sum_ij counts[i, j]``.

    >>> round(float(war(np.array([[3, 1], [0, 2]]))), 3)
    0.833
    """
    return _ratio(_hits(counts).sum(-1), counts.sum((-1, -2)))


def macro_f1(counts: npt.NDArray[Any]) -> Floats:
    """The mean F1 score of the labels that occur or were said.

    >>> round(float(macro_f1(np.array([[3, 1], [0, 2]]))), 3)
    0.829
    """
    return _mean_of_known(f1_scores(counts))


def _hits(counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Floats:
    return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1), np.nan))


def _mean_of_known(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def softmax(logits: npt.ArrayLike, temperature: npt.ArrayLike = 1.0) -> Floats:
    """The posterior ``exp(z / T) / sum exp(z / T)`` over the last axis; one temperature, or one per row.

    >>> softmax([[0.0, np.log(3)]])
    array([[0.25, 0.75]])
    """
    scaled = np.asarray(logits, np.float64) / np.asarray(temperature, np.float64)[..., None]
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def nll(posteriors: Floats, targets: Ints) -> float:
    """The mean negative log likelihood ``-mean(log p[target])`` in nats.

    >>> round(nll(np.array([[0.25, 0.75]]), np.array([1])), 4)
    0.2877
    """
    return float(-np.log(np.maximum(posteriors[np.arange(len(targets)), targets], 1e-300)).mean())


def fit_temperature(logits: Floats, targets: Ints) -> float:
    """The temperature of least negative log likelihood, from 0.05 to 20 (Guo et al., ICML 2017, section 4.2).

    The likelihood is convex in ``b = 1 / T``; bisect where its slope ``mean(E_b[z] - z[target])`` is zero.

    >>> z = np.log(np.array([[0.8, 0.2]] * 5))
    >>> round(fit_temperature(z / 2, np.array([0, 0, 0, 0, 1])), 6)
    0.5
    """
    z = np.asarray(logits, np.float64)
    target_mean = z[np.arange(len(z)), targets].mean()
    low, high = np.log(0.05), np.log(20.0)
    for _ in range(60):
        middle = (low + high) / 2
        slope = (softmax(z, np.exp(middle)) * z).sum(-1).mean() - target_mean
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


class Reliability(NamedTuple):
    """What the recogniser said of itself against what was true, bin by bin; NaN in empty bins."""

    confidence: Floats
    """``(bins,)`` mean posterior of the predicted label."""
    accuracy: Floats
    """``(bins,)`` share of right predictions."""
    num_clips: Ints
    """``(bins,)`` clips in the bin."""


def reliability(posteriors: Floats, targets: Ints, bins: int = 15) -> Reliability:
    """Confidence and accuracy of the clips whose confidence lies in ``(k / bins, (k + 1) / bins]``.

    >>> reliability(np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([1, 0]), bins=2).accuracy
    array([nan, 0.5])
    """
    confidence = posteriors.max(-1)
    right = posteriors.argmax(-1) == targets
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    return Reliability(
        _ratio(np.bincount(index, confidence, bins), count),
        _ratio(np.bincount(index, right, bins), count),
        count,
    )


def ece(posteriors: Floats, targets: Ints, bins: int = 15) -> float:
    """Expected calibration error: ``sum_k count[k] / n * |accuracy[k] - confidence[k]|`` (Guo et al., eq. 3).

    >>> round(ece(np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([1, 0])), 3)
    0.35
    """
    curve = reliability(posteriors, targets, bins)
    return float(np.nansum(curve.num_clips * np.abs(curve.accuracy - curve.confidence)) / len(targets))


def coverage_accuracy(posteriors: Floats, targets: Ints, coverages: Sequence[float] = COVERAGES) -> Floats:
    """Accuracy ``(len(coverages),)`` on the most confident share of the clips, rounded up to whole clips.

    >>> coverage_accuracy(np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([1, 0]), [1.0, 0.5])
    array([0.5, 1. ])
    """
    surest_first = np.argsort(-posteriors.max(-1), kind="stable")
    right = (posteriors.argmax(-1) == targets)[surest_first]
    answered = np.ceil(np.asarray(coverages) * len(right) - 1e-9).astype(np.int64).clip(1)
    return np.asarray(np.cumsum(right)[answered - 1] / answered)


def flips_per_minute(tracks: Iterable[npt.ArrayLike], interval_s: float) -> float:
    """How often the shown label changes per minute of speech; a track is the labels of one clip.

    Silence is -1; going silent is no flip, and coming back with the same label is none either.

    >>> flips_per_minute([[-1, 0, 0, -1, 0, 2], [1, 1]], interval_s=0.5)
    20.0
    """
    spoken = [labels[labels >= 0] for labels in map(np.asarray, tracks)]
    flips = sum(int(np.count_nonzero(np.diff(labels))) for labels in spoken)
    return 60 * flips / max(interval_s * sum(map(len, spoken)), interval_s)


class Estimate(NamedTuple):
    """A measure with its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(
    metric: Metric,
    cells: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    num_resamples: int = 1_000,
) -> Estimate:
    """The mean of a measure over folds, and its 95 % interval from resampling speakers with replacement.

    ``cells`` is ``(num_folds, num_speakers, num_labels, num_labels)`` from `confusions_by`. A resample draws
    as many speakers as there are; a fold then counts by the share of its speakers that was drawn, so that in
    leave-one-speaker-out the folds are resampled. One speaker gives no interval: low and high are NaN.

    >>> cells = confusions_by([0, 1, 0, 1], [0, 1, 1, 1], ["a", "a", "b", "b"], [1, 1, 1, 1], 2)
    >>> bootstrap(uar, cells)
    Estimate(value=0.75, low=0.5, high=1.0)
    """
    return Estimate(*_interval(_resampled(metric, cells, seed, num_resamples), cells))


def deviation(metric: Metric, cells: npt.NDArray[np.int64]) -> float:
    """The standard deviation of a measure over folds (n - 1); NaN of a single fold. ``cells`` is as in `bootstrap`.

    >>> cells = confusions_by([0, 1, 0, 1], [0, 1, 1, 1], ["a", "a", "b", "b"], [1, 1, 2, 2], 2)
    >>> round(deviation(uar, cells), 3)
    0.354
    """
    values = metric(cells.sum(1))
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


class Difference(NamedTuple):
    """How much higher one recogniser's measure is than another's, with a 95 % interval."""

    value: float
    low: float
    high: float
    wins: float
    """The share of resamples in which the first is better, ties counting half; NaN with one speaker."""


def paired_bootstrap(
    metric: Metric,
    cells: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    num_resamples: int = 1_000,
) -> Difference:
    """The difference of `bootstrap`'s measure between two recognisers that were tested on the same clips.

    Each resample draws the same speakers for both, so what makes a speaker hard for either cancels out; an
    interval on one side of 0 says that one recogniser is better on new speakers, not on these alone. The arrays are
    as in `bootstrap` and have the same folds and speakers in the same order.

    >>> a = confusions_by([0, 1, 0, 1], [0, 1, 1, 1], ["a", "a", "b", "b"], [1, 1, 1, 1], 2)
    >>> b = confusions_by([0, 1, 0, 1], [1, 1, 1, 1], ["a", "a", "b", "b"], [1, 1, 1, 1], 2)
    >>> paired_bootstrap(uar, a, b)[:3]
    (0.25, 0.0, 0.5)
    """
    if not np.array_equal(cells.sum(-1), others.sum(-1)):
        raise ValueError("both must hold the same clips of each label, fold and speaker")
    gained = _resampled(metric, cells, seed, num_resamples) - _resampled(metric, others, seed, num_resamples)
    wins = float((gained[1:] > 0).mean() + (gained[1:] == 0).mean() / 2)
    return Difference(*_interval(gained, cells), wins if cells.shape[1] > 1 else np.nan)


def _resampled(metric: Metric, cells: npt.NDArray[np.int64], seed: int, num_resamples: int) -> Floats:
    """The measure of all speakers, then of each resample: ``(1 + num_resamples,)``; the seed decides the draws."""
    num_folds, num_speakers, num_labels = cells.shape[:3]
    present = cells.any((-1, -2))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(num_speakers, np.full(num_speakers, 1 / num_speakers), num_resamples)
    weights = np.concatenate((np.ones((1, num_speakers), np.int64), drawn))
    flat = cells.transpose(1, 0, 2, 3).reshape(num_speakers, -1)
    counts = (weights @ flat).reshape(-1, num_folds, num_labels, num_labels)
    shares = weights @ present.T / np.maximum(present.sum(-1), 1)
    return np.asarray((np.nan_to_num(metric(counts)) * shares).sum(-1) / shares.sum(-1))


def _interval(values: Floats, cells: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """The value of all speakers and the middle 95 % of the resamples'; NaN where there is one speaker to draw."""
    if cells.shape[1] == 1:
        return float(values[0]), np.nan, np.nan
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def confusions_by(
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    speakers: npt.ArrayLike,
    folds: npt.ArrayLike,
    num_labels: int,
) -> npt.NDArray[np.int64]:
    """A confusion matrix for every fold and speaker: ``(num_folds, num_speakers, num_labels, num_labels)``.

    >>> confusions_by([0, 1], [0, 0], ["a", "b"], [1, 1], 2)[0, 1]
    array([[0, 0],
           [1, 0]])
    """
    fold_names, fold = np.unique(np.asarray(folds), return_inverse=True)
    speaker_names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    cells = np.zeros((len(fold_names), len(speaker_names), num_labels, num_labels), np.int64)
    np.add.at(cells, (fold, speaker, np.asarray(targets), np.asarray(predictions)), 1)
    return cells
