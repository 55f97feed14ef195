"""Tables of what recognisers say about clips."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.server.voice import speech
from vocaffect.cli import build_app
from vocaffect.corpora import prepare
from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest, Utterance
from vocaffect.posteriors import Posteriors, average, hear
from vocaffect.recognizer import Decision, Recognizer
from vocaffect.voices import VoiceProfile

LABELS = ("neutral", "happy", "sad")


def utterance(path: str, sha256: str = "") -> Utterance:
    return Utterance(path, sha256, 1.0, "s", "", "happy", "", "", "c")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Four clips of a voice from a formula."""
    root = tmp_path_factory.mktemp("voices")
    for number, label in enumerate(("happy", "sad", "happy", "neutral")):
        (root / label / f"s{number}").mkdir(parents=True)
        clip = speech(0.3, 0.8 + 0.1 * number, 0.6)
        soundfile.write(root / label / f"s{number}" / "clip.wav", clip, 16_000, subtype="FLOAT")
    return prepare("folder", root)


class Counting(Recognizer):
    """Counts what it is asked, and tires of it."""

    asked, patience = 0, 1_000

    def decide(self, samples: NDArray[np.float32], voice: VoiceProfile | None = None) -> Decision:
        self.asked += 1
        if self.asked > self.patience:
            raise KeyboardInterrupt
        return super().decide(samples, voice)


def test_a_recogniser_says_of_a_clip_what_recognize_prints(toy_bundle: Path, manifest: Manifest) -> None:
    table = hear(Recognizer.load(toy_bundle), manifest)
    for clip in manifest:
        command = ["recognize", str(manifest.audio_path(clip)), "--json", "--recognizer", str(toy_bundle)]
        printed = json.loads(CliRunner().invoke(build_app(), command).stdout)["posterior"]
        [found] = table.of([clip], LABELS)
        assert printed == {label: round(float(p), 6) for label, p in zip(LABELS, found, strict=True)}


def test_what_was_said_once_is_not_asked_again(toy_bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    first, again, broken, tired, rested = (Counting.load(toy_bundle) for _ in range(5))
    tired.patience = 2
    table = hear(first, manifest, tmp_path)
    np.testing.assert_array_equal(hear(again, manifest, tmp_path).values, table.values)
    [kept] = tmp_path.iterdir()
    assert kept.stem in first.card.digest
    kept.write_bytes(kept.read_bytes()[:-40])
    np.testing.assert_array_equal(hear(broken, manifest, tmp_path).values, table.values)
    kept.unlink()
    with pytest.raises(KeyboardInterrupt):
        hear(tired, manifest, tmp_path)
    np.testing.assert_array_equal(hear(rested, manifest, tmp_path).values, table.values)
    assert [r.asked for r in (first, again, broken, rested)] == [4, 0, 4, 2]


@settings(max_examples=20, deadline=None)
@given(
    raw=arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(2**-10, 1, width=32)),
    suffix=st.sampled_from([".npz", ".csv", ".parquet"]),
    voices=st.none() | st.frozensets(st.text(max_size=5)),
)
def test_a_table_comes_back_from_a_file(
    raw: NDArray[np.float32], suffix: str, voices: frozenset[str] | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = raw / raw.sum(axis=1, keepdims=True)
    paths = tuple(f"a, b/{number}.wav" for number in range(len(raw)))
    table = Posteriors(LABELS, paths, ("ab",) * len(raw), values, ("sha256:1", "x"), voices)
    path = tmp_path_factory.mktemp("tables") / f"table{suffix}"
    table.write(path)
    back = Posteriors.read(path)
    np.testing.assert_array_equal(back.values, values)
    assert (back.labels, back.paths, back.hashes) == (table.labels, table.paths, table.hashes)
    assert (back.teachers, back.voices) == (table.teachers, table.voices)


def test_a_table_by_somebody_else_needs_a_path_or_a_hash_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("sad,path,neutral\n0.25,x.wav,0.75\n")
    table = Posteriors.read(path)
    found = table.of([utterance("x.wav", "12"), utterance("y.wav")], ("neutral", "sad"))
    np.testing.assert_array_equal(found, [[0.75, 0.25], [0, 0]])
    np.savez(tmp_path / "mine.npz", labels=["sad", "happy"], sha256=["12"], posteriors=[[0.5, 0.5]])
    assert Posteriors.read(tmp_path / "mine.npz").of([utterance("x.wav", "12")], ("happy",)).tolist() == [[1.0]]


def test_labels_that_are_not_asked_for_give_their_share_to_the_others() -> None:
    values = np.array([[0.5, 0.25, 0.25], [0.9999, 0.0001, 0.0]], np.float32)
    table = Posteriors(LABELS, ("a", "b"), ("", ""), values)
    np.testing.assert_allclose(table.over(("sad", "happy")), [[0.5, 0.5], [0.0, 0.0]])
    with pytest.raises(VocaffectError, match=r"does not know angry \(it knows neutral, happy, sad\)"):
        table.over(("sad", "angry"))


def test_the_average_is_over_those_who_say_something() -> None:
    one, other = np.array([[0.2, 0.8], [0, 0], [0, 0]], np.float32), np.array([[0.6, 0.4], [1, 0], [0, 0]], np.float32)
    np.testing.assert_allclose(average([one, other]), [[0.4, 0.6], [1.0, 0.0], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "path,happy,sad\nx.wav,0.5,0.6\n", "x.wav does not sum to 1"),
        ("a.csv", "path,happy,sad\nx.wav,1.5,-0.5\n", "does not sum to 1, or is negative"),
        ("a.csv", "path,happy,sad\nx.wav,nan,0.5\n", "does not sum to 1"),
        ("a.csv", "path,happy,speaker\nx.wav,1.0,anna\n", "could not convert"),
        ("a.csv", "path,happy,sad\nx.wav,1.0\n", "does not sum to 1"),
        ("a.csv", "happy,sad\n0.5,0.5\n", "neither a column path nor sha256"),
        ("a.csv", "", "no rows"),
        ("a.csv", "\x00\xff", "a.csv"),
        ("a.npz", "nothing", "holds no posteriors"),
        ("a.parquet", "nothing", "holds no posteriors"),
        ("a.txt", "nothing", "let it end in .npz, .csv, .parquet"),
    ],
)
def test_what_is_no_table(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(VocaffectError, match=message):
        Posteriors.read(tmp_path / name)


def test_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(VocaffectError, match="make them with 'vocaffect posteriors'"):
        Posteriors.read(tmp_path / "none.npz")
    with pytest.raises(VocaffectError, match="as many columns"):
        Posteriors(("a",), ("x",), ("y",), np.ones((1, 2), np.float32))
    with pytest.raises(VocaffectError, match="each label once"):
        Posteriors(("a", "a"), ("x",), ("y",), np.full((1, 2), 0.5, np.float32))
