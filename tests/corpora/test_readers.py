"""What the official names of each corpus mean, on folders laid out as the corpora are published."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest
import soundfile

from vocaffect.corpora import CorpusError, Entry, corpus_names, get_corpus, prepare
from vocaffect.labels import emotion_of

PUBLISHED = [name for name in corpus_names() if get_corpus(name).layout]


def speak(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).integers(-3000, 3000, 1600).astype(np.int16), 16_000)
    return path


def touch(root: Path, names: Iterable[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def evaluate(root: Path, session: int, dialogue: str, **labels: str) -> None:
    """An evaluation file of IEMOCAP, with what stands between its labels."""
    path = root / f"Session{session}/dialog/EmoEvaluation/{dialogue}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"[6.2901 - 8.2357]\t{dialogue}_{turn}\t{code}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n"
        for turn, code in labels.items()
    ]
    path.write_text("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "\n".join(lines))


def tabulate(path: Path, *rows: str) -> None:
    """A table of MELD; rows are Utterance, Speaker, Emotion, Dialogue_ID, Utterance_ID."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "Sr No.,Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID"
    path.write_text("\n".join([head, *(f"{number},{row}" for number, row in enumerate(rows, 1))]), encoding="utf-8")


# corpus, path below its folder: speaker, sex, emotion, intensity, sentence
NAMES: list[tuple[str, str, tuple[str, str, str, str, str]]] = [
    (
        "ravdess-song",
        "Actor_04/03-02-06-02-02-01-04.wav",
        ("ravdess-04", "female", "fearful", "strong", "Dogs are sitting by the door"),
    ),
    ("tess", "YAF_fear/YAF_back_fear.wav", ("tess-YAF", "female", "fearful", "", "Say the word back")),
    (
        "tess",
        "OAF_Pleasant_surprise/OAF_jar_ps.ogg",
        ("tess-OAF", "female", "surprised", "", "Say the word jar"),
    ),
    ("tess", "OAF_neutral/OA_bite_neutral.wav", ("tess-OAF", "female", "neutral", "", "Say the word bite")),
    ("emodb", "wav/03a02Wb.wav", ("emodb-03", "male", "angry", "", "Das will sie am Mittwoch abgeben.")),
    (
        "emodb",
        "16b10Tb.flac",
        ("emodb-16", "female", "sad", "", "Die wird auf dem Platz sein, wo wir sie immer hinlegen."),
    ),
    ("emodb", "wav/08a01Ab.wav", ("emodb-08", "female", "fearful", "", "Der Lappen liegt auf dem Eisschrank.")),
    ("nemo", "samples/MK0_happiness_17.wav", ("nemo-MK0", "female", "happy", "", "17")),
    ("nemo", "samples/KS0_surprised_3.ogg", ("nemo-KS0", "male", "surprised", "", "3")),
    ("ased", "02Fearful/f2-05-01-02-38.wav", ("ased-38", "male", "fearful", "", "f2-05")),
    ("ased", "04Sad/S4-04-02-01-29.wav", ("ased-29", "female", "sad", "", "s4-04")),
    ("cremad", "AudioWAV/1002_IEO_ANG_LO.wav", ("cremad-1002", "female", "angry", "low", "It's eleven o'clock")),
    ("cremad", "AudioWAV/1091_TSI_DIS_XX.wav", ("cremad-1091", "female", "disgust", "", "The surface is slick")),
    (
        "cremad",
        "AudioWAV/1040_ITH_SAD_X.wav",
        ("cremad-1040", "male", "sad", "", "I think I have a doctor's appointment"),
    ),
    ("savee", "AudioData/JK/su05.wav", ("savee-JK", "male", "surprised", "", "su05")),
    ("savee", "AudioData/DC/sa01.wav", ("savee-DC", "male", "sad", "", "sa01")),
    ("savee", "ALL/KL_n30.wav", ("savee-KL", "male", "neutral", "", "n30")),
    ("urdu", "Angry/SM4_F48_A0100.wav", ("urdu-SM4", "male", "angry", "", "")),
    ("urdu", "Sad/SF10_F2_S02.wav", ("urdu-SF10", "female", "sad", "", "")),
    ("esd", "0011/Surprise/0011_001401.wav", ("esd-0011", "male", "surprised", "", "en-001")),
    ("esd", "Emotion Speech Dataset/0010/Sad/test/0010_001400.wav", ("esd-0010", "male", "sad", "", "zh-350")),
    ("esd", "0019/Neutral/evaluation/0019_000002.wav", ("esd-0019", "female", "neutral", "", "en-002")),
]


