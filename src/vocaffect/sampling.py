"""Which clips an epoch draws, and in which batches: a function of (seed, epoch), whoever loads them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.manifest import Manifest

Ints = NDArray[np.intp]
DRAWING = 1
"""Keeps the draw of an epoch's clips apart from that of their order."""


class Place(NamedTuple):
    """Which clip, in which epoch, and how often it came before in that epoch.

    What augmentation draws depends on nothing else but the seed.
    """

    epoch: int
    clip: int
    repeat: int = 0


class BucketSampler(Sampler[list[Place]]):
    """Batches of clips of similar length, in an order that is a function of (seed, epoch).

    Clips are shuffled, sorted by length within pools of about ``pool`` batches, cut into batches, and the batches
    shuffled: little padding, and much of the randomness. Without ``shuffle``, clips come sorted by length. Pools and
    batches are cut evenly, so no batch is a small rest.

    Attributes:
        epoch: whose batches come next.
        start: how many of them are left out, as they were learned from before.

    Args:
        lengths: of the clips, in samples.
        batch_size: the most clips of a batch, over all processes.
        seed: of the order.
        shuffle: whether the order is random.
        pool: batches that are sorted together.
        share: this process' number and how many there are: each gets a part of every batch.
        weights: how often an epoch draws each clip, on average; once, if not given.

    Raises:
        VocaffectError: if batches have fewer clips than there are processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        pool: int = 10,
        share: tuple[int, int] = (0, 1),
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.shuffle = np.asarray(lengths), batch_size, seed, shuffle
        self.weights = np.ones(len(lengths)) if weights is None else weights
        self.num_draws = round(float(self.weights.sum()))
        self.pool_size = batch_size * pool if shuffle else max(self.num_draws, 1)
        self.share, self.epoch, self.start = share, 0, 0
        smallest = min((len(batch) for pool in self._sizes() for batch in pool), default=0)
        if 0 < smallest < share[1]:
            raise VocaffectError(
                f"a batch of {smallest} clips cannot be shared by {share[1]} processes: "
                f"set training.batch_size to {2 * share[1]} at least, or start fewer processes"
            )

    def __len__(self) -> int:
        return sum(map(len, self._sizes()))

    def __iter__(self) -> Iterator[list[Place]]:
        clips, repeats = draws(self.weights, self.seed, self.epoch)
        rng = np.random.default_rng([self.seed, self.epoch, len(self.lengths)])
        order = self.ordered(clips, rng) if self.shuffle else np.arange(len(clips))
        pools = [order[pool] for pool in evenly(np.arange(len(order)), self.pool_size)]
        sorted_ = [pool[np.argsort(self.lengths[clips[pool]], kind="stable")] for pool in pools]
        batches = self.in_turn([evenly(pool, self.batch_size) for pool in sorted_], rng)
        rank, world = self.share
        for batch in batches[self.start :]:
            yield [Place(self.epoch, int(clips[i]), int(repeats[i])) for i in batch[rank::world]]

    def ordered(self, clips: Ints, rng: np.random.Generator) -> Ints:
        """The places of an epoch's clips, shuffled."""
        return rng.permutation(len(clips))

    def in_turn(self, pools: Sequence[list[Ints]], rng: np.random.Generator) -> list[Ints]:
        """The batches of all pools, shuffled."""
        batches = [batch for pool in pools for batch in pool]
        return [batches[i] for i in rng.permutation(len(batches))] if self.shuffle else batches

    def _sizes(self) -> list[list[Ints]]:
        return [evenly(pool, self.batch_size) for pool in evenly(np.arange(self.num_draws), self.pool_size)]


class StreamSampler(BucketSampler):
    """Batches of clips that lie close together, as shards are read from their beginning to their end.

    Shards come in random order, and clips leave a buffer at random that is filled shard by shard; batches are shuffled
    within a pool. So what is read at a time lies within about ``buffer`` clips, and the rest is not touched.

    Args:
        lengths: of the clips, in samples.
        batch_size: the most clips of a batch, over all processes.
        shards: which shard each clip lies in.
        buffer: how many clips are shuffled together.
        seed: of the order.
        share: this process' number and how many there are: each gets a part of every batch.
        weights: how often an epoch draws each clip, on average; once, if not given.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        shards: Sequence[str],
        buffer: int = 1000,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(lengths, batch_size, seed, share=share, weights=weights)
        self.shards, self.buffer = np.unique(np.asarray(shards), return_inverse=True)[1], buffer

    def ordered(self, clips: Ints, rng: np.random.Generator) -> Ints:
        """The places of an epoch's clips as they leave the buffer."""
        turn = rng.permutation(self.shards.max(initial=0) + 1)
        return buffered(np.lexsort((rng.permutation(len(clips)), turn[self.shards[clips]])), self.buffer, rng)

    def in_turn(self, pools: Sequence[list[Ints]], rng: np.random.Generator) -> list[Ints]:
        """The batches, those of each pool shuffled."""
        return [pool[i] for pool in pools for i in rng.permutation(len(pool))]


