"""Plug-ins: loaded with a recipe, kept with its run, and told of in one sentence when they do not do."""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from vocaffect.cli import main
from vocaffect.errors import VocaffectError
from vocaffect.experiment import start_run
from vocaffect.features import feature_names
from vocaffect.features import registry as features
from vocaffect.models import registry as models
from vocaffect.plugins import blame, keep_plugins, load_file, load_installed
from vocaffect.recipe import make_recipe, read_recipe
from vocaffect.runs import open_run

PEAK = """
from vocaffect.features import Feature, register_feature

@register_feature("plugin_peak")
class Peak(Feature):
    num_features = 1

    def __init__(self, sample_rate, win):
        super().__init__()

    def forward(self, frames):
        return frames.samples.abs().amax(-1, keepdim=True)
"""
RECIPE = """
plugins: [peak.py]
data: {corpus: folder, protocol: speaker-kfold}
frontend: {features: [mfcc, plugin_peak]}
model: {name: fc, hidden_size: 8}
training: {max_epochs: 1}
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a test's plug-ins register, they register for it alone."""
    before = [(module._REGISTRY, dict(module._REGISTRY)) for module in (features, models)]
    yield
    for registry, known in before:
        registry.clear()
        registry.update(known)
    for name in [name for name in sys.modules if name.startswith("vocaffect_plugin_")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of each of two emotions by each of six speakers."""
    root, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for emotion in ("happy", "sad"):
        for speaker in "ABCDEF":
            (root / emotion / speaker).mkdir(parents=True)
            soundfile.write(root / emotion / speaker / "0.wav", rng.normal(0, 0.1, 4_000), 16_000)
    return root


def write(folder: Path, plugin: str = PEAK, recipe: str = RECIPE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "peak.py").write_text(plugin)
    (folder / "recipe.yaml").write_text(recipe)
    return folder / "recipe.yaml"


def test_a_run_keeps_its_plug_ins_and_loads_them_again(clips: Path, tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path / "own"))
    run = start_run(recipe, tmp_path / "run", clips)
    (tmp_path / "own" / "peak.py").unlink()
    features._REGISTRY.pop("plugin_peak")
    opened = open_run(tmp_path / "run")
    assert opened.recipe == run.recipe
    assert opened.recipe.plugins == {"plugins/peak.py": hashlib.sha256(PEAK.encode()).hexdigest()}
    assert "plugin_peak" in feature_names()


def test_a_plug_in_that_has_changed_since_is_refused(clips: Path, tmp_path: Path) -> None:
    start_run(read_recipe(write(tmp_path / "own")), tmp_path / "run", clips)
    with (tmp_path / "run" / "plugins" / "peak.py").open("a") as file:
        file.write("# better\n")
    with pytest.raises(VocaffectError, match=r"peak\.py has changed since the run was started"):
        open_run(tmp_path / "run")


def test_every_command_loads_what_the_run_has_kept(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "own")
    train = f"train --config own/recipe.yaml --run-name one --data-root {clips}"
    for words in (train, "test runs/one --no-robustness", "export runs/one -o one.onnx", "verify runs/one"):
        with pytest.raises(SystemExit) as stop:
            main(words.split())
        assert not stop.value.code
        features._REGISTRY.pop("plugin_peak")
        (tmp_path / "own" / "peak.py").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (None, r"peak\.py cannot be read \(No such file or directory\): paths are relative to the recipe"),
        ("import no_such_module", r"raised ModuleNotFoundError: No module named 'no_such_module' \(.*line 1,"),
        ("\n\ndef f():\n    1 / 0\nf()", r"raised ZeroDivisionError: division by zero \(.*peak\.py, line 4, in f\)"),
        ("raise SystemExit(3)", "raised SystemExit: 3"),
        ("def f(:", r"peak\.py is no Python: invalid syntax"),
        (PEAK.replace("plugin_peak", "mfcc"), r"peak\.py: there is a feature 'mfcc' already"),
        (PEAK.replace("frames.samples", "frames.sample"), r"raised AttributeError: .*'sample'.*in forward\)"),
    ],
)
def test_one_sentence_and_exit_code_2(
    plugin: str | None, message: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, plugin or "")
    if plugin is None:
        (tmp_path / "peak.py").unlink()
    words = ["--config", str(path), "--run-name", "one", "--data-root", str(clips), "--runs-dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main(["train", *words])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said)


def test_an_error_of_our_own_is_no_plug_in_s() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert blame(caught.value) is None


def test_a_copy_of_what_is_there_does_not_take_its_place(tmp_path: Path) -> None:
    """Nor does the same plug-in, loaded again, collide with itself."""
    source = Path(features.__file__).with_name("rms.py")
    (tmp_path / "rms.py").write_text(source.read_text())
    with pytest.raises(VocaffectError, match="a feature 'rms' already"):
        load_file(tmp_path / "rms.py")
    write(tmp_path)
    assert load_file(tmp_path / "peak.py").Peak is not load_file(tmp_path / "peak.py").Peak


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [str(write(tmp_path / name).with_name("peak.py")) for name in ("a", "b")]
    with pytest.raises(VocaffectError, match=r"two plug-ins are called peak\.py"):
        keep_plugins(dict.fromkeys(paths, ""), tmp_path / "run")


def test_plug_ins_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "speechy-1.2.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: speechy\nVersion: 1.2\n")
    (package / "entry_points.txt").write_text("[vocaffect.plugins]\npeaks = speechy_peaks\n")
    (tmp_path / "speechy_peaks.py").write_text(PEAK)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_installed()["speechy"] == "1.2"
    assert "plugin_peak" in feature_names()

    broken = SimpleNamespace(name="peaks", module="speechy", dist=None, load=lambda: 1 / 0)
    monkeypatch.setattr("vocaffect.plugins.entry_points", lambda group: [broken])
    with pytest.raises(VocaffectError, match=r"'peaks' of the package speechy cannot be loaded .*division by zero"):
        load_installed()
    assert importlib.metadata.entry_points(group="vocaffect.plugins")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mfcc", {"mfcc": {}}),
        (["mfcc", "chroma"], {"mfcc": {}, "chroma": {}}),
        (["mfcc", {"mel": {"num_mels": 20}}], {"mfcc": {}, "mel": {"num_mels": 20}}),
    ],
)
def test_features_as_a_list(given: object, expected: dict[str, object]) -> None:
    recipe = make_recipe({"frontend": {"features": given}})
    assert recipe.frontend.features == expected
    assert list(recipe.frontend.features) == list(expected)


@pytest.mark.parametrize(("given", "message"), [(["mfcc", "mfcc"], "comes twice"), ([3], "valid dictionary")])
def test_lists_that_are_none(given: object, message: str) -> None:
    with pytest.raises(VocaffectError, match=rf"frontend\.features: .*{message}"):
        make_recipe({"frontend": {"features": given}})
