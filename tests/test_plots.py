"""The pictures: that they are pictures, light, repeatable, drawn from any sensible data, and leave no state."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from vocaffect.evaluation import Predictions, evaluate
from vocaffect.plots import (
    plot_confusion_matrix,
    plot_reliability,
    plot_training_history,
    plot_trials,
    plot_uar_by_seconds,
)


def evaluation(num_clips: int = 120, num_labels: int = 8, speaker_disjoint: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    targets = np.arange(num_clips) % num_labels
    logits = rng.normal(size=(num_clips, num_labels)) + 2 * np.eye(num_labels)[targets]
    predictions = Predictions(
        labels=tuple(f"emotion {i}" for i in range(num_labels)),
        utterances=tuple(f"{i}.wav" for i in range(num_clips)),
        targets=targets,
        logits=logits,
        speakers=tuple(f"speaker {i % 4}" for i in range(num_clips)),
        logits_at={0.5: rng.normal(size=logits.shape), 2.0: logits},
        protocol="some-protocol",
        speaker_disjoint=speaker_disjoint,
    )
    return evaluate(predictions, 1.4, num_resamples=50)


PLOTS = [plot_confusion_matrix, plot_reliability, plot_uar_by_seconds]
ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "train_loss": 2.0, "validation_loss": 2.1, "validation_uar": 0.2, "learning_rate": 1e-3},
    {"epoch": 2, "train_loss": 1.5, "validation_loss": 1.9, "validation_uar": 0.4, "learning_rate": 1e-3},
    {"epoch": 3, "train_loss": 1.2, "validation_loss": 2.0, "validation_uar": 0.3, "learning_rate": 5e-4},
]


@pytest.mark.parametrize("plot", PLOTS)
def test_picture_is_light_and_repeatable(plot: Any, tmp_path: Path) -> None:
    result = evaluation()
    plot(result, tmp_path / "one.png")
    plot(result, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    pixels = imread(tmp_path / "one.png")
    assert min(pixels.shape[:2]) >= 500
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 1).all(), "something is cut off at the edge, or the background is not white"
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(("num_clips", "num_labels"), [(1, 2), (40, 3)])
def test_few_clips_and_few_labels_are_drawn_too(plot: Any, num_clips: int, num_labels: int, tmp_path: Path) -> None:
    plot(evaluation(num_clips, num_labels), tmp_path / "small.png")
    assert imread(tmp_path / "small.png").size


@pytest.mark.parametrize(
    "rows",
    [[], ROWS[:1], ROWS, [{"epoch": 1, "train_loss": 1.0}], [{**ROWS[0], "validation_uar": None}, ROWS[1]]],
    ids=["nothing", "one epoch", "three epochs", "loss only", "a gap"],
)
def test_history_is_drawn_from_what_there_is(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    plot_training_history(rows, tmp_path / "training_history.png")
    pixels = imread(tmp_path / "training_history.png")
    assert (np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]) == 1).all()


def test_what_the_confusion_matrix_shows_depends_on_the_counts(tmp_path: Path) -> None:
    result = evaluation()
    plot_confusion_matrix(result, tmp_path / "honest.png")
    plot_confusion_matrix({**result, "speaker_disjoint": False}, tmp_path / "leaky.png")
    swapped = np.asarray(result["confusion"])[::-1].tolist()
    plot_confusion_matrix({**result, "confusion": swapped}, tmp_path / "swapped.png")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 3


def test_pyplot_and_its_global_state_are_never_touched() -> None:
    code = "import sys, vocaffect.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_trials_of_every_kind_are_drawn(tmp_path: Path) -> None:
    rows = [
        {
            "trial": n,
            "state": ("whole", "stopped", "failed")[n % 3],
            "validation_uar": None if n % 3 == 2 else 0.3 + n / 50,
            "values": {"training.learning_rate": 10.0 ** -(1 + n % 4), "model.name": '"lstm"', "model.layers": n},
        }
        for n in range(9)
    ]
    for count, name in ((9, "nine"), (0, "none"), (3, "three")):
        plot_trials(rows[:count], tmp_path / f"{name}.png", ["training.learning_rate"])
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
