"""The measures against scikit-learn, scipy and brute force, and what must hold whatever the clips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from vocaffect.metrics import (
    Floats,
    Ints,
    bootstrap,
    confusion,
    confusions_by,
    coverage_accuracy,
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

NUM_LABELS = 4
calls = st.lists(st.tuples(st.integers(0, NUM_LABELS - 1), st.integers(0, NUM_LABELS - 1)), min_size=1, max_size=60)


def columns(pairs: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    table = np.asarray(pairs, np.int64)
    return table[:, 0], table[:, 1]


def noisy_logits(num_clips: int = 600, scale: float = 3.0, seed: int = 0) -> tuple[Floats, Ints]:
    """Logits of a recogniser that is right now and then and, at this scale, far too sure of itself."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, NUM_LABELS, num_clips)
    logits = rng.normal(size=(num_clips, NUM_LABELS))
    logits[np.arange(num_clips), targets] += 1.0
    return scale * logits, targets


@given(calls)
def test_measures_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, said = columns(pairs)
    counts = confusion(targets, said, NUM_LABELS)
    labels = list(range(NUM_LABELS))
    np.testing.assert_array_equal(counts, oracle.confusion_matrix(targets, said, labels=labels))
    occurring = sorted(set(targets.tolist()))
    expected = oracle.recall_score(targets, said, labels=occurring, average=None, zero_division=0)
    np.testing.assert_allclose(recalls(counts)[occurring], expected)
    assert uar(counts) == pytest.approx(expected.mean())
    assert war(counts) == pytest.approx(oracle.accuracy_score(targets, said))
    assert macro_f1(counts) == pytest.approx(oracle.f1_score(targets, said, average="macro"))
    called = sorted(set(said.tolist()))
    np.testing.assert_allclose(
        precisions(counts)[called],
        oracle.precision_score(targets, said, labels=called, average=None, zero_division=0),
    )


@given(calls, st.permutations(range(NUM_LABELS)), st.integers(2, 4))
def test_uar_knows_neither_names_nor_frequencies_of_labels(
    pairs: list[tuple[int, int]], renamed: list[int], times: int
) -> None:
    targets, said = columns(pairs)
    counts = confusion(targets, said, NUM_LABELS)
    names = np.asarray(renamed)
    assert uar(confusion(names[targets], names[said], NUM_LABELS)) == pytest.approx(float(uar(counts)))
    more = counts.copy()
    more[0] *= times
    assert uar(more) == pytest.approx(float(uar(counts)))


def test_measures_of_many_matrices_are_those_of_each() -> None:
    stack = np.random.default_rng(0).integers(0, 5, (7, 3, NUM_LABELS, NUM_LABELS))
    for metric in (recalls, precisions, f1_scores, uar, war, macro_f1):
        np.testing.assert_array_equal(metric(stack)[4, 2], metric(stack[4, 2]))


def test_labels_without_clips_are_unknown_and_not_zero() -> None:
    counts = confusion([0, 0, 1], [0, 2, 1], NUM_LABELS)
    np.testing.assert_array_equal(recalls(counts), [0.5, 1, np.nan, np.nan])
    assert uar(counts) == 0.75
    assert np.isnan(uar(np.zeros((2, 2), np.int64)))


def test_softmax_and_nll_agree_with_scikit_learn() -> None:
    logits, targets = noisy_logits()
    posteriors = softmax(logits, 1.7)
    np.testing.assert_allclose(posteriors.sum(-1), 1)
    assert nll(posteriors, targets) == pytest.approx(oracle.log_loss(targets, posteriors))
    extreme = softmax([[1e4, 0.0]])
    assert nll(extreme, np.array([1])) < np.inf
    np.testing.assert_array_equal(softmax(logits, np.full(len(logits), 1.7)), posteriors)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_temperature_is_the_one_that_scipy_finds(scale: float) -> None:
    logits, targets = noisy_logits(scale=scale)
    best = minimize_scalar(lambda log_t: nll(softmax(logits, np.exp(log_t)), targets), bounds=(-3, 3), method="bounded")
    assert np.log(fit_temperature(logits, targets)) == pytest.approx(best.x, abs=1e-4)


def test_temperature_mends_calibration_on_clips_it_has_not_seen() -> None:
    temperature = fit_temperature(*noisy_logits(2_000, seed=1))
    logits, targets = noisy_logits(2_000, seed=2)
    assert ece(softmax(logits, temperature), targets) < 0.3 * ece(softmax(logits), targets)


@pytest.mark.parametrize(("targets", "bound"), [([0, 1], 0.05), ([1, 0], 20.0)])
def test_temperature_stays_within_bounds_where_none_is_best(targets: list[int], bound: float) -> None:
    logits = np.array([[4.0, 0.0], [0.0, 4.0]])
    assert fit_temperature(logits, np.array(targets)) == pytest.approx(bound)


