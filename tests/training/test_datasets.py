"""Clips as training reads them."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vocaffect.augment import AugmentOptions
from vocaffect.corpora import prepare
from vocaffect.datasets import EmotionDataset, Item, StreamingEmotionDataset, collate, crop, dataset_class, trim_silence
from vocaffect.runs import loader
from vocaffect.sampling import BucketSampler, Place
from vocaffect.shards import write_shards

LABELS = ("neutral", "happy", "sad")


def test_what_a_clip_sounds_like_is_a_function_of_seed_epoch_and_clip(corpus: Path) -> None:
    manifest = prepare("folder", corpus)
    options = AugmentOptions(probability=1.0)
    one, other = (EmotionDataset(manifest, LABELS, options, seed=3, crop_s=0.3) for _ in range(2))
    np.testing.assert_array_equal(one[Place(2, 5)][0], other[Place(2, 5)][0])
    assert not np.array_equal(one[Place(2, 5)][0][:500], one[Place(3, 5)][0][:500])
    assert one[Place(2, 5)][1] == LABELS.index(manifest.utterances[5].emotion)


def test_without_augmentation_a_clip_is_itself_but_trimmed(corpus: Path) -> None:
    manifest = prepare("folder", corpus)
    whole, trimmed = EmotionDataset(manifest, LABELS), EmotionDataset(manifest, LABELS, trim_db=-60.0, margin_s=0.02)
    samples = whole[Place(1, 0)][0]
    assert np.abs(samples[:1_600]).max() == 0
    np.testing.assert_array_equal(trimmed[Place(1, 0)][0], samples[1_600 - 320 :][: len(trimmed[Place(1, 0)][0])])


@given(lengths=st.lists(st.integers(1, 10_000), min_size=1, max_size=200), epoch=st.integers(0, 50))
def test_every_clip_comes_once_an_epoch(lengths: list[int], epoch: int) -> None:
    sampler = BucketSampler(lengths, batch_size=8, seed=1)
    sampler.epoch = epoch
    batches = list(sampler)
    assert sorted(place.clip for batch in batches for place in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    assert batches == list(sampler)


def test_buckets_waste_little() -> None:
    lengths = np.random.default_rng(0).integers(10_000, 80_000, 1_000).tolist()

    def padding(pool: int) -> float:
        batches = [[lengths[place.clip] for place in batch] for batch in BucketSampler(lengths, 32, pool=pool)]
        return float(sum(max(batch) * len(batch) for batch in batches) / sum(lengths) - 1)

    assert padding(10) < 0.1 < padding(1)


def test_collate_pads_to_whole_hops_and_remembers_what_is_whose() -> None:
    soft = np.array([[0, 0, 0], [0.2, 0.3, 0.5]], np.float32)
    places, shares = (Place(3, 7), Place(3, 2)), np.array([[0, 1, 0], [0, 0, 0]], np.float32)
    batch = collate(
        [
            Item(np.ones(500, np.float32), 1, soft[0], shares[0], places[0]),
            Item(np.ones(100, np.float32), -1, soft[1], shares[1], places[1]),
        ]
    )
    assert batch.places.tolist() == [[3, 7, 0], [3, 2, 0]]
    np.testing.assert_array_equal(batch.shares.numpy(), shares)
    assert batch.samples.shape == (2, 640)
    assert batch.samples.sum() == 600
    assert batch.num_frames.tolist() == [3, 1]
    assert batch.targets.tolist() == [1, -1]
    np.testing.assert_array_equal(batch.soft.numpy(), soft)


def test_a_clip_whose_emotion_the_student_does_not_know_has_no_label_but_may_have_a_teacher(corpus: Path) -> None:
    manifest = prepare("folder", corpus)
    soft = np.full((len(manifest), 2), 0.5, np.float32)
    dataset = EmotionDataset(manifest, LABELS[:2], soft=soft)
    assert {dataset[Place(1, i)].target for i in range(len(dataset))} == {-1, 0, 1}
    assert dataset[Place(1, 3)].soft.tolist() == [0.5, 0.5]
    assert not EmotionDataset(manifest, LABELS)[Place(1, 3)].soft.any()


def test_trim_keeps_a_silent_clip() -> None:
    assert len(trim_silence(np.zeros(8_000, np.int16), -60.0, 0.1)) == 8_000


@pytest.mark.parametrize(("length", "kept"), [(100, 100), (1_000, 300)])
def test_crop(length: int, kept: int) -> None:
    piece = crop(np.arange(length, dtype=np.float32), 300, np.random.default_rng(0))
    assert len(piece) == kept
    np.testing.assert_array_equal(np.diff(piece), 1)


def test_mixup_mixes_sounds_and_shares_alike_and_as_a_function_of_the_place(corpus: Path) -> None:
    manifest = prepare("folder", corpus)
    one, other = (EmotionDataset(manifest, LABELS, seed=3, mixup_alpha=1.0) for _ in range(2))
    plain, seen = EmotionDataset(manifest, LABELS, seed=3), set()
    for clip in range(len(manifest)):
        item, own = one[Place(2, clip)], plain[Place(2, clip)]
        np.testing.assert_array_equal(item.samples, other[Place(2, clip)].samples)
        assert len(item.samples) == len(own.samples)
        assert item.shares.sum() == pytest.approx(1)
        assert item.target == item.shares.argmax() == own.target
        assert item.shares.max() == 1 or not np.array_equal(item.samples, own.samples)
        seen.add(int((item.shares > 0).sum()))
    assert seen == {1, 2}
    assert not np.array_equal(one[Place(2, 1)].samples, one[Place(3, 1)].samples)


def test_mixed_with_a_clip_without_a_label_there_is_none_but_a_teacher_may_know_both(corpus: Path) -> None:
    manifest = prepare("folder", corpus)
    soft = np.random.default_rng(0).dirichlet(np.ones(2), len(manifest)).astype(np.float32)
    dataset = EmotionDataset(manifest, LABELS[:2], soft=soft, mixup_alpha=5.0)
    items = [dataset[Place(1, clip)] for clip in range(len(dataset))]
    assert {round(float(item.shares.sum()), 5) for item in items} == {0.0, 1.0}
    assert all(item.soft.sum() == pytest.approx(1) for item in items)
    assert all(not item.shares.any() for item in items if item.target == -1)


def test_clips_from_shards_and_from_files_sound_the_same_whether_held_in_memory_or_not(
    corpus: Path, tmp_path: Path
) -> None:
    manifest = prepare("folder", corpus)
    shards = write_shards(manifest, tmp_path, 0.05)
    assert len(list(tmp_path.glob("*.tar"))) > 2
    assert dataset_class(manifest) is EmotionDataset
    assert dataset_class(shards) is StreamingEmotionDataset
    names = [clip.path.partition("/")[2].replace(".flac", ".wav") for clip in shards]
    order = [manifest.utterances.index(manifest.by_path[name]) for name in names]
    plain = EmotionDataset(manifest, LABELS, trim_db=-60.0)
    for kind in (EmotionDataset, StreamingEmotionDataset):
        packed = kind(shards, LABELS, trim_db=-60.0)
        assert packed.targets == [plain.targets[i] for i in order]
        for number, i in enumerate(order):
            np.testing.assert_array_equal(packed.clips[number], plain.clips[i])


def test_a_clip_that_is_drawn_again_in_an_epoch_is_changed_otherwise(corpus: Path) -> None:
    dataset = EmotionDataset(prepare("folder", corpus), LABELS, AugmentOptions(probability=1.0))
    first, second = dataset[Place(1, 0)].samples, dataset[Place(1, 0, 1)].samples
    assert not np.array_equal(first[:500], second[:500])


def test_a_stream_holds_a_few_batches_however_large_the_corpus_is(tmp_path: Path) -> None:
    """The samples of 40 clips are 640 kB: a limit of 350 kB holds for a stream of batches of 4, not for all at once."""
    (tmp_path / "happy" / "anna").mkdir(parents=True)
    for number in range(40):
        samples = np.random.default_rng(number).integers(-9_000, 9_000, 8_000).astype(np.int16)
        soundfile.write(tmp_path / "happy" / "anna" / f"{number}.wav", samples, 16_000)
    shards = write_shards(prepare("folder", tmp_path), tmp_path / "shards", 0.1)
    once = StreamingEmotionDataset(shards, LABELS)[Place(0, 0)]
    assert len(once.samples) == 8_000, "what is imported with the first clip does not count"

    def heard(kind: type[EmotionDataset]) -> int:
        return sum(len(batch.targets) for batch in loader(kind(shards, LABELS), 4, 1, True, 0, buffer=10).batches)

    assert heard(StreamingEmotionDataset) == 40, "nor what is imported with the first batch"

    def peak(work: Callable[[], int]) -> int:
        tracemalloc.start()
        try:
            assert work() == 40
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(lambda: heard(StreamingEmotionDataset)) < 350_000 < 640_000 < peak(lambda: heard(EmotionDataset))
