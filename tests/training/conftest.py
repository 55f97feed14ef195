"""A small corpus that a small model learns in seconds, and a recipe for it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from vocaffect.recipe import Recipe, make_recipe

EMOTIONS = {"neutral": 300.0, "happy": 900.0, "sad": 150.0}
SPEAKERS = tuple("ABCDEF")


def clip(hz: float, speaker: int, take: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A tone at the emotion's pitch, shifted by the speaker, in a little noise and silence."""
    rng = np.random.default_rng([int(hz), speaker, take])
    t = np.arange(int(16_000 * rng.uniform(0.4, 0.7))) / 16_000
    tone = 0.2 * np.sign(np.sin(2 * np.pi * hz * (1 + 0.03 * speaker) * t)) * np.sin(np.pi * t / t[-1])
    return np.concatenate([np.zeros(1_600), tone + 0.01 * rng.standard_normal(len(t)), np.zeros(800)])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips as label/speaker/clip.wav: three emotions, six speakers, three takes."""
    root = tmp_path_factory.mktemp("corpus")
    for emotion, hz in EMOTIONS.items():
        for number, speaker in enumerate(SPEAKERS):
            (root / emotion / speaker).mkdir(parents=True)
            for take in range(3):
                soundfile.write(root / emotion / speaker / f"{take}.wav", clip(hz, number, take), 16_000)
    return root


@pytest.fixture(scope="session")
def small() -> Callable[..., Recipe]:
    """A recipe for `corpus`; keyword-like changes as in ``--set``. In float32, whatever the processor can do."""

    def recipe(*changes: str) -> Recipe:
        content = {
            "data": {"corpus": "folder", "protocol": "speaker-kfold"},
            "model": {"name": "lstm", "hidden_size": 16, "num_layers": 1},
            "training": {"batch_size": 8, "learning_rate": 0.02, "max_epochs": 4, "workers": 0, "amp": "off"},
        }
        return make_recipe(content, changes)

    return recipe


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests keep nothing in the cache of whoever runs them."""
    os.environ["VOCAFFECT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
