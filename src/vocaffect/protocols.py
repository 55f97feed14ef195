"""Who is tested in which fold: the published protocols, kept as data, folds made for any manifest, and their file.

Nothing here draws random numbers: what is shuffled is ordered by a hash of the seed and its name, so a split
is the same on every machine and with every version of every library.
"""

import hashlib
import json
import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import chain, combinations, zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.files import write_text
from vocaffect.manifest import Manifest, Utterance

SIDES = ("train", "validation", "test")
Kind = Literal["speakers", "random", "kfold", "loso", "corpora", "all"]


class SplitError(VocaffectError):
    """A split cannot be made or read; the message says why and how to mend it."""


@dataclass(frozen=True)
class Split:
    """The clips of one fold, as sorted paths within a manifest, on three sides that share none.

    Raises:
        SplitError: if a clip is on two sides.
    """

    name: str
    fold: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        for side in SIDES:
            object.__setattr__(self, side, tuple(sorted(getattr(self, side))))
        for one, other in combinations(SIDES, 2):
            if both := set(getattr(self, one)) & set(getattr(self, other)):
                raise SplitError(f"{min(both)} is on the {one} and the {other} side: keep it on one of them")

    @cached_property
    def hash(self) -> str:
        """64 hex digits over everything the split says."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def of(self, manifest: Manifest) -> tuple[Manifest, Manifest, Manifest]:
        """The train, validation and test clips of a manifest.

        Raises:
            ManifestError: if the manifest lacks one of them.
        """
        train, validation, test = (manifest.select_paths(getattr(self, side)) for side in SIDES)
        return train, validation, test

    def write(self, path: Path | str) -> None:
        """Write the split as JSON, all or nothing."""
        write_text(path, json.dumps({**self._content(), "hash": self.hash}, indent=1) + "\n")

    @staticmethod
    def read(path: Path | str) -> "Split":
        """Read a split written by `write`.

        Raises:
            SplitError: if it is missing, no split, or not what its hash says.
        """
        try:
            content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            stored = content.pop("hash")
            train, validation, test = (tuple(map(str, content[side])) for side in SIDES)
            name, fold, seed = str(content["name"]), int(content["fold"]), int(content["seed"])
            split = Split(name, fold, train, validation, test, seed)
        except FileNotFoundError:
            raise SplitError(f"there is no split {path}: make one with 'vocaffect data split'") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SplitError(f"{path} is no split: make one with 'vocaffect data split'") from None
        if stored != split.hash:
            raise SplitError(f"{path} is not what its hash says, so it was edited or damaged: make it again")
        return split

    def _content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "fold": self.fold,
            "seed": self.seed,
            "train": list(self.train),
            "validation": list(self.validation),
            "test": list(self.test),
        }


@dataclass(frozen=True)
class Protocol:
    """A way of choosing test sides: ``folds`` of speakers, ``fractions`` of clips, or a number of folds.

    ``num_folds`` is 0 where the manifest decides.
    """

    name: str
    kind: Kind
    about: str
    folds: tuple[tuple[str, ...], ...] = ()
    fractions: tuple[float, ...] = ()
    num_folds: int = 1


@dataclass(frozen=True)
class Unit:
    """Clips that a split may not part: those of one speaker, or of speakers who share identical audio."""

    name: str
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        return len(self.utterances)


@cache
def protocols() -> dict[str, Protocol]:
    """Every protocol by its name."""
    table = json.loads((files("vocaffect") / "protocols.json").read_text(encoding="utf-8"))
    return {name: _protocol(name, **entry) for name, entry in table.items()}


def _protocol(
    name: str,
    kind: Kind,
    about: str,
    folds: Sequence[Sequence[str]] = (),
    fractions: Sequence[float] = (),
    num_folds: int = 1,
) -> Protocol:
    return Protocol(name, kind, about, tuple(map(tuple, folds)), tuple(fractions), len(folds) or num_folds)


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        SplitError: if the name is not known; the message offers the nearest.
    """
    if name not in protocols():
        raise SplitError(unknown_name("protocol", name, protocols()))
    return protocols()[name]


def clip_units(utterances: Iterable[Utterance]) -> list[Unit]:
    """One unit a clip, with clips of identical audio in one."""
    names = _clip_names(utterances := list(utterances))
    return _components(utterances, lambda utterance: names[utterance.path])


