"""Readers: what file names, folders and tables mean, and what they say when they do not."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocaffect.audio import AudioError
from vocaffect.corpora import Corpus, CorpusError, Entry, corpus_names, find_clips, get_corpus, prepare, register_corpus
from vocaffect.corpora.own import Table
from vocaffect.corpora.prepare import resolve_corpus
from vocaffect.errors import VocaffectError


def speak(path: Path, seed: int = 0, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-3000, 3000, rate // 4).astype(np.int16)
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def ravdess(tmp_path: Path) -> Path:
    speak(tmp_path / "ravdess" / "Actor_01" / "03-01-06-02-01-02-01.wav", 1)
    speak(tmp_path / "ravdess" / "Actor_24" / "03-01-08-01-02-01-24.flac", 2, 48_000)
    return tmp_path


def test_ravdess_names_mean_what_its_paper_says(ravdess: Path) -> None:
    first, second = prepare("ravdess", ravdess, partial=True)
    assert first.path == "ravdess/Actor_01/03-01-06-02-01-02-01.wav"
    assert (first.speaker, first.sex, first.emotion) == ("ravdess-01", "male", "fearful")
    assert (first.intensity, first.sentence) == ("strong", "Kids are talking by the door")
    assert (second.speaker, second.sex, second.emotion) == ("ravdess-24", "female", "surprised")
    assert (second.intensity, second.sentence) == ("normal", "Dogs are sitting by the door")
    samples = soundfile.read(ravdess / second.path, dtype="int16")[0]
    assert second.sha256 == hashlib.sha256(samples.tobytes()).hexdigest()
    assert (first.duration_s, second.duration_s, second.corpus) == (0.25, 0.25, "ravdess")


def test_ravdess_is_found_without_its_own_folder(ravdess: Path) -> None:
    paths = [utterance.path for utterance in prepare("ravdess", ravdess / "ravdess", partial=True)]
    assert paths == ["Actor_01/03-01-06-02-01-02-01.wav", "Actor_24/03-01-08-01-02-01-24.flac"]


def test_ravdess_passes_over_copies_songs_and_hidden_files(ravdess: Path) -> None:
    speak(ravdess / "ravdess" / "copy" / "Actor_01" / "03-01-06-02-01-02-01.wav", 1)
    speak(ravdess / "ravdess" / "Actor_01" / "03-02-06-02-01-02-01.wav", 3)
    (ravdess / "ravdess" / "Actor_01" / "._03-01-05-02-01-02-01.wav").write_bytes(b"\0")
    assert len(prepare("ravdess", ravdess, partial=True)) == 2


def test_a_corpus_that_lacks_clips_says_how_many(ravdess: Path) -> None:
    with pytest.raises(CorpusError, match=r"2 clips of ravdess .* has 1440: .*--partial"):
        prepare("ravdess", ravdess)


def test_a_code_that_ravdess_does_not_have(ravdess: Path) -> None:
    speak(ravdess / "ravdess" / "Actor_01" / "03-01-09-01-01-01-01.wav")
    with pytest.raises(CorpusError, match="code '09', unknown to RAVDESS"):
        prepare("ravdess", ravdess, partial=True)


def test_folders_are_labels_and_then_speakers(tmp_path: Path) -> None:
    speak(tmp_path / "happy" / "a.wav")
    speak(tmp_path / "Anger" / "ben" / "b.ogg")
    assert [(u.emotion, u.speaker, u.corpus) for u in prepare("folder", tmp_path)] == [
        ("angry", "folder-ben", "folder"),
        ("happy", "", "folder"),
    ]


def test_a_folder_of_no_emotion_offers_the_nearest(tmp_path: Path) -> None:
    speak(tmp_path / "hapy" / "a.wav")
    with pytest.raises(CorpusError, match=r"hapy is named after no emotion: .*did you mean 'happy'"):
        prepare("folder", tmp_path)


def test_a_clip_in_no_folder_says_where_to_move_it(tmp_path: Path) -> None:
    speak(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match="lies in no label's folder: move it"):
        prepare("folder", tmp_path)


def test_a_table_of_your_own(tmp_path: Path) -> None:
    speak(tmp_path / "clips" / "one.wav")
    table = tmp_path / "mine.csv"
    table.write_text('emotion,path,speaker,sex,sentence,mood\njoy,clips/one.wav, anna ,F,"hello,\n you",x\n')
    for manifest in (prepare(str(table), tmp_path), prepare(Table(table), tmp_path)):
        (only,) = manifest
        assert (only.emotion, only.speaker, only.sex) == ("happy", "csv-anna", "female")
        assert (only.sentence, only.intensity, only.path) == ("hello, you", "", "clips/one.wav")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,emotion\na.wav,happy\n", r"lacks the column speaker \(found: path, emotion\)"),
        ("", r"lacks the columns path, emotion, speaker \(found: none\)"),
        ("path,emotion,speaker\na.wav,hapy,x\n", r"line 2 of .*'hapy' is not known; did you mean 'happy'"),
        ("path,emotion,speaker\na.wav,happy,x\nb.wav,sad,x\n", r"line 3 of .*there is no file .*b\.wav"),
        ("path,emotion,speaker\n,happy,x\n", "line 2 of .*there is no file"),
        ("path,emotion,speaker,sex\na.wav,happy,x,yes\n", "the sex 'yes' is not known"),
        ("path,emotion,speaker\n", "no clips"),
        ("\udcff\udcfe", "no CSV text in UTF-8"),
    ],
)
def test_a_bad_table_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    speak(tmp_path / "a.wav")
    table = tmp_path / "mine.csv"
    table.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CorpusError, match=sentence):
        prepare(str(table), tmp_path)


def test_clips_outside_the_root_are_refused(tmp_path: Path) -> None:
    speak(tmp_path / "outside.wav")
    (tmp_path / "inside").mkdir()
    table = tmp_path / "inside" / "mine.csv"
    table.write_text("path,emotion,speaker\n../outside.wav,happy,x\n")
    with pytest.raises(CorpusError, match="pass a folder that holds all clips as --data-root"):
        prepare(str(table), tmp_path / "inside")


class Mine(Corpus):
    """A corpus of one's own: the emotion is in front of the file name."""

    name = "flat"

    def collect_files(self, root: Path) -> Iterable[Entry]:
        for path in find_clips(root):
            yield Entry(path.relative_to(root), path.stem.split("_")[0], speaker="s1")


