"""Every recipe of the repository learns: two steps of it on a small corpus."""

from pathlib import Path

import numpy as np
import pytest

from vocaffect.experiment import start_run, train_run
from vocaffect.recipe import read_recipe
from vocaffect.training import checkpoint
from vocaffect.training.progress import Progress

ROOT = Path(__file__).parents[2]
ELSEWHERE = [
    "data.corpus=folder",
    "data.protocol=speaker-kfold",
    "data.validation_fraction=0.4",
    "distillation.unlabelled=null",
    "training.max_epochs=2",
    "training.batch_size=64",
]
"""What of a recipe cannot be had without its corpora, and what makes an epoch one step."""


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_learns_for_two_steps(config: Path, corpus: Path, tmp_path: Path) -> None:
    recipe = read_recipe(config, ELSEWHERE)
    if recipe.model.name in ("encoder", "causal_encoder"):
        pytest.skip("its encoder's weights are not part of the repository")
    steps: list[int] = []
    run = start_run(recipe, tmp_path / "run", corpus)
    progress: Progress = train_run(run, on_batch=lambda done, total: steps.append(done))
    assert steps == [1, 1]
    assert np.isfinite([row["train_loss"] for row in progress.rows]).all()
    assert (run.folder / checkpoint.BEST).is_file()