def test_reliability_agrees_with_scikit_learn() -> None:
    logits, targets = noisy_logits()
    posteriors = softmax(logits, 2.0)
    curve = reliability(posteriors, targets, bins=15)
    right = posteriors.argmax(-1) == targets
    accuracy, confidence = calibration_curve(right, posteriors.max(-1), n_bins=15)
    filled = curve.num_clips > 0
    np.testing.assert_allclose(curve.accuracy[filled], accuracy)
    np.testing.assert_allclose(curve.confidence[filled], confidence)
    assert curve.num_clips.sum() == len(targets)


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 1_000))
def test_calibration_error_is_a_share(num_clips: int, bins: int, seed: int) -> None:
    logits, targets = noisy_logits(num_clips, seed=seed)
    error = ece(softmax(logits), targets, bins)
    overall = abs(softmax(logits).max(-1).mean() - (logits.argmax(-1) == targets).mean())
    assert overall - 1e-9 <= error <= 1


def test_certainty_of_one_falls_into_the_last_bin() -> None:
    sure = np.array([[1.0, 0.0]])
    assert reliability(sure, np.array([0]), bins=5).num_clips.tolist() == [0, 0, 0, 0, 1]
    assert ece(sure, np.array([0])) == 0
    assert ece(sure, np.array([1])) == 1


def test_coverage_answers_the_surest_first() -> None:
    logits, targets = noisy_logits(997)
    posteriors = softmax(logits)
    shares = [1.0, 0.7, 0.3, 0.001]
    confidence = posteriors.max(-1)
    right = posteriors.argmax(-1) == targets
    for share, accuracy in zip(shares, coverage_accuracy(posteriors, targets, shares), strict=True):
        threshold = np.sort(confidence)[::-1][int(np.ceil(share * 997)) - 1]
        assert accuracy == pytest.approx(right[confidence >= threshold].mean())


def test_flips_are_counted_within_clips_and_not_over_silence() -> None:
    assert flips_per_minute([[0] * 5, [1] * 5], 0.1) == 0
    assert flips_per_minute([[0, 1, 0, 1, 0, 1]], 1.0) == 50
    assert flips_per_minute([[0, -1, -1, 0, -1, 1]], 1.0) == 20
    assert flips_per_minute([[-1, -1]], 0.1) == 0


def simulated(num_speakers: int, seed: int) -> tuple[Ints, Ints, Ints]:
    """Targets, predictions and speakers; some speakers are much easier than others."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(num_speakers), 20)
    targets = np.tile(np.arange(20) % NUM_LABELS, num_speakers)
    ease = rng.uniform(0.2, 0.9, num_speakers)[speakers]
    said = np.where(rng.random(len(targets)) < ease, targets, rng.integers(0, NUM_LABELS, len(targets)))
    return targets, said, speakers


def test_interval_is_the_one_that_scipy_finds() -> None:
    """Every speaker has equally many clips of every label here, so that UAR is the mean of the speakers' own."""
    targets, said, speakers = simulated(12, seed=3)
    cells = confusions_by(targets, said, speakers, np.zeros_like(speakers), NUM_LABELS)
    found = bootstrap(uar, cells, num_resamples=20_000)
    own = [oracle.balanced_accuracy_score(targets[speakers == s], said[speakers == s]) for s in range(12)]
    expected = scipy_bootstrap((own,), np.mean, n_resamples=20_000, method="percentile", rng=9).confidence_interval
    assert found.value == pytest.approx(oracle.balanced_accuracy_score(targets, said))
    assert found.low == pytest.approx(expected.low, abs=0.005)
    assert found.high == pytest.approx(expected.high, abs=0.005)


def test_value_is_the_mean_over_folds() -> None:
    targets, said, speakers = simulated(9, seed=4)
    folds = np.minimum(speakers // 2, 3)
    cells = confusions_by(targets, said, speakers, folds, NUM_LABELS)
    scores = [oracle.balanced_accuracy_score(targets[folds == f], said[folds == f]) for f in range(4)]
    assert bootstrap(uar, cells).value == pytest.approx(np.mean(scores))


def test_leaving_one_speaker_out_resamples_the_speakers_too() -> None:
    targets, said, speakers = simulated(12, seed=5)
    one_fold = confusions_by(targets, said, speakers, np.zeros_like(speakers), NUM_LABELS)
    own_folds = confusions_by(targets, said, speakers, speakers, NUM_LABELS)
    np.testing.assert_allclose(bootstrap(uar, one_fold), bootstrap(uar, own_folds))


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = 0.55 + 0.45 / NUM_LABELS
    hits = 0
    for seed in range(200):
        targets, said, speakers = simulated(20, seed)
        cells = confusions_by(targets, said, speakers, np.zeros_like(speakers), NUM_LABELS)
        found = bootstrap(uar, cells, num_resamples=300)
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_interval_is_repeatable_and_needs_two_speakers() -> None:
    targets, said, speakers = simulated(6, seed=6)
    cells = confusions_by(targets, said, speakers, np.zeros_like(speakers), NUM_LABELS)
    assert bootstrap(war, cells, seed=1) == bootstrap(war, cells, seed=1)
    alone = bootstrap(war, cells[:, :1])
    assert alone.value == pytest.approx((targets == said)[speakers == 0].mean())
    assert np.isnan(alone.low)
    assert np.isnan(alone.high)
