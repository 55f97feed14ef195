"""Recipes: defaults, changes, and sentences that say which key is wrong."""

import re
from pathlib import Path

import pytest
import yaml

from vocaffect.augment import AugmentOptions
from vocaffect.errors import VocaffectError
from vocaffect.recipe import make_recipe, read_recipe

ROOT = Path(__file__).parents[2]


def test_the_described_defaults() -> None:
    recipe = make_recipe({})
    assert recipe.frontend.features == {"mfcc": {"num_coefficients": 13}}
    assert (recipe.frontend.win_s, recipe.frontend.hop_s) == (0.025, 0.010)
    training = recipe.training
    assert (training.batch_size, training.learning_rate, training.max_epochs) == (32, 0.001, 100)
    assert (training.early_stopping_patience, training.scheduler, training.checkpoint_every) == (15, "plateau", 10)
    assert (recipe.augment.enabled, recipe.augment.probability) == (True, 0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["training.bach_size=16"], "key 'training.bach_size' is not known; did you mean 'training.batch_size'"),
        (["trainig.batch_size=16"], "did you mean 'training'"),
        (["training.batch_size=many"], r"training.batch_size: .*valid integer.*'many'"),
        (["training.batch_size=0"], "training.batch_size: .*greater than or equal to 1"),
        (["voice.even=4.5"], "voice.lopsided: .*must be above voice.even, which is 4.5.*4"),
        (["voice.lopsided=0.5"], "voice.lopsided: .*greater than 1"),
        (["training.batch_size"], "write section.key=value"),
        (["name.first=x"], "goes below 'name'"),
        (["data.fold=[1"], "not valid YAML"),
    ],
)
def test_what_is_wrong_is_said(changes: list[str], message: str) -> None:
    with pytest.raises(VocaffectError, match=message):
        make_recipe({"name": "x"}, changes)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(VocaffectError, match="there is no recipe"):
        read_recipe(tmp_path / "none.yaml")
    for text, message in (("a: [", "not valid YAML"), ("- a", "no mapping"), ("\x00", "not valid YAML")):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(VocaffectError, match=message):
            read_recipe(tmp_path / "bad.yaml")


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = make_recipe({"model": {"name": "lstm", "hidden_size": 7}}, ["augment.tempo=null"])
    recipe.write(tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe
    assert recipe.model.parameters == {"hidden_size": 7}


def test_changes_leave_the_given_content_alone() -> None:
    content = {"training": {"batch_size": 4}}
    make_recipe(content, ["training.batch_size=8"])
    assert content == {"training": {"batch_size": 4}}


def test_every_section_that_the_documents_show_is_valid() -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "training.md").read_text(encoding="utf-8"), re.M | re.S)
    assert shown
    for text in shown:
        recipe = make_recipe(yaml.safe_load(text))
        AugmentOptions(**recipe.augment.model_dump(exclude={"enabled"}))
