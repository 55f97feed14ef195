"""The table of clips: what is written is what is read, and its hash tells content from circumstance."""

import dataclasses
import random
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocaffect.labels import EMOTIONS
from vocaffect.manifest import COLUMNS, Manifest, ManifestError, Utterance

TEXT = st.text(string.printable[:95] + "äß語", max_size=12)
NAME = st.text(string.ascii_letters + string.digits + " ,'\"#;é-", min_size=1, max_size=12).filter(str.strip)
UTTERANCES = st.builds(
    Utterance,
    path=st.lists(NAME, min_size=1, max_size=3).map("/".join),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    duration_s=st.floats(0.025, 3600),
    speaker=TEXT,
    sex=st.sampled_from(["female", "male", ""]),
    emotion=st.sampled_from(EMOTIONS),
    intensity=TEXT,
    sentence=TEXT,
    corpus=TEXT,
)
MANIFESTS = st.lists(UTTERANCES, min_size=1, max_size=5, unique_by=lambda utterance: utterance.path)


def utterance(path: str = "happy/a.wav", **changes: object) -> Utterance:
    plain = Utterance(path, "0" * 64, 1.5, "own-anna", "female", "happy", "", "", "own")
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@settings(deadline=None, max_examples=60)
@given(utterances=MANIFESTS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, utterances: list[Utterance]
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    manifest = Manifest(folder / "clips", tuple(utterances))
    manifest.write(folder / f"m{suffix}")
    read = Manifest.read(folder / f"m{suffix}")
    assert read.utterances == manifest.utterances
    assert read.hash == manifest.hash
    assert read.root.resolve() == manifest.root.resolve()


@given(utterances=MANIFESTS, seed=st.integers())
def test_order_root_and_paths_do_not_change_the_hash(utterances: list[Utterance], seed: int) -> None:
    moved = [dataclasses.replace(one, path=f"elsewhere/{one.path}") for one in utterances]
    random.Random(seed).shuffle(moved)
    assert Manifest(Path("a"), tuple(utterances)).hash == Manifest(Path("b"), tuple(moved)).hash


@given(first=UTTERANCES, second=UTTERANCES)
def test_any_other_content_changes_the_hash(first: Utterance, second: Utterance) -> None:
    same = dataclasses.replace(first, path="") == dataclasses.replace(second, path="")
    assert (Manifest(Path(), (first,)).hash == Manifest(Path(), (second,)).hash) == same


def test_a_repeated_row_counts() -> None:
    once, twice = [utterance("a.wav")], [utterance("a.wav"), utterance("b.wav")]
    assert Manifest(Path(), tuple(once)).hash != Manifest(Path(), tuple(twice)).hash


def test_select_by_mask_and_by_index() -> None:
    manifest = Manifest(Path(), tuple(utterance(f"{n}.wav") for n in range(5)))
    mask = np.array([False, True, False, True, False])
    assert [one.path for one in manifest.select(mask)] == ["1.wav", "3.wav"]
    assert manifest.select([1, 3]) == manifest.select(mask) == manifest.select_paths(["3.wav", "1.wav"])
    assert len(manifest.select([])) == 0


def test_a_split_of_other_clips_is_refused() -> None:
    with pytest.raises(ManifestError, match="1 clips of the split are not in the manifest"):
        Manifest(Path(), (utterance(),)).select_paths(["happy/a.wav", "happy/b.wav"])


def test_a_manifest_beside_its_clips_moves_with_them(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    Manifest(tmp_path / "old", (utterance(),)).write(tmp_path / "old" / "m.csv")
    (tmp_path / "old").rename(tmp_path / "new")
    read = Manifest.read(tmp_path / "new" / "m.csv")
    assert read.audio_path(read.utterances[0]) == tmp_path / "new" / "happy" / "a.wav"


def test_a_manifest_elsewhere_remembers_its_root_unless_told_otherwise(tmp_path: Path) -> None:
    Manifest(tmp_path / "clips", (utterance(),)).write(tmp_path / "work" / "m.csv")
    assert Manifest.read(tmp_path / "work" / "m.csv").root == tmp_path / "clips"
    assert Manifest.read(tmp_path / "work" / "m.csv", tmp_path / "moved").root == tmp_path / "moved"


def test_a_plain_table_without_the_first_line_is_a_manifest_too(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    Manifest(tmp_path, (utterance(),)).write(path)
    path.write_text(path.read_text().split("\n", 1)[1].replace("\n", "\r\n"))
    assert Manifest.read(path).utterances == (utterance(),)


def edited(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("happy/a.wav,", "../a.wav,", "not inside its root"),
        ("happy/a.wav,", "/a.wav,", "not inside its root"),
        (",happy,", ",hapy,", "row 1 of .*'hapy' is not known; did you mean 'happy'"),
        (",happy,", ",sad,", "do not match its hash"),
        ("1.5", "long", "row 1 .* no number as duration_s"),
        (",own\n", "\n", "too few or too many cells"),
        (",own\n", ",own,more\n", "too few or too many cells"),
        (",speaker,", ",talker,", "lacks the column speaker"),
        (",own\n", ',"own\n', "no CSV text"),
    ],
)
def test_bad_rows_are_refused_with_a_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    Manifest(tmp_path, (utterance(),)).write(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match=sentence):
        Manifest.read(edited(tmp_path / "m.csv", old, new))


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
@pytest.mark.parametrize("content", [b"", b"not a table", b"\xff\xfe\x00\x00" * 99])
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=name):
        Manifest.read(tmp_path / name)


def test_a_cut_manifest_is_refused(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path, tuple(utterance(f"{n}.wav", sentence=str(n)) for n in range(9)))
    manifest.write(tmp_path / "m.csv")
    lines = (tmp_path / "m.csv").read_text().splitlines(keepends=True)
    (tmp_path / "m.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ManifestError, match="cut short"):
        Manifest.read(tmp_path / "m.csv")


def test_a_missing_manifest_and_a_doubled_path(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there is no manifest"):
        Manifest.read(tmp_path / "gone.csv")
    with pytest.raises(ManifestError, match="twice"):
        Manifest(tmp_path, (utterance(), utterance()))


@pytest.mark.parametrize("cell", ["two\nlines", "bell\a", "\udcff"])
def test_cells_that_cannot_be_printed_are_refused(cell: str) -> None:
    with pytest.raises(ManifestError, match="cannot be printed"):
        Manifest(Path(), (utterance(sentence=cell),))


def test_the_columns_are_those_that_are_promised() -> None:
    promised = "path sha256 duration_s speaker sex emotion intensity sentence corpus"
    assert " ".join(COLUMNS) == promised