@pytest.mark.parametrize(("corpus", "path", "meaning"), NAMES, ids=[path for _, path, _ in NAMES])
def test_names_mean_what_their_publishers_say(
    tmp_path: Path, corpus: str, path: str, meaning: tuple[str, str, str, str, str]
) -> None:
    speak(tmp_path / corpus / path)
    (only,) = prepare(corpus, tmp_path, partial=True)
    assert (only.speaker, only.sex, only.emotion, only.intensity, only.sentence) == meaning
    assert (only.path, only.corpus) == (f"{corpus}/{path}", corpus)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layout_that_a_corpus_names_is_the_one_it_reads(tmp_path: Path, name: str) -> None:
    corpus = get_corpus(name)
    touch(tmp_path, [corpus.layout.split(" ")[0]])
    evaluate(tmp_path / "iemocap", 1, "Ses01F_impro01", F000="neu")
    tabulate(tmp_path / "meld" / "train_sent_emo.csv", "Hi,Joey,joy,0,0")
    assert len(corpus.collect(tmp_path)) == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_folder_of_another_shape_is_told_the_layout_and_where_to_get_the_corpus(tmp_path: Path, name: str) -> None:
    speak(tmp_path / name / "happy" / "a.wav")
    corpus = get_corpus(name)
    with pytest.raises(CorpusError) as caught:
        prepare(name, tmp_path)
    assert corpus.layout in str(caught.value)
    assert corpus.licence
    assert corpus.citation
    assert (corpus.access or f"vocaffect data download {name}") in str(caught.value)


def test_iemocap_says_whom_to_ask() -> None:
    assert get_corpus("iemocap").access.endswith("ask for it at https://sail.usc.edu/iemocap/iemocap_release.htm")


def two_letters(count: int) -> Iterator[str]:
    return (f"{one}{two}" for (one, two), _ in zip(product(ascii_lowercase, repeat=2), range(count), strict=False))


def song_names() -> Iterator[str]:
    for actor in (number for number in range(1, 25) if number != 18):
        for emotion, intensity, sentence, take in product(range(1, 7), (1, 2), (1, 2), (1, 2)):
            if (emotion, intensity) != (1, 2):
                yield f"Actor_{actor:02}/03-02-{emotion:02}-{intensity:02}-{sentence:02}-{take:02}-{actor:02}.wav"


def tess_names() -> Iterator[str]:
    for talker, word, emotion in product(
        ("OAF", "YAF"), two_letters(200), ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    ):
        yield f"{talker}_{emotion}/{talker}_{word}_{emotion}.wav"


def savee_names() -> Iterator[str]:
    for speaker, emotion in product(("DC", "JE", "JK", "KL"), ("a", "d", "f", "h", "n", "sa", "su")):
        for sentence in range(1, 31 if emotion == "n" else 16):
            yield f"AudioData/{speaker}/{emotion}{sentence:02}.wav"


@pytest.mark.parametrize(
    ("corpus", "names", "speakers", "emotions"),
    [("ravdess-song", song_names, 23, 6), ("tess", tess_names, 2, 7), ("savee", savee_names, 4, 7)],
)
def test_a_whole_corpus_by_its_names(
    tmp_path: Path, corpus: str, names: Callable[[], Iterator[str]], speakers: int, emotions: int
) -> None:
    touch(tmp_path / corpus, names())
    entries = get_corpus(corpus).collect(tmp_path)
    assert len(entries) == get_corpus(corpus).num_clips
    assert len({entry.speaker for entry in entries}) == speakers
    assert len({emotion_of(entry.emotion) for entry in entries} - {None}) == emotions


