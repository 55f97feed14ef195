"""`vocaffect data` from the first clip to the last finding, and what it says to bad input."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from vocaffect.cli import data
from vocaffect.corpora import corpus_names
from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest
from vocaffect.splits import Split, protocols


def run(*arguments: object) -> Result:
    app = typer.Typer(rich_markup_mode="markdown")
    app.callback()(lambda: None)
    data.register(app)
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def done(*arguments: object) -> str:
    """The output of a command that must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object) -> str:
    """The sentence of a command that must refuse its input."""
    result = run(*arguments)
    assert isinstance(result.exception, VocaffectError), result.output
    return str(result.exception)


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, and no corpora of the machine's own."""
    monkeypatch.delenv("VOCAFFECT_DATA", raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two emotions by six speakers; anna's two clips sound the same."""
    for emotion in ("happy", "sad"):
        for speaker in ("anna", "ben", "cleo", "dan", "eva", "finn"):
            path = tmp_path / "clips" / emotion / speaker / "a.wav"
            path.parent.mkdir(parents=True)
            seed = 7 if speaker == "anna" else hash_of(f"{emotion}{speaker}")
            soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 8000), 16_000)
    return tmp_path / "clips"


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def test_the_whole_path(clips: Path, at_home: Path) -> None:
    said = done("prepare", "folder", "--data-root", clips)
    manifest = Manifest.read(at_home / "folder-manifest.csv")
    assert len(manifest) == 12
    assert f"folder-manifest.csv: 12 clips, content hash {manifest.hash}" in said
    said = done("split", "folder-manifest.csv", "--folds", "3", "--validation", "0.3")
    assert said.count("none") == 3
    splits = [Split.read(at_home / "splits" / f"speaker-kfold-fold{fold}.json") for fold in (1, 2, 3)]
    assert sorted(path for split in splits for path in split.test) == sorted(manifest.by_path)
    said = done("audit", "folder-manifest.csv", "--split", "splits/speaker-kfold-fold1.json")
    assert "repeated audio: 1\n  happy/anna/a.wav = sad/anna/a.wav, with different labels" in said
    assert "12 clips, 1 split: 1 finding" in said


def test_parquet_and_csv_say_the_same(clips: Path, at_home: Path) -> None:
    done("prepare", "folder", "-d", clips, "-o", "m.parquet")
    done("prepare", "folder", "-d", clips, "-o", "m.csv")
    assert Manifest.read("m.parquet") == Manifest.read("m.csv")


def test_a_leak_ends_with_exit_code_2(clips: Path, at_home: Path) -> None:
    done("prepare", "folder", "-d", clips)
    assert "yes" in done("split", "folder-manifest.csv", "-p", "seed-random")
    result = run("audit", "folder-manifest.csv", "-s", "splits/seed-random-fold1.json", "--no-listen")
    assert result.exit_code == 2
    assert "shared speaker (leak)" in result.output


def test_a_clip_that_went_bad_ends_with_exit_code_2(clips: Path, at_home: Path) -> None:
    done("prepare", "folder", "-d", clips)
    (clips / "sad" / "ben" / "a.wav").write_text("no sound")
    result = run("audit", "folder-manifest.csv")
    assert result.exit_code == 2
    assert "unreadable: 1" in result.output


def test_moved_clips_are_found_by_data_root(clips: Path, at_home: Path) -> None:
    done("prepare", "folder", "-d", clips)
    clips.rename(at_home / "moved")
    assert run("audit", "folder-manifest.csv").exit_code == 2
    done("audit", "folder-manifest.csv", "-d", at_home / "moved")


def test_many_findings_are_cut_short_unless_all_are_wanted(clips: Path, at_home: Path) -> None:
    done("prepare", "folder", "-d", clips)
    for path in clips.rglob("a.wav"):
        path.unlink()
    assert "... and 2 more; --all shows them" in run("audit", "folder-manifest.csv").output
    assert run("audit", "folder-manifest.csv", "--all").output.count("there is no file") == 12


