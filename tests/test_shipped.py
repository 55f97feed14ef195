"""The recognisers that come with the package: whole, small, honest about themselves, and of use."""

import os
from pathlib import Path

import numpy as np
import pytest

from vocaffect.audio import read_clip
from vocaffect.bundle import golden_answer, golden_signal, load_bundle, resolve, shipped_names
from vocaffect.labels import EMOTIONS
from vocaffect.recognizer import Recognizer
from vocaffect.verification import verify

DATA = Path(os.environ.get("VOCAFFECT_DATA", "none"))
needs_emodb = pytest.mark.skipif(not (DATA / "emodb").is_dir(), reason="VOCAFFECT_DATA holds no emodb")


@pytest.fixture(scope="module", params=shipped_names())
def shipped(request: pytest.FixtureRequest) -> Recognizer:
    return Recognizer.load(request.param)


def test_one_is_for_streams_and_one_for_files() -> None:
    assert {"accurate", "live"} <= set(shipped_names())
    assert resolve("default") == resolve("live")
    assert Recognizer.load("live").card.streaming == "frame"
    assert Recognizer.load("accurate").learns_voices


def test_it_is_small_and_says_what_it_is(shipped: Recognizer) -> None:
    card = shipped.card
    assert resolve(card.name).stat().st_size <= (15_000_000 if card.name == "accurate" else 5_000_000)
    assert card.labels == list(EMOTIONS)
    assert "CC BY-NC-SA 4.0" in card.licence.data
    begun = card.recipe["training"].get("init_from") or card.recipe["model"].get("student")
    assert not begun or "tess: CC BY-NC-ND 4.0" in card.licence.data, "what it began with had learned from TESS"
    assert "work" in card.intended_use
    assert "acted" in card.limits
    assert card.metrics["speaker_disjoint"] is True
    uar = card.metrics["uar"]
    assert 0.125 < uar["low"] < uar["value"] < uar["high"] < 1


def test_it_answers_alike_however_it_is_run(shipped: Recognizer) -> None:
    checks = verify(shipped, [])
    assert len(checks) >= (4 if shipped.card.streaming == "frame" else 2)
    assert all(check.passed for check in checks), checks


def test_other_processors_answer_its_golden_signal_alike(shipped: Recognizer) -> None:
    """Last bits differ between them, and decide of steps where activations are rounded."""
    golden = shipped.card.golden
    signal, rng = golden_signal(golden.seconds), np.random.default_rng(1)
    bundle = load_bundle(resolve(shipped.card.name))
    for _ in range(8):
        changed = signal * (1 + 1e-6 * rng.normal(size=len(signal))).astype(np.float32)
        _, posterior = golden_answer(bundle, changed)
        assert np.max(np.abs(posterior - golden.posterior)) < golden.tolerance / 2


@pytest.mark.parametrize("level", [0.0, 1e-3, 0.05])
def test_silence_and_noise_are_no_emotion(shipped: Recognizer, level: float) -> None:
    samples = (level * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)
    found = shipped.recognize(samples)
    assert found.label is None
    assert found.segments == ()


@needs_emodb
def test_it_does_not_collapse_on_another_corpus_or_microphone(shipped: Recognizer) -> None:
    """German actors, another room: no label takes two thirds of 60 clips, nor does a softer microphone change half."""
    paths = sorted((DATA / "emodb").glob("*.flac"))[::8][:60]
    clips = [read_clip(path).samples for path in paths]

    def labels(gain: float) -> list[int]:
        return [int(shipped.posterior(clip * np.float32(gain)).posterior.argmax()) for clip in clips]

    loud, soft = labels(1.0), labels(0.25)
    assert np.bincount(loud, minlength=8).max() <= len(clips) * 2 / 3
    assert len(set(loud)) >= 5
    assert np.mean(np.equal(loud, soft)) >= 0.5
