"""Sweeps: what is tried and kept, that resuming changes nothing, and that the test side stays shut."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from vocaffect import sweep as sweeping
from vocaffect import trials
from vocaffect.cli import build_app
from vocaffect.corpora import prepare
from vocaffect.errors import VocaffectError
from vocaffect.recipe import Recipe, read_recipe
from vocaffect.runs import split_of
from vocaffect.search_space import Choice, Range, Space, parse, read_space, split_changes
from vocaffect.sweep import alone, open_sweep, run_sweep
from vocaffect.training.progress import Progress
from vocaffect.trials import best_row

pytest.importorskip("optuna", reason="sweeps need the extra tune")

RATE: Space = {"training.learning_rate": Range(1e-3, 1e-1, log=True)}
MakeRecipe = Callable[..., Recipe]


def curve(recipe: Recipe) -> list[float]:
    """Validation UAR by epoch that a pretended training reaches: best near a rate of 0.01, and never below chance."""
    distance = abs(recipe.training.learning_rate - 0.01) * 5
    return [round(0.3 + epoch / 50 - distance, 6) for epoch in range(1, recipe.training.max_epochs + 1)]


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let sweeps believe that runs learn along `curve`, and list the runs' folders as they end."""
    ended = list[Path]()

    def train_run(run: Any, *, resume: bool, on_epoch: Callable[[Progress], None]) -> Progress:
        """A training that can be cut off after any epoch and goes on there."""
        store = run.folder / "rows.json"
        progress = Progress(rows=json.loads(store.read_text()) if resume and store.is_file() else [])
        for epoch, score in list(enumerate(curve(run.recipe), start=1))[len(progress.rows) :]:
            progress.epoch = epoch
            progress.rows.append({"epoch": epoch, "validation_uar": score})
            store.write_text(json.dumps(progress.rows))
            on_epoch(progress)
        progress.best_score = max(row["validation_uar"] for row in progress.rows)
        ended.append(run.folder)
        return progress

    monkeypatch.setattr(sweeping, "train_run", train_run)
    monkeypatch.setattr(trials, "plot_trials", lambda *arguments: None)
    return ended


def test_best_is_what_a_plain_search_through_the_trials_finds(
    pretended: list[Path], small: MakeRecipe, corpus: Path, tmp_path: Path
) -> None:
    recipe = small("training.max_epochs=8")
    space = {**RATE, "model": Choice(({"name": "lstm", "hidden_size": 8}, {"name": "gru", "hidden_size": 4}))}
    sweep = open_sweep(recipe, space, tmp_path / "s", corpus)
    rows = run_sweep(sweep, 10)
    assert [row["trial"] for row in rows] == list(range(10))
    folders = [read_recipe(tmp_path / "s" / f"trial_{number:04d}" / "recipe.yaml") for number in range(10)]
    curves = [curve(one) for one in folders]
    for row, one, points in zip(rows, folders, curves, strict=True):
        assert row["values"]["training.learning_rate"] == one.training.learning_rate
        assert json.loads(row["values"]["model"])["name"] == one.model.name
        assert row["validation_uar"] == max(points[: row["epochs"]])
        assert (row["state"] == "whole") == (row["epochs"] == 8)
    assert {one.model.name for one in folders} == {"lstm", "gru"}
    best = best_row(rows)
    assert best is not None
    assert best["validation_uar"] == max(points[-1] for points in curves)
    kept = read_recipe(tmp_path / "s" / "best.yaml")
    assert kept == folders[best["trial"]]
    assert kept.model_copy(update={"training": recipe.training, "model": recipe.model}) == recipe
    assert [json.loads(line) for line in (tmp_path / "s" / "trials.jsonl").read_text().splitlines()] == rows