def flat(root: Path) -> Iterable[Entry]:
    return Mine().collect_files(root)


@pytest.mark.parametrize("reader", [Mine, Mine(), flat])
def test_a_reader_of_your_own_is_one_class_or_function_away(tmp_path: Path, reader: type[Corpus]) -> None:
    speak(tmp_path / "sad_1.wav")
    speak(tmp_path / "boredom_1.wav")
    (only,) = prepare(reader, tmp_path)
    assert (only.path, only.emotion, only.speaker) == ("sad_1.wav", "sad", "flat-s1")


def test_a_registered_reader_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocaffect.corpora.base._CORPORA", {})
    register_corpus("mine")(flat)
    speak(tmp_path / "mine" / "sad_1.wav")
    assert corpus_names() == ("mine",)
    assert [u.path for u in prepare("mine", tmp_path)] == ["mine/sad_1.wav"]


def test_a_reader_in_a_file_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(
        "from vocaffect.corpora import Corpus, Entry, find_clips\n"
        "class Mine(Corpus):\n"
        "    def collect_files(self, root):\n"
        "        return [Entry(path, 'happy', 'x') for path in find_clips(root)]\n"
    )
    speak(tmp_path / "a.wav")
    (only,) = prepare(f"{tmp_path}/reader.py:Mine", tmp_path)
    assert (only.speaker, only.corpus) == ("mine-x", "mine")
    with pytest.raises(CorpusError, match="defines no Other"):
        prepare(f"{tmp_path}/reader.py:Other", tmp_path)
    with pytest.raises(CorpusError, match="there is no reader"):
        prepare(f"{tmp_path}/gone.py:Mine", tmp_path)


def test_unusable_clips_stop_everything_or_are_left_out(tmp_path: Path) -> None:
    speak(tmp_path / "happy" / "good.wav")
    (tmp_path / "happy" / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "happy" / "nan.wav", np.full(4000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(CorpusError, match=r"2 of 3 clips cannot be used; the first: .*nan\.wav .*--skip-broken"):
        prepare("folder", tmp_path)
    heard: list[tuple[int, int]] = []
    kept = prepare("folder", tmp_path, skip_broken=True, progress=lambda done, total: heard.append((done, total)))
    assert [u.path for u in kept] == ["happy/good.wav"]
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_nothing_but_unusable_clips(tmp_path: Path) -> None:
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "text.wav").write_text("no sound")
    with pytest.raises(CorpusError, match="1 of 1 clips"):
        prepare("folder", tmp_path, skip_broken=True)


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="corpus 'ravdes' is not known; did you mean 'ravdess'"):
        prepare("ravdes", tmp_path)
    with pytest.raises(CorpusError, match=r"there is no folder .*gone: pass .*--data-root"):
        prepare("ravdess", tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"no clips of ravdess .*vocaffect data download ravdess"):
        prepare("ravdess", tmp_path)


@pytest.mark.parametrize("name", corpus_names())
def test_every_corpus_says_what_it_is(name: str) -> None:
    corpus = get_corpus(name)
    assert corpus.name == name
    assert corpus.title
    assert corpus.licence
    if corpus.archive is not None:
        assert corpus.num_clips
        assert corpus.citation
        assert corpus.homepage.startswith("https://")
        assert corpus.archive.url.startswith("https://")
        assert len(corpus.archive.md5) == 32


def data_root(name: str) -> Path:
    root = os.environ.get("VOCAFFECT_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"needs the corpus {name} in the folder that VOCAFFECT_DATA names")
    return Path(root)


def test_the_real_ravdess_is_whole() -> None:
    manifest = prepare("ravdess", data_root("ravdess"))
    counts = Counter(utterance.emotion for utterance in manifest)
    assert counts == {emotion: 96 if emotion == "neutral" else 192 for emotion in counts}
    assert len(counts) == 8
    assert Counter(utterance.speaker for utterance in manifest) == {f"ravdess-{n:02}": 60 for n in range(1, 25)}
    assert sum(utterance.sex == "female" for utterance in manifest) == 720
    assert sum(utterance.duration_s for utterance in manifest) / 3600 == pytest.approx(1.48, abs=0.005)
    repeated = [sha256 for sha256, n in Counter(u.sha256 for u in manifest).items() if n > 1]
    pair = [Path(utterance.path).stem for utterance in manifest if utterance.sha256 in repeated]
    assert pair == ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]


def test_errors_are_the_users_to_mend() -> None:
    assert issubclass(CorpusError, VocaffectError)
    assert issubclass(AudioError, VocaffectError)
    assert isinstance(resolve_corpus("x.CSV"), Table)
