"""Splits keep voices and repeated audio on one side, and the auditor finds whoever does not."""

import dataclasses
import json
import os
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from vocaffect.audio import measure
from vocaffect.corpora import prepare
from vocaffect.labels import EMOTIONS
from vocaffect.manifest import Manifest, ManifestError, Utterance
from vocaffect.splits import SIDES, Audit, Split, SplitError, audit, make_split, num_folds, protocols


def clip(path: str, speaker: str = "own-a", sha256: str = "", **changes: str) -> Utterance:
    plain = Utterance(path, sha256 or path, 1.0, speaker, "", "happy", "", "", "own")
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def ravdess_like(suffix: str = ".wav", folder: str = "ravdess/", num_actors: int = 24) -> Manifest:
    """The 1,440 clips of RAVDESS by name alone, with their one repeated pair."""
    clips = []
    for actor in range(1, num_actors + 1):
        for number in range(60):
            name = f"{folder}Actor_{actor:02}/{number:02}"
            sha256 = f"{actor} {min(number, 58) if actor == 7 else number}"
            sex = "male" if actor % 2 else "female"
            emotion = EMOTIONS[0] if number < 4 else EMOTIONS[1 + (number - 4) // 8]
            clips.append(clip(name + suffix, f"ravdess-{actor:02}", sha256, sex=sex, emotion=emotion))
    return Manifest(Path(), tuple(clips))


RAVDESS = ravdess_like()
SPEAKER_FOLDS = [
    (name, fold)
    for name in ("ravdess-emobox6", "ravdess-luna5", "speaker-kfold", "all")
    for fold in range(1, num_folds(name) + 1)
]


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Six to twelve speakers, uneven in clips, some of whose clips sound the same as another's."""
    clips = []
    for speaker in range(draw(st.integers(6, 12))):
        sex = draw(st.sampled_from(["female", "male", ""]))
        for number in range(draw(st.integers(1, 6))):
            path = f"{speaker}/{number}.wav"
            copy = draw(st.integers(0, 40))
            emotion = draw(st.sampled_from(EMOTIONS[:4]))
            sha256 = f"copy {copy}" if copy < 3 else path
            clips.append(clip(path, f"own-{speaker}", sha256, sex=sex, emotion=emotion))
    return Manifest(Path(), tuple(clips))


def leaks_by_brute_force(manifest: Manifest, split: Split) -> bool:
    sides = [[manifest.by_path[path] for path in getattr(split, side)] for side in SIDES]
    return any(
        here.speaker == there.speaker or here.sha256 == there.sha256
        for one, other in combinations(sides, 2)
        for here in one
        for there in other
    )


@settings(deadline=None)
@given(manifest=manifests(), seed=st.integers(0, 9), folds=st.integers(2, 3), fraction=st.sampled_from([0.0, 0.2, 0.5]))
def test_folds_of_any_manifest_test_every_clip_once_and_leak_nothing(
    manifest: Manifest, seed: int, folds: int, fraction: float
) -> None:
    try:
        splits = [make_split(manifest, "speaker-kfold", fold, seed, fraction, folds) for fold in range(1, folds + 1)]
    except SplitError:
        reject()
    assert sorted(path for split in splits for path in split.test) == [u.path for u in manifest]
    for split in splits:
        assert not leaks_by_brute_force(manifest, split)
        assert not audit(manifest, split, listen=False).leaks
        assert {*split.train, *split.validation, *split.test} == set(manifest.by_path)
        assert split.train
        assert split.test
        assert bool(split.validation) == bool(fraction)


@settings(deadline=None)
@given(manifest=manifests(), seed=st.integers(0, 9))
def test_each_speaker_is_left_out_once_with_those_whose_audio_is_the_same(manifest: Manifest, seed: int) -> None:
    count = num_folds("speaker-loso", manifest, folds=2)
    try:
        splits = [make_split(manifest, "speaker-loso", fold, seed, 0.0) for fold in range(1, count + 1)]
    except SplitError:
        reject()
    assert sorted(path for split in splits for path in split.test) == [u.path for u in manifest]
    for split in splits:
        assert not leaks_by_brute_force(manifest, split)
        tested = split.of(manifest)[2]
        first = {clip.sha256 for clip in tested if clip.speaker == tested.speakers[0]}
        assert len(tested.speakers) == 1 or any(c.sha256 in first for c in tested if c.speaker != tested.speakers[0])


@settings(deadline=None)
@given(manifest=manifests(), parts=st.lists(st.sampled_from(SIDES), min_size=80, max_size=80))
def test_the_auditor_agrees_with_brute_force(manifest: Manifest, parts: list[str]) -> None:
    sides = {side: tuple(u.path for u, part in zip(manifest, parts, strict=False) if part == side) for side in SIDES}
    split = Split("any", 1, sides["train"], sides["validation"], sides["test"])
    assert audit(manifest, split, listen=False).leaks == leaks_by_brute_force(manifest, split)


@pytest.mark.parametrize(("protocol", "fold"), SPEAKER_FOLDS)
def test_protocols_on_ravdess(protocol: str, fold: int) -> None:
    split = make_split(RAVDESS, protocol, fold)
    train, validation, test = split.of(RAVDESS)
    assert not leaks_by_brute_force(RAVDESS, split)
    assert len(train) + len(validation) + len(test) == 1440
    sexes = Counter(utterance.sex for utterance in validation)
    assert abs(sexes["female"] - sexes["male"]) <= 60
    assert len(validation) / (len(train) + len(validation)) == pytest.approx(0.2, abs=0.03)


def test_published_folds_are_as_published() -> None:
    tested = {
        name: [[int(s[-2:]) for s in make_split(RAVDESS, name, fold).of(RAVDESS)[2].speakers] for fold in folds]
        for name, folds in (("ravdess-emobox6", range(1, 7)), ("ravdess-luna5", range(1, 6)))
    }
    assert tested["ravdess-emobox6"] == [
        [1, 11, 20, 21],
        [4, 10, 12, 14],
        [8, 9, 19, 23],
        [3, 5, 7, 24],
        [2, 15, 16, 18],
        [6, 13, 17, 22],
    ]
    assert tested["ravdess-luna5"] == [
        [2, 5, 14, 15, 16],
        [3, 6, 7, 13, 18],
        [10, 11, 12, 19, 20],
        [8, 17, 21, 23, 24],
        [1, 4, 9, 22],
    ]


@pytest.mark.parametrize("name", [name for name, protocol in protocols().items() if protocol.kind == "speakers"])
def test_folds_of_speakers_share_none(name: str) -> None:
    speakers = [speaker for fold in protocols()[name].folds for speaker in fold]
    assert len(speakers) == len(set(speakers))
    assert len({speaker.split("-")[0] for speaker in speakers}) == 1
    assert len(speakers) == {"ravdess": 24, "emodb": 10, "savee": 4, "cremad": 91}[name.split("-")[0]]


def test_folds_are_alike_in_size_sexes_and_emotions() -> None:
    for fold in range(1, 6):
        test = make_split(RAVDESS, "speaker-kfold", fold).of(RAVDESS)[2]
        assert len(test) in (240, 300)
        sexes = Counter(utterance.sex for utterance in test)
        assert abs(sexes["female"] - sexes["male"]) <= 60


def test_the_leaky_control_is_random_but_keeps_repeated_audio_together() -> None:
    split = make_split(RAVDESS, "seed-random")
    assert [len(getattr(split, side)) for side in SIDES] == [1008, 216, 216]
    assert audit(RAVDESS, split, listen=False).leaks
    pair = {"ravdess/Actor_07/58.wav", "ravdess/Actor_07/59.wav"}
    for seed in range(20):
        split = make_split(RAVDESS, "seed-random", seed=seed)
        assert sum(bool(pair & set(getattr(split, side))) for side in SIDES) == 1


def test_a_training_clip_that_sounds_like_a_test_clip_is_dropped() -> None:
    test_clip = next(u for u in RAVDESS if u.speaker == "ravdess-01")
    twin = clip("other/twin.wav", "other-x", test_clip.sha256)
    split = make_split(Manifest(Path(), (*RAVDESS, twin)), "ravdess-emobox6", 1)
    assert twin.path not in (*split.train, *split.validation, *split.test)
    assert test_clip.path in split.test


def test_a_split_is_the_same_everywhere() -> None:
    again = Manifest(Path("elsewhere"), RAVDESS.utterances[::-1])
    assert make_split(again, "ravdess-emobox6", 1) == make_split(RAVDESS, "ravdess-emobox6", 1)
    flac = ravdess_like(".flac", folder="")
    for protocol in ("speaker-kfold", "seed-random", "all"):
        bare = [path.removesuffix(".flac") for path in make_split(flac, protocol).train]
        assert bare == [
            path.removeprefix("ravdess/").removesuffix(".wav") for path in make_split(RAVDESS, protocol).train
        ]
    assert make_split(RAVDESS, "ravdess-emobox6", 1).of(RAVDESS)[1].speakers == (
        *("ravdess-08", "ravdess-13", "ravdess-18", "ravdess-23"),
    )


def test_paths_may_be_written_in_any_way() -> None:
    clips = tuple(clip(path, "") for path in ("./a.wav", "b//c.wav", "b/d.wav", "e.tar.wav"))
    split = make_split(Manifest(Path(), clips), "all", validation_fraction=0.5)
    assert sorted([*split.train, *split.validation]) == sorted(one.path for one in clips)


def test_seeds_and_folds_choose_other_validation_speakers() -> None:
    chosen = {make_split(RAVDESS, "ravdess-emobox6", 1, seed).of(RAVDESS)[1].speakers for seed in range(5)}
    assert len(chosen) > 1


def test_few_speakers_make_few_folds() -> None:
    two = Manifest(Path(), (clip("a", "own-a"), clip("b", "own-b")))
    assert num_folds("speaker-kfold", two) == 2
    assert make_split(two, "speaker-kfold", 2, validation_fraction=0.0).test in (("a",), ("b",))
    with pytest.raises(SplitError, match="single speaker"):
        make_split(two, "speaker-kfold")


def bad_manifest(*speakers: str) -> Manifest:
    return Manifest(Path(), tuple(clip(f"{n}.wav", speaker) for n, speaker in enumerate(speakers)))


@pytest.mark.parametrize(
    ("manifest", "arguments", "sentence"),
    [
        (RAVDESS, {"protocol": "ravdess-emobox"}, "did you mean 'ravdess-emobox6'"),
        (RAVDESS, {"protocol": "ravdess-emobox6", "fold": 7}, "has the folds 1 to 6, not 7"),
        (RAVDESS, {"protocol": "all", "fold": 0}, "has the folds 1 to 1, not 0"),
        (RAVDESS, {"protocol": "all", "validation_fraction": 1.0}, "not in"),
        (RAVDESS, {"protocol": "speaker-kfold", "folds": 25}, "24 speakers cannot make 25 folds"),
        (ravdess_like(num_actors=5), {"protocol": "ravdess-luna5"}, r"needs 19 speakers .*first: ravdess-06"),
        (bad_manifest("own-a", ""), {"protocol": "speaker-kfold"}, "1 clips name no speaker"),
        (bad_manifest("own-a", ""), {"protocol": "speaker-loso"}, "1 clips name no speaker"),
        (bad_manifest("own-a", "own-a"), {"protocol": "speaker-loso"}, "nobody is left to train on"),
        (bad_manifest(), {"protocol": "all"}, "empty"),
        (bad_manifest("own-a", "own-a"), {"protocol": "all"}, "single speaker"),
    ],
)
def test_what_cannot_be_split_says_why(manifest: Manifest, arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(SplitError, match=sentence):
        make_split(manifest, **arguments)  # type: ignore[arg-type]


def test_a_split_is_written_and_read(tmp_path: Path) -> None:
    split = make_split(RAVDESS, "ravdess-luna5", 2, seed=3)
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == split


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1}, "not what its hash says"),
        ({"train": ["b"]}, "not what its hash says"),
        ({"test": ["a"]}, "on the train and the test side"),
        ({"train": None}, "is no split"),
        ({"hash": ...}, "is no split"),
    ],
)
def test_an_edited_split_is_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    path = tmp_path / "split.json"
    Split("x", 1, ("a",), (), ("c",)).write(path)
    content = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    with pytest.raises(SplitError, match=sentence):
        Split.read(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "3"])