def draws(weights: NDArray[np.float64], seed: int, epoch: int) -> tuple[Ints, Ints]:
    """The clips that an epoch draws, and how often each came before: ``(num_draws,)`` each.

    A clip is drawn as often as its weight says, rounded up or down at random so that its mean is the weight; how many
    there are in all is the same in every epoch (systematic sampling: Madow WG (1949), Ann. Math. Stat. 20, 333-354).

    >>> draws(np.array([2.0, 1.0]), seed=0, epoch=1)
    (array([0, 0, 1]), array([0, 1, 0]))
    """
    rng, total = np.random.default_rng([seed, epoch, len(weights), DRAWING]), round(float(weights.sum()))
    order = rng.permutation(len(weights))
    ends = np.cumsum(weights[order]) * (total / max(weights.sum(), 1e-300))
    ends[-1:] = total
    counts = np.zeros(len(weights), np.intp)
    counts[order] = np.diff(np.floor(ends + rng.random()), prepend=0)
    clips = np.repeat(np.arange(len(weights)), counts)
    return clips, np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts)


def clip_weights(
    manifest: Manifest, sampling: Mapping[str, float], balance: Sequence[Literal["corpus", "emotion"]] = ()
) -> NDArray[np.float64]:
    """How often an epoch draws each clip of a manifest, on average, ``(num_clips,)``.

    ``sampling`` says it for corpora; a clip of one that is not named is drawn once. Then, for each part of ``balance``,
    the clips of each corpus, or of each emotion, come equally often in all, with as many in the epoch as before.

    Raises:
        VocaffectError: if a corpus that is named has no clips, or a weight is not above 0.
    """
    for corpus, weight in sampling.items():
        if corpus not in manifest.corpora:
            raise VocaffectError(f"data.sampling: {unknown_name('corpus', corpus, manifest.corpora)}")
        if not 0 < weight < np.inf:
            raise VocaffectError(f"data.sampling gives {corpus} a weight of {weight:g}: give one above 0, such as 0.25")
    weights = np.array([sampling.get(clip.corpus, 1.0) for clip in manifest])
    for part in balance:
        names, group = np.unique([getattr(clip, part) for clip in manifest], return_inverse=True)
        weights *= (weights.sum() / len(names) / np.bincount(group, weights))[group]
    return weights


@dataclass(frozen=True)
class Sessions:
    """What clips of one voice, one after the other, are drawn from.

    ``voices`` and ``targets`` of each clip, ``(num_clips,)``; ``length`` of a session in clips.
    """

    voices: Ints
    targets: Ints
    length: int


class SessionSampler(BucketSampler):
    """Batches of sessions: so many clips of one voice after another, in an order that is a function of (seed, epoch).

    Of the sessions `EVEN` are as the voice's clips come; in the others one emotion has four clips of five, as where
    somebody is calm nearly all the time. A batch holds ``batch_size // length`` sessions, one after the other.

    Args:
        lengths: as in `BucketSampler`.
        batch_size: clips of a batch over all processes, a whole number of sessions for each process.
        sessions: voices and targets.
        seed: of what is drawn.
        share: as in `BucketSampler`; a process gets whole sessions.
        weights: how often a clip is drawn, compared with others.

    Raises:
        VocaffectError: if a batch is no whole number of sessions for each process.
    """

    EVEN = 0.7

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        sessions: Sessions,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        if batch_size % (sessions.length * share[1]):
            raise VocaffectError(
                f"batches of {batch_size} clips are no whole number of sessions of {sessions.length} for {share[1]} "
                "processes: choose another training.batch_size or voice.session_length"
            )
        super().__init__(lengths, batch_size, seed, share=share, weights=weights)
        self.sessions = sessions
        totals = np.bincount(sessions.voices, self.weights)
        self.shares = totals / totals.sum()

    def __len__(self) -> int:
        return max(1, self.num_draws // self.batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        rng = np.random.default_rng([self.seed, self.epoch, len(self.lengths), DRAWING])
        seen: dict[int, int] = {}
        rank, world = self.share
        for number in range(len(self)):
            drawn = [self._session(rng) for _ in range(self.batch_size // self.sessions.length)]
            places = [[self._place(int(clip), seen) for clip in session] for session in drawn]
            if number >= self.start:
                yield [place for session in places[rank::world] for place in session]

    def _session(self, rng: np.random.Generator) -> Ints:
        """The clips of one session."""
        own = np.flatnonzero(self.sessions.voices == rng.choice(len(self.shares), p=self.shares))
        weights, again = self.weights[own], len(own) < self.sessions.length
        if rng.random() >= self.EVEN:
            often = self.sessions.targets[own] == rng.choice(self.sessions.targets[own])
            rest = weights[~often].sum()
            weights, again = np.where(often, 4 * max(rest, 1.0) / weights[often].sum(), 1.0) * weights, True
        return np.asarray(rng.choice(own, self.sessions.length, replace=again, p=weights / weights.sum()), np.intp)

    def _place(self, clip: int, seen: dict[int, int]) -> Place:
        seen[clip] = seen.get(clip, -1) + 1
        return Place(self.epoch, clip, seen[clip])


def buffered(order: Ints, size: int, rng: np.random.Generator) -> Ints:
    """What leaves a buffer of a size that is filled in an order and gives at random."""
    held, leaving = list(order[:size]), []
    for new, i in zip(order[size:], rng.integers(size, size=max(len(order) - size, 0)), strict=True):
        leaving.append(held[i])
        held[i] = new
    return np.array([*leaving, *rng.permutation(held)], np.intp)


def evenly(order: Ints, most: int) -> list[Ints]:
    """Cut into as few parts of at most ``most`` as will do, whose sizes differ by one at most."""
    return np.array_split(order, -(-len(order) // most)) if len(order) else []
