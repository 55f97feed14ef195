"""The repository keeps its promises: small imports, valid recipes, pinned versions, bundles that fit."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vocaffect
from vocaffect.bundle import BUNDLES, golden_signal, read_card, shipped_names

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
HEAVY = ("torch", "sklearn", "matplotlib", "pyarrow", "onnx", "safetensors", "scipy", "librosa", "yaml")
WEB = ("fastapi", "starlette", "uvicorn")
GUARD = """
import sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] not in {forbidden!r}, f"{{name}} was imported"

sys.meta_path.insert(0, Guard())
{code}
"""
MAIN = "from vocaffect.cli import main; sys.argv[0] = 'vocaffect'; main()"
RECOGNISING = "audio bundle cli files labels listen manifest metrics recognizer splits stream verification"


def run_without(forbidden: tuple[str, ...], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that fails if it tries to import one of these packages, even in vain."""
    program = GUARD.format(forbidden=forbidden, code=code)
    return subprocess.run([sys.executable, "-W", "error", "-c", program, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("package", [*HEAVY, *WEB])
def test_the_guard_bites(package: str) -> None:
    for code in (f"import {package}", f"try:\n    import {package}.x\nexcept ImportError:\n    pass"):
        assert f"{package} was imported" in run_without(HEAVY + WEB, code).stderr


@pytest.mark.parametrize("module", ["vocaffect", *(f"vocaffect.{name}" for name in RECOGNISING.split())])
def test_what_recognises_imports_neither_training_nor_web_libraries(module: str) -> None:
    done = run_without(HEAVY + WEB, f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_server_imports_no_training_library() -> None:
    done = run_without(HEAVY, "import vocaffect.server.run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["recognize", "--help"], ["listen", "--help"], ["train", "--help"]]
)
def test_help_imports_neither_training_nor_web_libraries(arguments: list[str]) -> None:
    done = run_without(HEAVY + WEB, MAIN, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().removeprefix("Usage: ").startswith("vocaffect")


def test_a_recognition_imports_neither_training_nor_web_libraries(toy_bundle: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", golden_signal(2.0), 16_000)
    words = [str(tmp_path / "clip.wav"), "--recognizer", str(toy_bundle)]
    done = run_without(HEAVY + WEB, MAIN, "recognize", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["duration_s"] == 2.0


def test_the_command_line_and_a_user_s_mistake(tmp_path: Path) -> None:
    done = run_without(HEAVY + WEB, MAIN, "recognize", str(tmp_path / "none.wav"), "--recognizer", "no-such")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_its_network_can_be_built(config: Path) -> None:
    from vocaffect.augment import AugmentOptions
    from vocaffect.features import FrontEnd
    from vocaffect.models import build_model
    from vocaffect.recipe import read_recipe
    from vocaffect.splits import protocols

    recipe = read_recipe(config)
    assert config.read_text(encoding="utf-8").startswith("# "), "the first line says which number this gives"
    assert recipe.data.fold <= protocols()[recipe.data.protocol].num_folds
    frontend = FrontEnd(**recipe.frontend.model_dump())
    build_model(recipe.model.name, num_features=frontend.num_features, num_labels=8, **recipe.model.parameters)
    AugmentOptions(**recipe.augment.model_dump(exclude={"enabled"}))


def test_every_requirement_is_pinned_to_a_version_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in (Requirement(text) for group in wanted for text in group):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_version_is_one() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {vocaffect.__version__}\n" in citation
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recogniser_is_small_and_says_what_it_is(name: str) -> None:
    path = BUNDLES / f"{name}.onnx"
    card = read_card(path)
    assert path.stat().st_size <= (15_000_000 if name == "accurate" else 5_000_000)
    assert card.name == name
    assert card.metrics["speaker_disjoint"] is True
    assert card.metrics["uar"]["low"] < card.metrics["uar"]["value"] < card.metrics["uar"]["high"]
    assert "CC BY-NC-SA 4.0" in card.licence.data


def test_modules_are_short_and_named_after_what_they_are_for() -> None:
    assert not {path.stem for path in SOURCES} & {"utils", "util", "helpers", "common", "misc"}
    assert {str(path): n for path in SOURCES if (n := len(path.read_text().splitlines())) > 350} == {}


def test_only_a_corpus_knows_what_its_file_names_mean() -> None:
    pattern = re.compile(r"\b03-01-")
    knowing = {path.parent.name for path in SOURCES if pattern.search(path.read_text(encoding="utf-8"))}
    assert knowing == {"corpora"}
