"""Several corpora in one manifest: what is in it, what was left out, and testing on a corpus never trained on."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocaffect.corpora import CorpusError, prepare, resolve_corpora
from vocaffect.errors import VocaffectError
from vocaffect.experiment import read_data, start_run
from vocaffect.labels import EMOTIONS, LabelSet
from vocaffect.manifest import Manifest
from vocaffect.recipe import make_recipe
from vocaffect.runs import open_run
from vocaffect.splits import SplitError, audit, make_split, num_folds

CLIPS = {
    "ravdess": [f"Actor_{n:02}/03-01-0{emotion}-01-01-01-{n:02}.wav" for n in (1, 2, 3, 4) for emotion in (3, 4)],
    "ravdess-song": [f"Actor_{n:02}/03-02-0{emotion}-01-01-01-{n:02}.wav" for n in (2, 3) for emotion in (3, 4)],
    "tess": [f"{talker}_back_{emotion}.flac" for talker in ("OAF", "YAF") for emotion in ("happy", "sad", "ps")],
    "emodb": ["03a01Fa.ogg", "03a01La.ogg", "08a01La.ogg", "08a01Ta.ogg"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    seed = 0
    for corpus, names in CLIPS.items():
        for name in names:
            path = root / corpus / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.random.default_rng(seed := seed + 1).normal(0, 0.1, 1600), 16_000)
    return root


def test_several_corpora_make_the_union_of_their_manifests(root: Path) -> None:
    heard: list[tuple[int, int]] = []
    both = prepare("tess+ravdess", root, partial=True, progress=lambda done, total: heard.append((done, total)))
    alone = [utterance for name in ("ravdess", "tess") for utterance in prepare(name, root, partial=True)]
    assert both == Manifest(root.resolve(), tuple(alone))
    assert both.corpora == ("ravdess", "tess")
    assert heard == [(number, 14) for number in range(1, 15)]
    assert prepare("tess+tess+ravdess", root, partial=True).hash == both.hash


def test_what_has_no_place_is_counted_for_each_corpus(root: Path) -> None:
    left_out: dict[str, Mapping[str, int]] = {}
    manifest = prepare("ravdess+emodb", root, partial=True, dropped=lambda name, words: left_out.update({name: words}))
    assert left_out == {"emodb": {"boredom": 2}}
    assert len(manifest) == 8 + 2


def test_each_corpus_must_be_whole_and_known(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"8 clips of ravdess .* has 1440: .*--partial .*data\.partial: true"):
        prepare("ravdess+tess", root)
    with pytest.raises(CorpusError, match="corpus 'tes' is not known; did you mean 'tess'"):
        prepare("ravdess+tes", root)
    with pytest.raises(CorpusError, match=r"no clips of savee .* register at"):
        prepare("ravdess+savee", root, partial=True)


def test_a_table_may_have_a_plus_in_its_name(tmp_path: Path) -> None:
    assert [corpus.name for corpus in resolve_corpora("ravdess+tess.csv")] == ["csv"]


def test_whoever_sings_is_the_one_who_speaks(root: Path) -> None:
    manifest = prepare("ravdess+ravdess-song", root, partial=True)
    assert manifest.speakers == ("ravdess-01", "ravdess-02", "ravdess-03", "ravdess-04")
    assert manifest.corpora == ("ravdess", "ravdess-song")


def test_a_recipe_names_several_corpora(root: Path) -> None:
    recipe = make_recipe({"data": {"corpus": "ravdess+tess+emodb", "partial": True}})
    left_out: list[str] = []
    manifest = read_data(recipe, root, dropped=lambda name, words: left_out.append(name))
    assert manifest.corpora == ("emodb", "ravdess", "tess")
    assert left_out == ["emodb"]
    with pytest.raises(CorpusError, match=r"data\.partial: true"):
        read_data(make_recipe({"data": {"corpus": "tess"}}), root)


def test_leaving_one_corpus_out_tests_each_and_hears_none_of_its_voices_before(root: Path) -> None:
    manifest = prepare("ravdess+ravdess-song+tess+emodb", root, partial=True)
    protocol = "leave-one-corpus-out"
    assert num_folds(protocol, manifest) == 4
    splits = [make_split(manifest, protocol, fold) for fold in range(1, 5)]
    assert sorted(path for split in splits for path in split.test) == [utterance.path for utterance in manifest]
    for split, corpus in zip(splits, manifest.corpora, strict=True):
        train, validation, test = split.of(manifest)
        assert test.corpora == (corpus,)
        assert train.speakers
        assert validation.speakers
        assert not set(test.speakers) & {*train.speakers, *validation.speakers}
        assert not audit(manifest, split, listen=False).leaks
    emodb, ravdess, song, _ = (split.of(manifest)[0].corpora for split in splits)
    assert "ravdess-song" not in ravdess
    assert {"ravdess", "ravdess-song", "tess"} >= {*emodb}
    assert {*song} <= {"emodb", "ravdess", "tess"}


def test_leaving_one_corpus_out_needs_others(root: Path) -> None:
    with pytest.raises(SplitError, match=r"needs several corpora, and all clips are of tess: .*ravdess\+tess"):
        make_split(prepare("tess", root, partial=True), "leave-one-corpus-out")
    with pytest.raises(SplitError, match="fold 1 of leave-one-corpus-out tests every voice"):
        make_split(prepare("ravdess+ravdess-song", root, partial=True), "leave-one-corpus-out")
    with pytest.raises(SplitError, match="has the folds 1 to 2, not 3"):
        make_split(prepare("ravdess+tess", root, partial=True), "leave-one-corpus-out", 3)


def test_corpora_to_train_on_join_every_fold_of_a_protocol_and_are_tested_in_none(root: Path) -> None:
    manifest = prepare("ravdess+ravdess-song+tess+emodb", root, partial=True)
    home, away = prepare("ravdess", root, partial=True), ("ravdess-song", "tess", "emodb")
    assert num_folds("speaker-kfold", manifest, train_only=away) == num_folds("speaker-kfold", home) == 4
    for fold in range(1, 5):
        alone = make_split(home, "speaker-kfold", fold)
        split = make_split(manifest, "speaker-kfold", fold, train_only=away)
        assert (split.test, split.validation) == (alone.test, alone.validation)
        held = {*home.select_paths(split.test).speakers, *home.select_paths(split.validation).speakers}
        joined = {clip.path for clip in manifest if clip.corpus in away and clip.speaker not in held}
        assert {*split.train} == {*alone.train} | joined
        assert any(path.startswith("ravdess-song") for path in joined) == (len(held & {"ravdess-02", "ravdess-03"}) < 2)
        assert not audit(manifest, split, listen=False).leaks


def test_corpora_to_train_on_must_be_there_and_leave_one_to_test(root: Path) -> None:
    manifest = prepare("ravdess+tess", root, partial=True)
    with pytest.raises(SplitError, match="corpus 'tes' is not known; did you mean 'tess'"):
        make_split(manifest, "speaker-kfold", train_only=["tes"])
    with pytest.raises(SplitError, match="nobody is left to test"):
        make_split(manifest, "speaker-kfold", train_only=["tess", "ravdess"])


def test_a_recipe_names_corpora_to_train_on(root: Path, tmp_path: Path) -> None:
    content = {"corpus": "ravdess+tess", "train_only": ["tess"], "partial": True, "protocol": "speaker-kfold"}
    run = start_run(make_recipe({"data": content}), tmp_path / "run", root)
    train, validation, test = run.split.of(run.manifest)
    assert (train.corpora, validation.corpora, test.corpora) == (("ravdess", "tess"), ("ravdess",), ("ravdess",))


def test_a_manifest_whose_clips_are_gone_says_which_and_how_many(root: Path, tmp_path: Path) -> None:
    clips = shutil.copytree(root / "ravdess", tmp_path / "ravdess")
    manifest = prepare("ravdess", tmp_path, partial=True)
    manifest.write(tmp_path / "clips.csv")
    recipe = make_recipe({"data": {"corpus": str(tmp_path / "clips.csv")}})
    assert read_data(recipe, tmp_path) == manifest
    shutil.rmtree(clips / "Actor_02")
    with pytest.raises(VocaffectError, match=r"2 of the 8 clips of the manifest are gone \(first: .*Actor_02/03-01"):
        read_data(recipe, tmp_path)


def test_a_recipe_keeps_other_labels_than_the_eight(root: Path, tmp_path: Path) -> None:
    left_out: dict[str, Mapping[str, int]] = {}
    tell = lambda name, words: left_out.update({name: words})  # noqa: E731
    data = {"corpus": "tess+emodb", "partial": True, "labels": ["happy", "sad", "boredom"], "protocol": "seed-random"}
    manifest = read_data(make_recipe({"data": data}), root, dropped=tell)
    assert Counter(clip.emotion for clip in manifest) == {"happy": 3, "sad": 3, "boredom": 2}
    assert left_out == {"tess": {"ps": 2}}
    run = start_run(make_recipe({"data": data}), tmp_path / "run", root, manifest=manifest, allow_leak=True)
    assert run.labels == ("happy", "sad", "boredom")
    assert open_run(run.folder).manifest == manifest


def test_labels_may_take_in_several_words(root: Path) -> None:
    labels = {"low": ["sad", "boredom"], "high": ["happy", "surprised"]}
    manifest = read_data(make_recipe({"data": {"corpus": "tess+emodb", "partial": True, "labels": labels}}), root)
    assert Counter(clip.emotion for clip in manifest) == {"low": 5, "high": 5}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_manifest_is_relabelled_as_a_recipe_asks(root: Path, tmp_path: Path, suffix: str) -> None:
    file, left_out = tmp_path / f"clips{suffix}", dict[str, Mapping[str, int]]()
    prepare("tess+emodb", root, partial=True).write(file)
    recipe = make_recipe({"data": {"corpus": str(file), "labels": ["happy", "surprised"]}})
    manifest = read_data(recipe, root, dropped=lambda name, words: left_out.update({name: words}))
    assert Counter(clip.emotion for clip in manifest) == {"happy": 3, "surprised": 2}
    assert left_out == {"tess": {"sad": 2}, "emodb": {"sad": 1}}
    manifest.write(file)
    assert Manifest.read(file) == manifest
    assert Manifest.read(file).hash == manifest.hash != replace(manifest, labels=EMOTIONS).hash


def test_labels_that_no_clip_has_are_an_error(root: Path) -> None:
    for labels, sentence in [
        (["happy", "bored"], "no clip of emodb has the label 'bored'"),
        (["happy"], "happy is no set of labels"),
        (["happy", "happy"], "happy, happy is no set of labels"),
        ({"up": ["happy"], "down": ["happy", "sad"]}, "the word 'happy' stands for the labels up and down"),
    ]:
        recipe = make_recipe({"data": {"corpus": "emodb", "partial": True, "labels": labels}})
        with pytest.raises(VocaffectError, match=re.escape(sentence)):
            read_data(recipe, root)


def test_a_folder_of_ones_own_may_have_labels_of_its_own(tmp_path: Path) -> None:
    for number, label in enumerate(("bored", "thrilled", "happy")):
        (tmp_path / label / "anna").mkdir(parents=True)
        samples = np.random.default_rng(number).normal(0, 0.1, 1600)
        soundfile.write(tmp_path / label / "anna" / "1.wav", samples, 16_000)
    labels = LabelSet(["bored", "thrilled"])
    assert [clip.emotion for clip in prepare("folder", tmp_path, labels=labels)] == ["bored", "thrilled"]
    with pytest.raises(CorpusError, match="bored' is not known"):
        prepare("folder", tmp_path)
    with pytest.raises(CorpusError, match="bored is named after no emotion"):
        prepare("folder", tmp_path, labels=LabelSet(["happy", "thriled"]))
