"""A run whose feature is a plain function: trained, tested, verified and used in Python, refused as a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vocaffect.audio import read_clip
from vocaffect.cli import main
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run, train_run
from vocaffect.features import register_feature, registry
from vocaffect.packing import bundle_of, for_verification, recognizer_of
from vocaffect.recipe import Recipe
from vocaffect.testing import measure_run
from vocaffect.verification import verify


@pytest.fixture(autouse=True)
def _bands() -> Iterator[None]:
    """Energy in eight bands of the whole signal, in decibels."""
    known = dict(registry._REGISTRY)

    @register_feature("bands_plain")
    def bands(wav: NDArray[np.float32], sr: int, params: dict[str, Any]) -> NDArray[np.float32]:
        power = np.square(np.abs(np.fft.rfft(wav, 16_000)))[: 8 * params["width"]]
        return np.asarray(10 * np.log10(power.reshape(8, -1).mean(axis=1) + 1e-6), np.float32)

    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(known)


def test_from_recipe_to_recognition(
    corpus: Path, small: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = "frontend.features={bands_plain: {width: 200}}"
    recipe = small(features, "window.length_s=1.0", "training.max_epochs=6", "model.name=fc", "model.hidden_size=16")
    recipe = recipe.model_copy(update={"augment": recipe.augment.model_copy(update={"enabled": False})})
    run = start_run(recipe, tmp_path / "run", corpus)
    train_run(run)
    with pytest.raises(VocaffectError, match="'bands_plain' is a plain function"):
        bundle_of(run)
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run.folder), "-o", str(tmp_path / "x.onnx")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: feature 'bands_plain' is a plain function")
    assert not (tmp_path / "x.onnx").exists()

    recognizer = recognizer_of(run)
    assert (recognizer.card.streaming, recognizer.path) == ("window", None)
    assert recognizer_of(run).card == recognizer.card
    assert all(check.passed for check in verify(*for_verification(run.folder, None)))
    evaluation = measure_run(run.folder, robustness=False)
    assert evaluation["uar"]["value"] > 0.6

    utterance = run.split.of(run.manifest)[2].utterances[0]
    clip = read_clip(run.manifest.audio_path(utterance)).samples
    stream = recognizer.open_stream()
    stream.push(clip), stream.finish()
    assert recognizer.posterior(clip).posterior.sum() == pytest.approx(1.0, abs=1e-5)
