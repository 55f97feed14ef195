"""Verification finds what it is there to find, on toy recognisers that break each promise in turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vocaffect.recognizer import Recognizer
from vocaffect.utterance import Output, softmax
from vocaffect.verification import verify


def failed(recognizer: Recognizer) -> list[str]:
    return [check.name for check in verify(recognizer, []) if not check.passed]


def test_a_recogniser_that_keeps_every_promise(toy: Any, tmp_path: Path) -> None:
    assert failed(Recognizer.load(toy.write(tmp_path / "x.onnx"))) == []


BROKEN: dict[str, tuple[Callable[[Output, int], Output], list[str]]] = {
    "forgets its state": (
        lambda output, rows: output._replace(state={name: 0 * value for name, value in output.state.items()}),
        ["offline vs frame by frame", "offline vs random chunks"],
    ),
    "mixes its batch": (
        lambda output, rows: saying(output, output.logits.mean(0, keepdims=True).repeat(rows, 0)),
        ["batch vs solo"],
    ),
    "drifted": (lambda output, rows: saying(output, output.logits * 1.5), ["golden vector"]),
    "is calibrated by another temperature": (
        lambda output, rows: output._replace(posterior=softmax(output.logits, 1.0)),
        ["golden vector", "posterior of its logits"],
    ),
    "gives no numbers": (
        lambda output, rows: saying(output, output.logits * np.nan),
        [
            "golden vector",
            "posterior of its logits",
            "offline vs frame by frame",
            "offline vs random chunks",
            "batch vs solo",
        ],
    ),
}


def saying(output: Output, logits: NDArray[np.float32]) -> Output:
    """The same with other logits, and the posterior of these at the temperature of a toy."""
    return output._replace(logits=logits, posterior=softmax(logits, 1.5))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(name: str, toy_bundle: Path) -> None:
    breaking, expected = BROKEN[name]

    class Broken(Recognizer):
        def run(self, samples: Any, state: Any = None) -> Output:
            return breaking(super().run(samples, state), len(samples))

    assert failed(Broken.load(toy_bundle)) == expected
