"""The dictionary of a result against the measures one by one, and what it refuses."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from vocaffect.decision import Settled
from vocaffect.errors import VocaffectError
from vocaffect.evaluation import Predictions, evaluate
from vocaffect.metrics import ece, fit_temperature, softmax

LABELS = ("neutral", "happy", "sad")


def predictions(num_speakers: int = 6, clips_each: int = 12, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    n = num_speakers * clips_each
    speaker = np.repeat(np.arange(num_speakers), clips_each)
    targets = np.tile(np.arange(clips_each) % 3, num_speakers)
    logits = 2 * rng.normal(size=(n, 3))
    logits[np.arange(n), targets] += 2
    return Predictions(
        labels=LABELS,
        utterances=tuple(f"clip-{i}.wav" for i in range(n)),
        targets=targets,
        logits=logits,
        speakers=tuple(f"speaker-{s}" for s in speaker),
        sexes=tuple(("male", "female", "")[s % 3] for s in speaker),
        intensities=("normal",) * n,
        folds=tuple((speaker % 2 + 1).tolist()),
        logits_at={1.0: logits, 0.5: rng.normal(size=(n, 3))},
        tracks=tuple(np.array([-1, 0, 1, 1]) for _ in range(n)),
        protocol="ravdess-emobox6",
    )


def test_result_is_strict_json() -> None:
    result = evaluate(predictions(), 1.5)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_result_agrees_with_scikit_learn() -> None:
    p = predictions()
    said, targets, folds = p.logits.argmax(-1), np.asarray(p.targets), np.asarray(p.folds)
    result = evaluate(p, 1.5)
    by_fold = [oracle.balanced_accuracy_score(targets[folds == f], said[folds == f]) for f in (1, 2)]
    assert result["uar"]["value"] == pytest.approx(np.mean(by_fold))
    assert result["uar"]["low"] <= result["uar"]["value"] <= result["uar"]["high"]
    assert [result["per_fold"][f]["uar"] for f in ("1", "2")] == pytest.approx(by_fold)
    assert result["pooled"]["war"] == pytest.approx(oracle.accuracy_score(targets, said))
    assert result["confusion"] == oracle.confusion_matrix(targets, said).tolist()
    precision, recall, f1, support = oracle.precision_recall_fscore_support(targets, said)
    for i, label in enumerate(LABELS):
        expected = {"recall": recall[i], "precision": precision[i], "f1": f1[i], "num_utterances": support[i]}
        assert result["per_class"][label] == pytest.approx(expected)
    men = np.asarray(p.sexes) == "male"
    assert result["per_sex"]["male"]["war"] == pytest.approx((said == targets)[men].mean())
    assert set(result["per_sex"]) == {"male", "female"}
    assert len(result["per_speaker"]) == 6
    assert result["coverage"]["accuracy"][0] == pytest.approx((said == targets).mean())
    assert result["flips_per_minute"] == pytest.approx(60 / 0.3)


def test_streams_that_settled_are_told_by_when_and_on_what() -> None:
    p, n = predictions(), 72
    said = [LABELS[index] for index in p.logits.argmax(-1)]
    result = evaluate(replace(p, settled=tuple(Settled(label, 0.5, 0.2) for label in said)))["settling"]
    assert (result["num_clips"], result["settled"], result["within_1_s"], result["as_whole"]) == (n, 1.0, 1.0, 1.0)
    assert result["uar"] == evaluate(p)["uar"]
    half = tuple(Settled("sad", 2.0, 0.2) if i % 2 else None for i in range(n))
    result = evaluate(replace(p, settled=half))["settling"]
    assert (result["settled"], result["settled_s"]["median"], result["within_1_s"]) == (0.5, None, 0.0)
    assert result["uar"]["value"] == pytest.approx(1 / 3)
    assert evaluate(replace(p, settled=(None,) * n))["settling"] is None


def test_seconds_heard_come_in_order_and_end_where_the_result_is() -> None:
    result = evaluate(predictions())
    assert [row["seconds"] for row in result["by_seconds"]] == [0.5, 1.0]
    assert result["by_seconds"][1]["value"] == result["uar"]["value"]


def test_temperature_of_each_fold_is_used_on_its_own_clips() -> None:
    p = predictions()
    folds = np.asarray(p.folds)
    per_clip = np.where(folds == 1, 0.5, 4.0)
    rescaled = replace(p, logits=p.logits / per_clip[:, None])
    mixed, plain = evaluate(p, per_clip)["calibration"], evaluate(rescaled)["calibration"]
    assert mixed["ece"] == pytest.approx(plain["ece"])
    assert mixed["temperature"] == [0.5, 4.0]


def test_a_fold_is_calibrated_as_exported_by_what_the_other_says() -> None:
    """With folds whose logits have like scales that mends a scale that is wrong; a fold's own answers do not count."""
    p, wrong = predictions(num_speakers=200), 5.0
    found = evaluate(replace(p, logits=wrong * p.logits))["calibration"]
    assert found["ece_as_exported"] < 0.03 < found["ece"]
    folds, targets = np.asarray(p.folds), np.asarray(p.targets)
    posteriors = np.zeros_like(p.logits)
    for fold, other in ((1, 2), (2, 1)):
        temperature = fit_temperature(p.logits[folds == other], targets[folds == other])
        posteriors[folds == fold] = softmax(p.logits[folds == fold], temperature)
    assert evaluate(p)["calibration"]["ece_as_exported"] == pytest.approx(ece(posteriors, targets))
    assert evaluate(replace(p, folds=()))["calibration"]["ece_as_exported"] is None


def test_little_known_clips_are_enough() -> None:
    one = Predictions(LABELS, ("a.wav",), np.array([1]), np.array([[0.0, 1.0, 2.0]]), ("s",))
    result = evaluate(one)
    assert result["uar"] == {"value": 0.0, "low": None, "high": None}
    assert result["per_class"]["neutral"]["recall"] is None
    assert result["per_sex"] == {}
    assert result["flips_per_minute"] is None
    json.dumps(result, allow_nan=False)


def test_no_clips_is_the_users_to_mend() -> None:
    with pytest.raises(VocaffectError, match="no clips to test on"):
        Predictions(LABELS, (), np.zeros(0, np.int64), np.zeros((0, 3)), ())


@pytest.mark.parametrize(
    "change",
    [
        {"targets": np.zeros(5, np.int64)},
        {"targets": np.full(72, 3)},
        {"logits": np.zeros((72, 4))},
        {"logits": np.full((72, 3), np.nan)},
        {"logits_at": {1.0: np.zeros((7, 3))}},
        {"sexes": ("male",)},
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"utterances|shape|between"):
        replace(predictions(), **change)