def test_of_copies_the_lossless_and_the_shallowest_count(tmp_path: Path) -> None:
    touch(tmp_path / "cremad", ["AudioMP3/1001_IEO_ANG_HI.mp3", "deep/AudioWAV/1001_IEO_ANG_HI.wav"])
    touch(tmp_path / "tess", ["a/OAF_x_sad.wav", "a/again/OAF_x_sad.wav", "a/._OAF_x_sad.wav", "OA_y_sad.wav"])
    assert paths(tmp_path, "cremad") == ["deep/AudioWAV/1001_IEO_ANG_HI.wav"]
    assert paths(tmp_path, "tess") == ["OA_y_sad.wav", "a/OAF_x_sad.wav"]


def paths(root: Path, corpus: str) -> list[str]:
    return [entry.path.relative_to(root.resolve() / corpus).as_posix() for entry in get_corpus(corpus).collect(root)]


def test_a_speaker_of_ased_has_the_sex_that_most_clips_say(tmp_path: Path) -> None:
    touch(tmp_path / "ased", ["n1-01-01-01-09.wav", "n1-02-01-01-09.wav", "h3-01-01-02-09.wav", "h3-01-01-02-10.wav"])
    entries = get_corpus("ased").collect(tmp_path)
    assert {(entry.speaker, entry.sex) for entry in entries} == {("09", "female"), ("10", "male")}


def test_cremad_has_as_many_women_as_its_paper_says(tmp_path: Path) -> None:
    touch(tmp_path / "cremad", (f"{actor}_IEO_NEU_XX.wav" for actor in range(1001, 1092)))
    assert Counter(entry.sex for entry in get_corpus("cremad").collect(tmp_path)) == {"female": 43, "male": 48}


def test_esd_has_as_many_women_as_men_in_either_language(tmp_path: Path) -> None:
    touch(tmp_path / "esd", (f"{speaker:04}/Sad/{speaker:04}_001051.wav" for speaker in range(1, 21)))
    sexes = Counter((entry.sentence, entry.sex) for entry in get_corpus("esd").collect(tmp_path))
    assert sexes == {(sentence, sex): 5 for sentence in ("en-001", "zh-001") for sex in ("female", "male")}


@pytest.mark.parametrize("folder", ["ravdess", "ravdess-song", "."])
def test_songs_are_found_beside_the_speech_or_apart(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder, ["Actor_01/03-02-01-01-01-01-01.wav", "Actor_01/03-01-01-01-01-01-01.wav"])
    assert [entry.path.stem for entry in get_corpus("ravdess-song").collect(tmp_path)] == ["03-02-01-01-01-01-01"]


def iemocap(root: Path) -> None:
    folder = root / "iemocap" / "IEMOCAP_full_release"
    turns = {"F000": "neu", "M001": "exc", "M002": "fru", "F003": "xxx", "F004": "ang"}
    for number, turn in enumerate(turns):
        speak(folder / f"Session2/sentences/wav/Ses02M_script01_1/Ses02M_script01_1_{turn}.wav", number)
    touch(folder, ["Session2/dialog/wav/Ses02M_script01_1.wav", "Session2/dialog/EmoEvaluation/Categorical/x.txt"])
    evaluate(folder, 2, "Ses02M_script01_1", **turns)
    (folder / "Session2/dialog/EmoEvaluation/._Ses02M_script01_1.txt").write_bytes(b"\x00\xff")


def test_iemocap_is_labelled_by_its_evaluations(tmp_path: Path) -> None:
    iemocap(tmp_path)
    dropped: dict[str, dict[str, int]] = {}
    manifest = prepare("iemocap", tmp_path, partial=True, dropped=lambda name, words: dropped.update({name: {**words}}))
    assert [(clip.speaker, clip.sex, clip.emotion) for clip in manifest] == [
        ("iemocap-02F", "female", "neutral"),
        ("iemocap-02F", "female", "angry"),
        ("iemocap-02M", "male", "happy"),
    ]
    assert dropped == {"iemocap": {"frustration": 1, "no agreement": 1}}