def test_stopped_are_those_that_lag_behind_the_median(
    pretended: list[Path], small: MakeRecipe, corpus: Path, tmp_path: Path
) -> None:
    rows = run_sweep(open_sweep(small("training.max_epochs=8"), RATE, tmp_path / "s", corpus), 12)
    assert all(row["state"] == "whole" for row in rows[: trials.FIRST_WHOLE])
    stopped = [row for row in rows if row["state"] == "stopped"]
    assert stopped
    assert all(trials.FIRST_EPOCHS <= row["epochs"] < 8 for row in stopped)
    assert len(pretended) == 12 - len(stopped)
    for row in stopped:
        before = [curve_of(other)[row["epochs"] - 1] for other in rows[: row["trial"]] if other["state"] == "whole"]
        assert row["validation_uar"] < sorted(before)[len(before) // 2]


def curve_of(row: dict[str, Any]) -> list[float]:
    distance = abs(row["values"]["training.learning_rate"] - 0.01) * 5
    return [round(0.3 + epoch / 50 - distance, 6) for epoch in range(1, 9)]


@pytest.mark.parametrize("cuts", [(0,), (3, 30, 31)])
def test_a_sweep_cut_off_anywhere_ends_as_an_unbroken_one(
    pretended: list[Path], small: MakeRecipe, corpus: Path, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    """Cut after those epochs of all that are run: the same trials, values and stops come out, and each trial once."""
    recipe = small("training.max_epochs=8")
    unbroken = run_sweep(open_sweep(recipe, RATE, tmp_path / "unbroken", corpus), 9)
    pretended.clear()
    epochs = iter(range(1_000))

    def on_epoch(number: int, progress: Progress) -> None:
        if next(epochs) in cuts:
            raise KeyboardInterrupt

    for _ in cuts:
        with pytest.raises(KeyboardInterrupt):
            run_sweep(open_sweep(recipe, RATE, tmp_path / "cut", corpus), 9, on_epoch=on_epoch)
    rows = run_sweep(open_sweep(recipe, RATE, tmp_path / "cut", corpus), 9, on_epoch=on_epoch)
    assert rows == unbroken
    assert len(set(pretended)) == len(pretended) == sum(row["state"] == "whole" for row in rows)
    assert (tmp_path / "cut" / "best.yaml").read_text() == (tmp_path / "unbroken" / "best.yaml").read_text()
    more = run_sweep(open_sweep(recipe, RATE, tmp_path / "cut", corpus), 10)
    assert more[:9] == rows


def test_test_speakers_are_never_heard(small: MakeRecipe, corpus: Path, tmp_path: Path) -> None:
    """Their clips are gone before the sweep begins, so that opening one would fail; and the trials are real."""
    shutil.copytree(corpus, tmp_path / "clips")
    prepare("folder", tmp_path / "clips").write(tmp_path / "clips.csv")
    recipe = small(f"data.corpus={tmp_path / 'clips.csv'}", "training.max_epochs=2")
    sweep = open_sweep(recipe, RATE, tmp_path / "s", tmp_path)
    tested = split_of(recipe, sweep.manifest).of(sweep.manifest)[2]
    assert len(tested) >= 9
    for clip in tested:
        sweep.manifest.audio_path(clip).unlink()
    rows = run_sweep(sweep, 2)
    assert [row["state"] for row in rows] == ["whole", "whole"]
    for number in range(2):
        folder = sweep.trial_folder(number)
        assert {"recipe.yaml", "manifest.csv", "split.json", "metrics.jsonl", "best_model.safetensors"} <= {
            path.name for path in folder.iterdir()
        }
        learned = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert rows[number]["validation_uar"] == max(row["validation_uar"] for row in learned)
    assert (sweep.folder / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert not list(sweep.folder.rglob("test"))


def test_failed_trials_are_passed_over_and_three_in_succession_end_the_sweep(
    pretended: list[Path], small: MakeRecipe, corpus: Path, tmp_path: Path
) -> None:
    choice: Space = {"model.num_layers": Choice((1, "many", "no end of"))}
    folder = tmp_path / "s"
    with pytest.raises(VocaffectError, match="the last 3 trials failed, the latest because"):
        run_sweep(open_sweep(small(), choice, folder, corpus), 60)
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert [row["state"] for row in rows[-3:]] == ["failed"] * 3
    assert all(row["error"] for row in rows[-3:])
    assert all((row["state"] == "failed") == (row["values"]["model.num_layers"] != "1") for row in rows)


@pytest.mark.parametrize(
    ("changes", "space", "sentence"),
    [
        ([], {}, "nothing to try"),
        ([], {"training.learning_rat": Range(1, 2)}, "did you mean 'training.learning_rate'"),
        ([], {"training.learning_rate": Range(-1, 1)}, "the space: training.learning_rate: input should be greater"),
        ([], {"training.scheduler": Choice(("cosine", "sine"))}, "training.scheduler: input should be"),
        ([], {"data.fold": Range(1, 3, whole=True)}, "data.fold decides who is held out"),
        ([], {"seed": Range(1, 3, whole=True)}, "seed decides who is held out"),
        (["data.protocol=emodb-loso"], RATE, "emodb-loso needs 10 speakers"),
    ],
)
def test_spaces_that_make_no_sense_are_refused_before_anything_is_written(
    small: MakeRecipe, corpus: Path, tmp_path: Path, changes: list[str], space: Space, sentence: str
) -> None:
    with pytest.raises(VocaffectError, match=sentence):
        open_sweep(small(*changes), space, tmp_path / "s", corpus)
    assert not (tmp_path / "s").exists()


def test_another_sweep_another_process_and_another_storage_are_refused(
    pretended: list[Path], small: MakeRecipe, corpus: Path, tmp_path: Path
) -> None:
    sweep = open_sweep(small(), RATE, tmp_path / "s", corpus)
    with pytest.raises(VocaffectError, match="a sweep of another recipe or space"):
        open_sweep(small(), {"training.batch_size": Range(2, 8, whole=True)}, tmp_path / "s", corpus)
    with alone(sweep.folder), pytest.raises(VocaffectError, match="another process is at the sweep"):
        run_sweep(sweep, 1)
    for storage, sentence in (("mysql", "is no storage"), ("nosuch://host/name", "cannot be opened")):
        with pytest.raises(VocaffectError, match=sentence):
            run_sweep(sweep, 1, storage=storage)
    assert len(run_sweep(sweep, 1, storage=f"sqlite:///{tmp_path / 'elsewhere.db'}")) == 1
    assert (tmp_path / "elsewhere.db").is_file()


def test_command_sweeps_and_goes_on(pretended: list[Path], small: MakeRecipe, corpus: Path, tmp_path: Path) -> None:
    small("training.max_epochs=6").write(tmp_path / "recipe.yaml")
    (tmp_path / "space.yaml").write_text("model.hidden_size: [4, 8]\n")
    words = ["sweep", "--config", tmp_path / "recipe.yaml", "--sweep-name", "s", "--runs-dir", tmp_path]
    words += ["--data-root", corpus, "--space", tmp_path / "space.yaml", "--set", "training.batch_size=4"]
    words += ["--set", "training.learning_rate=log(1e-3,1e-1)"]
    for count, new in (("2", 2), ("3", 1)):
        done = CliRunner().invoke(build_app(), [*map(str, words), "--trials", count])
        assert done.exit_code == 0, done.output
        assert done.output.count("  UAR ") == new
        assert f"best of {count}: trial" in done.output
    kept = read_recipe(tmp_path / "s" / "best.yaml")
    assert kept.training.batch_size == 4
    assert kept.model.parameters["hidden_size"] in (4, 8)


numbers = st.floats(1e-6, 1e6)


@given(st.sampled_from(["uniform", "log"]), numbers, numbers)
def test_ranges_are_read_as_they_are_written(kind: str, a: float, b: float) -> None:
    low, high = sorted((a, b))
    if low < high:
        plain, space = split_changes([f"x.y = {kind}( {low!r},{high!r} )"])
        assert (plain, space) == ([], {"x.y": Range(low, high, log=kind == "log")})


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text("abcäö ,()[]'\"", max_size=5), min_size=1))
def test_choices_are_read_as_they_are_written(values: list[Any]) -> None:
    assert parse("k", f"choice({json.dumps(values, ensure_ascii=False)[1:-1]})") == Choice(tuple(values))
    assert parse("k", yaml.safe_load(yaml.safe_dump(values))) == Choice(tuple(values))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lag(1, 2)", "range 'lag' is not known; did you mean 'log'"),
        ("log(0, 1)", "at or below 0"),
        ("uniform(2, 1)", "holds nothing"),
        ("uniform(1, nan)", "holds nothing"),
        ("uniform(1)", "does not give two numbers"),
        ("uniform(1, two)", "does not give two numbers"),
        ("int(1.5, 3)", "for whole numbers"),
        ("choice()", "no choice"),
        ("choice([)", "not valid YAML"),
        ("0.5", "is no range"),
        (0.5, "is no range"),
        ([], "is no range"),
    ],
)
def test_ranges_that_cannot_be_understood(text: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(VocaffectError, match=sentence):
        parse("training.learning_rate", text)


@pytest.mark.parametrize(
    ("content", "sentence"), [("[", "not valid YAML"), ("", "names no key"), ("- a", "names no key"), (None, "no file")]
)
def test_space_files_that_cannot_be_read(content: str | None, sentence: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "space.yaml").write_text(content)
    with pytest.raises(VocaffectError, match=sentence):
        read_space(tmp_path / "space.yaml")