def speaker_units(utterances: Iterable[Utterance]) -> list[Unit]:
    """One unit a speaker, with speakers who share identical audio in one; unknown speakers go by clip."""
    names = _clip_names(utterances := list(utterances))
    return _components(utterances, lambda utterance: utterance.speaker or names[utterance.path])


def _clip_names(utterances: Sequence[Utterance]) -> dict[str, str]:
    """Each path without what differs between copies of a corpus: the folders all share, and the format."""
    paths = [PurePosixPath(utterance.path) for utterance in utterances]
    shared = posixpath.commonpath([f"/{path.parent}" for path in paths]) if paths else "/"
    names = [str(("/" / path.with_suffix("")).relative_to(shared)) for path in paths]
    return {utterance.path: name for utterance, name in zip(utterances, names, strict=True)}


def _components(utterances: Sequence[Utterance], key: Callable[[Utterance], str]) -> list[Unit]:
    """The clips joined wherever they share a key or a hash; each unit is named after its first key."""
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for utterance in utterances:
        parent[find(f"sha256 {utterance.sha256}")] = find(f"key {key(utterance)}")
    members: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        members[find(f"key {key(utterance)}")].append(utterance)
    return [Unit(min(map(key, unit)), tuple(unit)) for unit in members.values()]


def shuffled(units: Iterable[Unit], seed: int, fold: int = 0) -> list[Unit]:
    """The units in an order that depends on the seed, the fold and their names alone."""
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}/{fold}/{unit.name}".encode()).digest())


def hold_out(units: Iterable[Unit], fraction: float, seed: int, fold: int) -> tuple[list[Unit], list[Unit]]:
    """Part the units into (kept, held out): about ``fraction`` of the clips, each corpus and sex in turn.

    Raises:
        SplitError: if a fraction is wanted of fewer than two units.
    """
    order = _in_turn(shuffled(units, seed, fold))
    wanted = fraction * sum(map(len, order))
    if wanted and len(order) < 2:
        raise SplitError(
            "the training side has a single speaker, so none can be held out for validation: add speakers, "
            "or ask for a validation fraction of 0"
        )
    held: list[Unit] = []
    while wanted > 0 and len(order) > 1 and (not held or 2 * wanted >= len(order[0])):
        held.append(order.pop(0))
        wanted -= len(held[-1])
    return order, held


def _in_turn(units: Iterable[Unit]) -> list[Unit]:
    """The units reordered so that those of each corpus and sex come in turn."""
    groups: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in units:
        groups[unit.utterances[0].corpus, unit.utterances[0].sex].append(unit)
    return [unit for turn in zip_longest(*groups.values()) for unit in turn if unit is not None]


def balanced_folds(units: Iterable[Unit], num_folds: int, seed: int) -> list[list[Unit]]:
    """Deal the units out to folds alike in size, emotions and sexes: greedily, the largest units first.

    A unit goes where the clips that resemble it are fewest: the fold with the least sum over its properties
    of (clips with that property in the fold) * (clips with it in the unit) / (clips with it in all).

    Raises:
        SplitError: if there are fewer units than folds.
    """
    order = sorted(shuffled(units, seed), key=len, reverse=True)
    if not 2 <= num_folds <= len(order):
        raise SplitError(
            f"{len(order)} speakers cannot make {num_folds} folds: ask for at least 2, at most one a speaker"
        )
    total = Counter(chain.from_iterable(map(_properties, order)))
    folds: list[list[Unit]] = [[] for _ in range(num_folds)]
    loads: list[Counter[str]] = [Counter() for _ in range(num_folds)]
    for unit in order:
        counts = Counter(_properties(unit))

        def crowding(fold: int, counts: Counter[str] = counts) -> tuple[float, int]:
            return sum(loads[fold][name] * n / total[name] for name, n in counts.items()), fold

        chosen = min(range(num_folds), key=crowding)
        folds[chosen].append(unit)
        loads[chosen] += counts
    return folds


def _properties(unit: Unit) -> list[str]:
    """What a fold should have its share of: clips, clips of each emotion, clips of each sex."""
    return [name for clip in unit.utterances for name in ("clip", f"emotion {clip.emotion}", f"sex {clip.sex}")]
