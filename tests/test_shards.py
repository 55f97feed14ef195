"""Shards hold what training hears, can be read by others, go on after an interruption, and say when they are cut."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vocaffect.audio import AudioError, read_clip
from vocaffect.corpora import prepare
from vocaffect.errors import VocaffectError
from vocaffect.labels import LabelSet
from vocaffect.manifest import Manifest
from vocaffect.pcm import to_pcm
from vocaffect.shards import INDEX, ShardError, read_shards, write_shards
from vocaffect.sources import read_clips
from vocaffect.splits import audit, make_split

SHARD_MB = 0.03


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("speech")
    for number in range(12):
        path = root / ("happy", "sad", "bored")[number % 3] / f"anna.{number % 4}" / f"{number}.a.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = 16_000 if number % 2 else 24_000
        soundfile.write(path, 0.3 * np.random.default_rng(number).standard_normal(rate // 4), rate)
    return prepare("folder", root, labels=LabelSet(["happy", "sad", "bored"]))


@pytest.fixture(scope="module")
def shards(clips: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(clips, folder, SHARD_MB)
    return folder


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shards, tmp_path / "copy")


def test_shards_hold_every_clip_as_training_hears_it(clips: Manifest, shards: Path) -> None:
    packed = read_shards(shards / INDEX)
    assert len({clip.path.partition("/")[0] for clip in packed}) == len(list(shards.glob("*.tar"))) > 2
    assert packed.labels == clips.labels
    assert len(packed) == len(clips)
    originals = {f"{clip.path.removesuffix('.wav').replace('.', '_')}.flac": clip for clip in clips}
    for clip in packed:
        original = originals.pop(clip.path.partition("/")[2])
        assert (clip.speaker, clip.emotion, clip.corpus) == (original.speaker, original.emotion, original.corpus)
        heard = to_pcm(read_clip(clips.audio_path(original)).samples)
        assert np.array_equal(read_clip(packed.audio_path(clip)).samples * 32768, heard)
    assert not audit(packed).findings, "hashes and lengths are those of the packed clips"


def test_the_layout_is_webdataset_s(clips: Manifest, shards: Path) -> None:
    """Members of one key, up to the first dot of the file's name, follow each other; no other library is needed."""
    found = []
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            for sound, row in zip(names[::2], names[1::2], strict=True):
                folder, _, file = sound.rpartition("/")
                key = f"{folder}/{file.partition('.')[0]}"
                assert (sound, row) == (f"{key}.flac", f"{key}.json")
                content = json.load(tar.extractfile(row) or io.BytesIO())
                samples, rate = soundfile.read(io.BytesIO((tar.extractfile(sound) or io.BytesIO()).read()))
                assert (rate, round(len(samples) / rate, 6)) == (16_000, content["duration_s"])
                found.append(content["emotion"])
    assert sorted(found) == sorted(clip.emotion for clip in clips)


def test_splits_keep_the_same_voices_apart_in_files_and_in_shards(clips: Manifest, shards: Path) -> None:
    packed = read_clips(str(shards / INDEX), Path("nowhere"))
    for fold in (1, 2, 3, 4):
        sides = [make_split(manifest, "speaker-kfold", fold, folds=4).of(manifest) for manifest in (clips, packed)]
        assert [side.speakers for side in sides[0]] == [side.speakers for side in sides[1]]
    assert read_clips(str(shards / "manifest.csv"), Path("nowhere")) == packed
    two = read_clips(str(shards / INDEX), Path("nowhere"), labels=LabelSet(["happy", "sad"]))
    assert {clip.emotion for clip in two} == {"happy", "sad"}


@pytest.mark.parametrize("done", [0, 1, 4, 7, 11])
def test_packing_goes_on_where_it_was_interrupted(clips: Manifest, shards: Path, tmp_path: Path, done: int) -> None:
    def stop(packed: int, total: int) -> None:
        if packed == done + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(clips, tmp_path, SHARD_MB, stop)
    if (tmp_path / INDEX).exists():
        with pytest.raises(
            ShardError, match=r"of 12 clips, as making them was interrupted: run 'vocaffect data shard'"
        ):
            read_shards(tmp_path / INDEX)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tar")}
    write_shards(clips, tmp_path, SHARD_MB)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".csv"} == {
        path.name: path.read_bytes() for path in shards.iterdir() if path.suffix != ".csv"
    }
    assert read_shards(tmp_path / INDEX).hash == read_shards(shards / INDEX).hash


def test_other_clips_do_not_mix_with_finished_shards(clips: Manifest, copy: Path) -> None:
    with pytest.raises(ShardError, match="holds shards of other clips"):
        write_shards(clips.select(range(5)), copy, SHARD_MB)
    with pytest.raises(ShardError, match="or of another size"):
        write_shards(clips, copy, 2 * SHARD_MB)


def cut(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-3_000])
    return f"1 of the {len(list(path.parent.glob('*.tar')))} shards in .* {path.name} has .* bytes and not"


def remove(path: Path) -> str:
    path.unlink()
    return f"{path.name} is gone: copy it again"


@pytest.mark.parametrize("harm", [cut, remove])
def test_a_shard_that_was_cut_or_is_gone_is_named_and_made_again(
    clips: Manifest, copy: Path, harm: Callable[[Path], str]
) -> None:
    whole = {path.name: path.read_bytes() for path in copy.glob("*.tar")}
    sentence = harm(copy / "shard-000001.tar")
    with pytest.raises(ShardError, match=sentence):
        read_shards(copy / INDEX)
    write_shards(clips, copy, SHARD_MB)
    assert {path.name: path.read_bytes() for path in copy.glob("*.tar")} == whole
    read_shards(copy / INDEX)


@given(share=st.floats(0, 0.999), flip=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_damaged_shard_gives_its_clips_whole_or_a_sentence(shards: Path, share: float, flip: bool) -> None:
    packed, name = read_shards(shards / INDEX), "shard-000001.tar"
    data = bytearray((shards / name).read_bytes())
    place = int(share * len(data))
    if flip:
        data[place] ^= 0x10
    else:
        del data[place:]
    copy = shards.parent / f"{shards.name}-damaged"
    copy.mkdir(exist_ok=True)
    (copy / name).write_bytes(data)
    for clip in packed:
        if clip.path.startswith(name):
            try:
                samples = read_clip(copy / clip.path).samples
            except VocaffectError as error:
                assert name in str(error)  # noqa: PT017
            else:
                assert flip or np.array_equal(samples, read_clip(shards / clip.path).samples)


def test_what_lies_in_a_shard_is_read_as_a_file_is(shards: Path, tmp_path: Path) -> None:
    packed = read_shards(shards / INDEX)
    path = packed.audio_path(packed.utterances[0])
    assert not path.exists()
    assert len(read_clip(path).samples) == 4_000
    with pytest.raises(AudioError, match=r"shard-000000\.tar holds no happy/none\.flac"):
        read_clip(shards / "shard-000000.tar" / "happy" / "none.flac")
    (tmp_path / "no.tar").write_bytes(b"no tar")
    with pytest.raises(AudioError, match=r"no\.tar is no whole tar file"):
        read_clip(tmp_path / "no.tar" / "x.flac")


def test_an_index_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"there is no .*shards\.json: make shards with"):
        read_shards(tmp_path / INDEX)
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(ShardError, match="is no index of shards"):
        read_shards(tmp_path / INDEX)