def test_a_table_is_read_from_its_own_folder(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCAFFECT_DATA", "/nowhere")
    (clips / "mine.csv").write_text("path,emotion,speaker\nhappy/ben/a.wav,happy,ben\n")
    assert "mine-manifest.csv: 1 clips" in done("prepare", clips / "mine.csv")


def test_the_environment_names_the_data_root(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCAFFECT_DATA", str(clips))
    assert "12 clips" in done("prepare", "folder")


def test_bad_input_leaves_nothing_behind(clips: Path, at_home: Path) -> None:
    assert "did you mean 'ravdess'" in refused("prepare", "ravdes", "-d", clips)
    assert "lacks the column speaker" in refused("prepare", write(clips / "t.csv", "path,emotion\n"))
    assert "'hapy' is not known" in refused("prepare", write(clips / "t.csv", "path,emotion,speaker\na.wav,hapy,x\n"))
    assert "name another file" in refused("prepare", clips / "t.csv", "-o", clips / "t.csv")
    assert "name another file" in refused("prepare", "folder", "-d", clips, "-o", "m.txt")
    (clips / "sad" / "ben" / "a.wav").write_text("no sound")
    assert "1 of 12 clips cannot be used" in refused("prepare", "folder", "-d", clips)
    assert "there is no manifest" in refused("split", "gone.csv")
    assert "there is no manifest" in refused("audit", "gone.csv")
    assert list(at_home.iterdir()) == []
    assert "11 clips" in done("prepare", "folder", "-d", clips, "--skip-broken")
    assert "did you mean 'seed-random'" in refused("split", "folder-manifest.csv", "-p", "sed-random")
    assert "has the folds 1 to 5, not 9" in refused("split", "folder-manifest.csv", "--fold", 9)
    assert "there is no split" in refused("audit", "folder-manifest.csv", "-s", "gone.json")
    assert [path.name for path in at_home.iterdir()] == ["folder-manifest.csv"]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_dry_run_says_what_it_would_do_and_does_nothing(at_home: Path) -> None:
    said = done("download", "ravdess", "--dry-run")
    for fact in ("208,468,073 bytes", "bc696df654c87fed845eb13823edef8a", "CC BY-NC-SA 4.0", "1,440 clips"):
        assert fact in said
    assert list(at_home.iterdir()) == []
    assert "folder has no download" in refused("download", "folder", "--dry-run")


def test_several_corpora_are_shown_apart_and_what_is_left_out_is_counted(tmp_path: Path, at_home: Path) -> None:
    for number, name in enumerate(("emodb/03a01La.wav", "emodb/03a01Fa.wav", "tess/OAF_back_sad.wav")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.random.default_rng(number).normal(0, 0.1, 8000), 16_000)
    assert "data.partial: true" in refused("prepare", "emodb+tess", "-d", tmp_path)
    said = done("prepare", "emodb+tess", "-d", tmp_path, "--partial")
    assert "emodb: 1 clips left out, whose emotion has no place among the labels (boredom 1)" in said
    assert "emodb+tess-manifest.csv: 2 clips" in said
    assert [row.split()[0] for row in said.splitlines() if row.startswith(("  emodb ", "  tess "))] == ["emodb", "tess"]
    rows = [row.split() for row in done("stats", "emodb+tess", "-d", tmp_path).splitlines() if row.strip()]
    assert rows[0] == ["corpus", "clips", "speakers", "hours", "median", "s", "happy", "sad"]
    assert rows[2] == ["emodb", "1", "1", "0.00", "0.5", "1", "0"]
    assert rows[4] == ["all", "2", "2", "0.00", "0.5", "1", "1"]
    assert "boredom" in done("stats", "emodb+tess", "-d", tmp_path, "--labels", "happy,boredom")
    done("prepare", "emodb", "-d", tmp_path, "--partial", "--labels", "happy,boredom", "-o", "two.csv")
    assert Manifest.read("two.csv").labels == ("happy", "boredom")
    assert "shards.json: 2 clips in 2 shards" in done("shard", "two.csv", "-o", "shards", "--shard-mb", 0.001)
    assert "all" not in done("stats", "shards/shards.json")
    assert "leave-one-corpus-out needs" in refused(
        "split", done_manifest(tmp_path, "tess"), "-p", "leave-one-corpus-out"
    )


def done_manifest(root: Path, corpus: str) -> str:
    done("prepare", corpus, "-d", root, "--partial")
    return f"{corpus}-manifest.csv"


def test_the_list_names_every_corpus_and_protocol() -> None:
    said = done("list")
    for name in (*corpus_names(), *protocols()):
        assert name in said


@pytest.mark.parametrize("command", ["download", "prepare", "split", "audit", "list"])
def test_every_help_shows_a_command_to_copy(command: str) -> None:
    assert f"vocaffect data {command}" in done(command, "--help")