def test_iemocap_without_its_evaluations_says_where_they_lie(tmp_path: Path) -> None:
    touch(tmp_path / "iemocap", ["Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M011.wav"])
    with pytest.raises(CorpusError, match=r"Ses01F_impro01_M011\.wav.*EmoEvaluation/Ses01F_impro01\.txt"):
        prepare("iemocap", tmp_path)


def test_meld_is_labelled_by_the_table_of_its_side(tmp_path: Path) -> None:
    root = tmp_path / "meld" / "MELD.Raw"
    tabulate(root / "train_sent_emo.csv", '"Oh, he\x92s\n lost it",Phoebe,sadness,0,0', "What?,All,joy,125,3")
    tabulate(root / "test_sent_emo.csv", "Why?,The Waiter,surprise,0,0", "Lost,Joey,anger,9,9")
    speak(root / "train" / "train_splits" / "dia0_utt0.wav")
    speak(root / "output_repeated_splits_test" / "dia0_utt0.flac")
    touch(root, ["train/train_splits/dia125_utt3.mp4", "output_repeated_splits_test/dia7_utt7.mp4"])
    touch(root, ["output_repeated_splits_test/final_videos_testdia0_utt0.mp4"])
    assert [(u.speaker, u.sex, u.emotion, u.sentence) for u in prepare("meld", tmp_path, partial=True)] == [
        ("meld-The Waiter", "", "surprised", "Why?"),
        ("meld-Phoebe", "female", "sad", "Oh, hes lost it"),
    ]


def test_meld_without_a_whole_table_says_so(tmp_path: Path) -> None:
    touch(tmp_path / "meld", ["dev_splits_complete/dia0_utt0.mp4"])
    with pytest.raises(CorpusError, match=r"there is no dev_sent_emo\.csv under .*beside its clips"):
        prepare("meld", tmp_path)
    (tmp_path / "meld" / "dev_sent_emo.csv").write_text("Utterance,Emotion,Dialogue_ID,Utterance_ID\nHi,joy,0,0\n")
    with pytest.raises(CorpusError, match=r"dev_sent_emo\.csv lacks the columns Speaker"):
        prepare("meld", tmp_path)


def real(name: str) -> tuple[Path, list[Entry], dict[str, dict[str, str]]]:
    """A corpus on this machine: its folder, what its reader finds, and an independent table of its clips by path."""
    root = Path(os.environ.get("VOCAFFECT_DATA") or "nowhere").resolve()
    if not (root / name / "clips.csv").is_file():
        pytest.skip(f"needs the corpus {name} and its clips.csv in the folder that VOCAFFECT_DATA names")
    with (root / name / "clips.csv").open(encoding="utf-8", newline="") as file:
        table = {row["path"]: row for row in csv.DictReader(file)}
    return root / name, get_corpus(name).collect(root), table


@pytest.mark.parametrize(
    ("name", "clips", "women", "men"),
    [
        ("ravdess", 1440, 12, 12),
        ("tess", 2800, 2, 0),
        ("emodb", 488, 5, 5),
        ("nemo", 4481, 4, 5),
        ("ased", 2474, 25, 40),
    ],
)
def test_real_corpora_are_read_as_another_table_of_them_says(name: str, clips: int, women: int, men: int) -> None:
    folder, entries, table = real(name)
    assert len(entries) == len(table) == clips
    for entry in entries:
        row = table[entry.path.relative_to(folder).as_posix()]
        assert entry.speaker == row["speaker"]
        assert entry.sex == row["gender"] or name == "ased"
        assert emotion_of(entry.emotion) == emotion_of(row["emotion"])
    voices = {entry.speaker: entry.sex for entry in entries}
    assert Counter(voices.values()) == Counter(female=women, male=men)


def test_the_real_emodb_lacks_clips_and_boredom_is_dropped() -> None:
    folder, entries, _ = real("emodb")
    with pytest.raises(CorpusError, match=r"488 clips of emodb .* has 535: .*--partial"):
        prepare("emodb", folder.parent)
    assert Counter(entry.emotion for entry in entries if emotion_of(entry.emotion) is None) == {"boredom": 63}