def test_other_files_are_no_splits(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(SplitError, match="is no split"):
        Split.read(tmp_path / "split.json")
    with pytest.raises(SplitError, match="there is no split"):
        Split.read(tmp_path / "gone.json")


def kinds(found: Audit) -> dict[str, list[tuple[str, ...]]]:
    by_kind: dict[str, list[tuple[str, ...]]] = {}
    for finding in found.findings:
        by_kind.setdefault(finding.kind, []).append(finding.paths)
    return by_kind


def test_leaks_are_named() -> None:
    manifest = Manifest(
        Path(),
        (clip("a", "own-1"), clip("b", "own-1"), clip("c", "own-2", "x"), clip("d", "own-3", "x"), clip("e", "own-4")),
    )
    found = audit(manifest, Split("x", 1, ("a", "c"), ("e",), ("b", "d")), listen=False)
    assert kinds(found) == {"shared speaker": [("a", "b")], "shared audio": [("c", "d")]}
    assert found.leaks
    assert found.findings[0].message == "own-1 is in train and test"
    assert found.findings[1].message == "c = d, with different labels, in train and test"


def test_unknown_speakers_on_two_sides_cannot_be_trusted() -> None:
    found = audit(bad_manifest("", "", "own-a"), Split("x", 1, ("0.wav",), (), ("1.wav", "2.wav")), listen=False)
    assert kinds(found) == {"unknown speaker": [("0.wav", "1.wav")]}
    assert found.leaks
    assert not audit(bad_manifest("", ""), Split("x", 1, ("0.wav", "1.wav"), (), ()), listen=False).leaks


def test_a_split_of_another_manifest_is_refused() -> None:
    with pytest.raises(ManifestError, match="not in the manifest"):
        audit(bad_manifest("own-a"), Split("x", 1, ("gone.wav",), (), ()), listen=False)


def test_bad_clips_are_heard(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    sounds = {"good": noise, "silent": noise * 1e-4, "clipped": np.clip(noise * 20, -1, 1), "changed": noise}
    for name, samples in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000)
    soundfile.write(tmp_path / "empty.wav", noise[:0], 16_000)
    (tmp_path / "text.wav").write_text("no sound")
    clips = [
        clip(f"{name}.wav", sha256=measure(tmp_path / f"{name}.wav").sha256) for name in ("good", "silent", "clipped")
    ]
    clips += [clip(f"{name}.wav") for name in ("changed", "empty", "text", "gone")]
    found = audit(Manifest(tmp_path, tuple(clips)))
    assert kinds(found) == {
        "changed": [("changed.wav",)],
        "clipped": [("clipped.wav",)],
        "empty": [("empty.wav",)],
        "silent": [("silent.wav",)],
        "unreadable": [("gone.wav",), ("text.wav",)],
    }
    unusable = {finding.paths[0] for finding in found.findings if finding.unusable}
    assert unusable == {"changed.wav", "empty.wav", "gone.wav", "text.wav"}
    assert not found.leaks


def test_the_real_ravdess_has_one_pair_of_identical_clips() -> None:
    root = Path(os.environ.get("VOCAFFECT_DATA", ""))
    if not (root / "ravdess").is_dir():
        pytest.skip("needs the corpus ravdess in the folder that VOCAFFECT_DATA names")
    manifest = prepare("ravdess", root)
    (only,) = audit(manifest).findings
    assert only.kind == "repeated audio"
    assert [Path(path).stem for path in only.paths] == ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]
    split = make_split(manifest, "ravdess-emobox6", 4)
    assert set(only.paths) <= set(split.test)
    torn = Split("torn", 1, (only.paths[0],), (), (only.paths[1],))
    assert {finding.kind for finding in audit(manifest, torn, listen=False).findings} == {
        "shared audio",
        "shared speaker",
    }
