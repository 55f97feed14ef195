"""Which clips an epoch draws, how often, and in which batches."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest, Utterance
from vocaffect.sampling import BucketSampler, Place, StreamSampler, buffered, clip_weights, draws

weights_ = st.lists(st.floats(0.05, 4.0), min_size=1, max_size=60).map(np.array)


def clips(**counts: int) -> Manifest:
    """So many clips of ``corpus_emotion`` each."""
    rows = []
    for name, count in counts.items():
        corpus, _, emotion = name.partition("_")
        facts = ("", "", emotion, "", "", corpus)
        rows += [Utterance(f"{name}/{i}.wav", f"{name}{i}", 1.0, *facts) for i in range(count)]
    return Manifest(Path(), tuple(rows))


@given(weights=weights_, seed=st.integers(0, 9), epoch=st.integers(0, 99))
def test_a_clip_is_drawn_as_often_as_its_weight_says_rounded_up_or_down(
    weights: np.ndarray[tuple[int], np.dtype[np.float64]], seed: int, epoch: int
) -> None:
    drawn, repeats = draws(weights, seed, epoch)
    total = round(float(weights.sum()))
    scaled = weights * total / weights.sum()
    counts = np.bincount(drawn, minlength=len(weights))
    assert counts.sum() == total
    assert (np.abs(counts - scaled) < 1 + 1e-9).all()
    assert {(int(c), int(r)) for c, r in zip(drawn, repeats, strict=True)} == {
        (clip, repeat) for clip, count in enumerate(counts) for repeat in range(count)
    }
    again, _ = draws(weights, seed, epoch)
    assert np.array_equal(drawn, again)


def test_over_many_epochs_a_clip_is_drawn_by_its_weight() -> None:
    weights = np.array([0.1, 0.25, 0.5, 0.9, 1.0, 1.25, 2.0, 3.0])
    counts = sum(np.bincount(draws(weights, 3, epoch)[0], minlength=8) for epoch in range(4_000)) / 4_000
    np.testing.assert_allclose(counts, weights, atol=4 * 0.5 / np.sqrt(4_000))


@given(lengths=st.lists(st.integers(1, 10_000), min_size=1, max_size=100), epoch=st.integers(0, 50), data=st.data())
def test_weights_change_what_is_drawn_and_the_batches_are_as_many_in_every_epoch(
    lengths: list[int], epoch: int, data: st.DataObject
) -> None:
    weights = np.array(data.draw(st.lists(st.floats(0.1, 3), min_size=len(lengths), max_size=len(lengths))))
    sampler = BucketSampler(lengths, 8, seed=1, weights=weights)
    sampler.epoch = epoch
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted((p.clip, p.repeat) for batch in batches for p in batch) == sorted(
        zip(*(part.tolist() for part in draws(weights, 1, epoch)), strict=True)
    )
    sampler.start = len(batches) // 2
    assert list(sampler) == batches[len(batches) // 2 :]


def test_weights_of_one_are_no_weights() -> None:
    lengths = np.random.default_rng(0).integers(1, 1_000, 100).tolist()
    plain, weighted = BucketSampler(lengths, 8, 5), BucketSampler(lengths, 8, 5, weights=np.ones(100))
    assert list(plain) == list(weighted)


def test_sampling_says_how_often_each_corpus_is_drawn() -> None:
    manifest = clips(ravdess_happy=10, tess_happy=40)
    weights = clip_weights(manifest, {"tess": 0.25})
    drawn, _ = draws(weights, 0, 1)
    assert Counter(manifest.utterances[i].corpus for i in drawn) == {"ravdess": 10, "tess": 10}


@given(
    counts=st.fixed_dictionaries(
        {name: st.integers(1, 30) for name in ("a_happy", "a_sad", "b_happy", "b_sad", "b_angry")}
    )
)
@settings(max_examples=30)
def test_balance_makes_what_it_names_equally_frequent_and_keeps_the_number(counts: dict[str, int]) -> None:
    manifest = clips(**counts)
    for part in ("corpus", "emotion"):
        weights = clip_weights(manifest, {"a": 0.5}, ["corpus", part])
        mass: Counter[str] = Counter()
        for clip, weight in zip(manifest, weights, strict=True):
            mass[getattr(clip, part)] += weight
        np.testing.assert_allclose(list(mass.values()), weights.sum() / len(mass))
        assert weights.sum() == pytest.approx(clip_weights(manifest, {"a": 0.5}).sum())


@pytest.mark.parametrize(
    ("sampling", "sentence"),
    [({"tes": 1.0}, "did you mean 'tess'"), ({"tess": 0.0}, "weight of 0"), ({"tess": float("nan")}, "weight of nan")],
)
def test_weights_that_make_no_sense_say_so(sampling: dict[str, float], sentence: str) -> None:
    with pytest.raises(VocaffectError, match=rf"data\.sampling.*{sentence}"):
        clip_weights(clips(tess_happy=3), sampling)


@given(order=st.permutations(range(30)), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_buffer_gives_all_that_it_is_given_and_nothing_too_early(order: list[int], size: int, seed: int) -> None:
    leaving = buffered(np.array(order), size, np.random.default_rng(seed)).tolist()
    assert sorted(leaving) == sorted(order)
    assert all(order.index(clip) <= place + size - 1 for place, clip in enumerate(leaving))
    if size == 1:
        assert leaving == order


def stream(epoch: int = 0, start: int = 0, share: tuple[int, int] = (0, 1)) -> list[list[Place]]:
    """The batches of 300 clips in 6 shards."""
    lengths = np.random.default_rng(0).integers(8_000, 80_000, 300).tolist()
    sampler = StreamSampler(lengths, 8, [f"s{i // 50}" for i in range(300)], buffer=25, seed=2, share=share)
    sampler.epoch, sampler.start = epoch, start
    return list(sampler)


def test_a_stream_reads_shard_by_shard_and_hears_every_clip_once() -> None:
    places = [place.clip for batch in stream() for place in batch]
    assert sorted(places) == list(range(300))
    spans = [[i for i, clip in enumerate(places) if clip // 50 == shard] for shard in range(6)]
    assert max(sum(min(span) <= i <= max(span) for span in spans) for i in range(300)) <= 4
    assert [place.clip for batch in stream(epoch=1) for place in batch] != places
    first = places[: len(places) // 4]
    assert first != sorted(first)
    assert len({clip // 50 for clip in first}) > 1


def test_a_position_in_a_stream_is_a_value() -> None:
    batches = stream(epoch=3)
    for start in range(len(batches) + 1):
        assert stream(3, start) == batches[start:]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_each_batch_of_a_stream(world: int) -> None:
    shares = [stream(share=(rank, world)) for rank in range(world)]
    for batch, *parts in zip(stream(), *shares, strict=True):
        assert sorted(place for part in parts for place in part) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_place_names_a_clip_an_epoch_and_how_often_it_came_before() -> None:
    sampler = BucketSampler([100, 100], 4, weights=np.array([3.0, 1.0]))
    sampler.epoch = 9
    assert sorted(*sampler) == [Place(9, 0, 0), Place(9, 0, 1), Place(9, 0, 2), Place(9, 1, 0)]
