"""Several recognisers in one file, against their posteriors combined in numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from vocaffect.bundle import BundleError, golden_signal, write_bundle
from vocaffect.ensemble import combined, fit_weights, write_ensemble
from vocaffect.errors import VocaffectError
from vocaffect.golden import make_golden
from vocaffect.merging import Combine
from vocaffect.recognizer import Recognizer
from vocaffect.verification import verify

Toys = Callable[..., Any]
SIGNAL = golden_signal(2.35)


def varied(toy: Any, path: Path, seed: int, labels: list[str] | None = None) -> Path:
    """The toy with another head, written; its labels may stand in another order."""
    model = onnx.load_from_string(toy.model)
    head = next(tensor for tensor in model.graph.initializer if tensor.name == "head")
    values = np.random.default_rng(seed).normal(0, 3, (4, 3)).astype(np.float32)
    head.CopyFrom(numpy_helper.from_array(values, "head"))
    card = toy.card.model_copy(update={"labels": labels or toy.card.labels, "name": path.stem})
    data = model.SerializeToString()
    write_bundle(path, data, card.model_copy(update={"golden": make_golden(data, card, tolerance=1e-4)}))
    return path


def log_posteriors(path: Path, labels: list[str], samples: NDArray[np.float32] = SIGNAL) -> NDArray[np.float64]:
    """A member's running log posteriors ``(num_frames, num_labels)`` in the order of ``labels``."""
    recognizer = Recognizer.load(path)
    order = [recognizer.labels.index(label) for label in labels]
    return np.log(recognizer.posterior(samples).posteriors.astype(np.float64)[:, order])


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("combine", ["logits", "posteriors"])
def test_frame_by_frame_the_ensemble_is_what_its_members_say_together(
    toys: Toys, tmp_path: Path, combine: Combine
) -> None:
    members = [
        varied(toys(temperature=1.5), tmp_path / "a.onnx", 1),
        varied(toys(lasting=True, temperature=0.7), tmp_path / "b.onnx", 2, ["sad", "neutral", "happy"]),
        varied(toys(temperature=2.0), tmp_path / "c.onnx", 3),
    ]
    path, weights = tmp_path / "e.onnx", [0.2, 0.5, 0.3]
    card = write_ensemble(members, path, combine=combine, weights=[2, 5, 3], temperature=0.8)
    assert card.streaming == "frame"
    assert card.labels == Recognizer.load(members[0]).labels
    assert {spec.scope for spec in card.state if spec.name.startswith("m1.")} == {"segment", "stream"}
    recognizer = Recognizer.load(path)
    expected = softmax(combined([log_posteriors(m, card.labels) for m in members], weights, combine) / 0.8)
    np.testing.assert_allclose(recognizer.posterior(SIGNAL).posteriors, expected, atol=2e-6)
    assert all(check.passed for check in verify(recognizer, [SIGNAL]))


@pytest.mark.parametrize("combine", ["logits", "posteriors"])
def test_with_a_member_that_needs_a_window_all_run_on_the_longest(toys: Toys, tmp_path: Path, combine: Combine) -> None:
    members = [
        varied(toys(), tmp_path / "frame.onnx", 1),
        varied(toys("window", window_s=0.5, window_hop_s=0.25), tmp_path / "short.onnx", 2),
        varied(toys("window", window_s=1.0, window_hop_s=0.5), tmp_path / "long.onnx", 3, ["happy", "sad", "neutral"]),
    ]
    card = write_ensemble(members, tmp_path / "e.onnx", combine=combine)
    assert (card.streaming, card.window_s, card.window_hop_s, card.state) == ("window", 1.0, 0.25, [])
    ensemble, window = Recognizer.load(tmp_path / "e.onnx"), SIGNAL[5_000:21_000]
    alone = [
        log_posteriors(m, card.labels, part)[-1]
        for m, part in zip(members, (window, window[-8_000:], window), strict=True)
    ]
    expected = softmax(combined(alone, [1 / 3] * 3, combine))
    found = softmax(ensemble.run(np.stack([window, window])).logits.astype(np.float64))
    np.testing.assert_allclose(found, [expected, expected], atol=2e-6)
    assert all(check.passed for check in verify(ensemble, [SIGNAL]))


def test_an_ensemble_of_one_recogniser_twice_is_that_recogniser(tmp_path: Path) -> None:
    card = write_ensemble(["live", "live"], tmp_path / "twice.onnx")
    twice, live = Recognizer.load(tmp_path / "twice.onnx"), Recognizer.load("live")
    np.testing.assert_allclose(twice.posterior(SIGNAL).posterior, live.posterior(SIGNAL).posterior, atol=1e-5)
    assert [member["digest"] for member in card.recipe["members"]] == [live.card.digest] * 2


def test_an_ensemble_can_be_a_member(toys: Toys, tmp_path: Path) -> None:
    a, b, c = (varied(toys(temperature=t), tmp_path / f"{t}.onnx", round(10 * t)) for t in (0.5, 1.0, 2.0))
    write_ensemble([a, b], tmp_path / "ab.onnx")
    write_ensemble([tmp_path / "ab.onnx", c], tmp_path / "abc.onnx", weights=[2, 1])
    write_ensemble([a, b, c], tmp_path / "flat.onnx")
    nested, flat = (Recognizer.load(tmp_path / name).posterior(SIGNAL).posterior for name in ("abc.onnx", "flat.onnx"))
    np.testing.assert_allclose(nested, flat, atol=2e-6)


def test_what_cannot_be_an_ensemble(toys: Toys, tmp_path: Path) -> None:
    a = varied(toys(), tmp_path / "a.onnx", 1)
    other = varied(toys(), tmp_path / "other.onnx", 2, ["sad", "neutral", "angry"])
    with pytest.raises(VocaffectError, match=r"a.onnx and .*other.onnx disagree on labels \(angry, happy\)"):
        write_ensemble([a, other], tmp_path / "e.onnx")
    with pytest.raises(VocaffectError, match="two members or more"):
        write_ensemble([a], tmp_path / "e.onnx")
    with pytest.raises(BundleError, match="there is no bundle"):
        write_ensemble([a, tmp_path / "none.onnx"], tmp_path / "e.onnx")
    for weights in ([1.0], [-1.0, 2.0], [0.0, 0.0]):
        with pytest.raises(VocaffectError, match="as many weights"):
            write_ensemble([a, a], tmp_path / "e.onnx", weights=weights)
    assert not (tmp_path / "e.onnx").exists()


@pytest.mark.parametrize("combine", ["logits", "posteriors"])
def test_fitted_weights_are_the_likeliest_of_all_on_a_grid(combine: Combine) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 200)
    logs = [np.log(softmax(s * np.eye(3)[targets] + rng.normal(0, 1, (200, 3)))) for s in (2.0, 1.0, 0.0)]

    def nll(weights: list[float]) -> float:
        logits = combined(logs, weights, combine)
        heats = np.exp(np.linspace(-3, 1, 161))
        return min(float(-np.log(softmax(logits / heat)[range(200), targets]).mean()) for heat in heats)

    weights = fit_weights(logs, targets, combine)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2]
    grid = [[i / 10, j / 10, 1 - (i + j) / 10] for i in range(11) for j in range(11 - i)]
    assert nll(weights) <= min(map(nll, grid)) + 1e-4
