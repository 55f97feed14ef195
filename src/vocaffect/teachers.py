"""The teachers that a recipe names: whom they have learned from, what they know, and what they say about clips."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vocaffect.bundle import read_card, resolve
from vocaffect.corpora import resolve_corpora
from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest, Utterance
from vocaffect.packing import recognizer_of
from vocaffect.posteriors import SUFFIXES, Posteriors, hear, require_labels
from vocaffect.protocols import get_protocol
from vocaffect.recipe import make_recipe
from vocaffect.recognizer import Recognizer
from vocaffect.runs import Run, fold_folders, open_run, split_of
from vocaffect.splits import Split

OnClip = Callable[[int, int], None]


@dataclass(frozen=True)
class Teacher:
    """A run of one fold, a bundle, or a table of posteriors; exactly one of the three is there."""

    name: str
    labels: tuple[str, ...]
    voices: frozenset[str] | None
    """The speakers that it has learned from, or chosen by; None where nobody knows."""
    run: Run | None = None
    bundle: Path | None = None
    table: Posteriors | None = None

    def recognizer(self) -> Recognizer:
        """Who can be asked about any clip, where it is not a table."""
        if self.run is not None:
            return recognizer_of(self.run)
        assert self.bundle is not None
        return Recognizer.load(self.bundle)

    def knows(self, clip: Utterance) -> bool:
        """Whether it has learned from the clip's voice; where nobody knows the voice, from the clip."""
        if not clip.speaker:
            return clip.sha256 in self._clips
        return self.voices is not None and clip.speaker in self.voices

    @cached_property
    def _clips(self) -> frozenset[str]:
        """The sounds that a run has learned from."""
        if self.run is None:
            return frozenset()
        training, validation, _ = self.run.split.of(self.run.manifest)
        return frozenset(clip.sha256 for side in (training, validation) for clip in side)

    def says(self, manifest: Manifest, cache: Path | None, on_clip: OnClip) -> Posteriors:
        """What it says about clips; a table knows its own only."""
        return self.table if self.table is not None else hear(self.recognizer(), manifest, cache, on_clip)


def find_teachers(names: Sequence[str], fold: int, manifest: Manifest) -> list[Teacher]:
    """The teachers of a fold: of a run of all folds its own fold, and ``{fold}`` in a name is its number.

    Args:
        names: runs, bundles, shipped recognisers, or files of posteriors.
        fold: the student's.
        manifest: the student's clips, by which a bundle's card is asked whom it has learned from.

    Raises:
        VocaffectError: if there is no such teacher.
    """
    return [_find_one(name.replace("{fold}", str(fold)), fold, manifest) for name in names]


def find_folds(name: str, manifest: Manifest) -> list[Teacher]:
    """All folds of a run as one teacher each; anything else is one teacher.

    Raises:
        VocaffectError: if there is no such teacher.
    """
    if Path(name).is_dir():
        return [_of_run(open_run(folder)) for folder in fold_folders(Path(name))]
    return [_find_one(name, 1, manifest)]


def _find_one(name: str, fold: int, manifest: Manifest) -> Teacher:
    path = Path(name)
    if path.suffix in SUFFIXES:
        table = Posteriors.read(path)
        return Teacher(name, table.labels, table.voices, table=table)
    if path.is_dir():
        own = path / f"fold_{fold}"
        if fold_folders(path) != [path] and not own.is_dir():
            raise VocaffectError(f"{path} has no fold {fold} to teach fold {fold}: train it, or name another teacher")
        return _of_run(open_run(own if own.is_dir() else path))
    bundle = resolve(name)
    card = read_card(bundle)
    return Teacher(name, tuple(card.labels), voices_of(card.recipe, card.manifest_hash, manifest), bundle=bundle)


def _of_run(run: Run) -> Teacher:
    return Teacher(str(run.folder), run.labels, voices_of_run(run), run=run)


def voices_of_run(run: Run) -> frozenset[str]:
    """Whom a run learns from: the speakers of its training side, and of its validation side, by whom it is chosen."""
    return _learned(run.manifest, run.split)


def _learned(manifest: Manifest, split: Split) -> frozenset[str]:
    training, validation, _ = split.of(manifest)
    return frozenset(training.speakers) | frozenset(validation.speakers)


def voices_of(card_recipe: Mapping[str, Any], manifest_hash: str, manifest: Manifest) -> frozenset[str] | None:
    """Which speakers of a manifest a bundle has learned from, by its card; None where the card does not tell.

    It does for the very clips of the manifest, and wherever a protocol names the speakers that it tests.
    """
    if "members" in card_recipe:
        members = [voices_of(m["recipe"], m["manifest_hash"], manifest) for m in card_recipe["members"]]
        return None if None in members else frozenset().union(*(voices for voices in members if voices is not None))
    try:
        recipe = make_recipe(card_recipe)
        if manifest_hash == manifest.hash:
            return _learned(manifest, split_of(recipe, manifest))
        protocol = get_protocol(recipe.data.protocol)
        if protocol.kind not in ("speakers", "all"):
            return None
        corpora = [corpus.speakers_of or corpus.name for corpus in resolve_corpora(recipe.data.corpus)]
    except VocaffectError:
        return None
    tested = protocol.folds[recipe.data.fold - 1] if protocol.folds else ()
    known = {speaker for speaker in manifest.speakers if any(speaker.startswith(f"{name}-") for name in corpora)}
    return frozenset(known - set(tested))


def teachers_of(run: Run) -> list[Teacher]:
    """The teachers that a run's recipe names, those of the run's fold."""
    return find_teachers(run.recipe.distillation.teachers, run.recipe.data.fold, run.manifest)


def check_teachers(run: Run, *, allow_leak: bool = False) -> None:
    """Refuse teachers that do not know the labels, cannot hear what they should, or have heard the test speakers.

    Raises:
        VocaffectError: as said; leaks only without ``allow_leak``.
    """
    for teacher in teachers_of(run):
        require_labels(teacher.labels, run.labels, teacher.name)
        refuse_heard(teacher.name, teacher.voices or (), run.split.of(run.manifest)[2], allow_leak)
        if run.recipe.distillation.hears == "augmented" and teacher.table is not None:
            raise VocaffectError(
                f"{teacher.name} holds posteriors of whole clips, so it cannot hear augmented ones: take a run or a "
                "bundle, or set distillation.hears to clean"
            )


def cautions(teachers: Sequence[Teacher], run: Run) -> Iterator[str]:
    """What makes no test untrue but should be known: a teacher of unknown voices, or of validation speakers."""
    for teacher in teachers:
        if teacher.voices is None:
            yield f"nobody can tell which voices {teacher.name} has learned from: make sure that none is tested here"
        elif known := sorted(teacher.voices & set(run.split.of(run.manifest)[1].speakers)):
            yield (
                f"{teacher.name} has learned from {_some(known)} of the validation side: the validation score "
                "flatters, the test does not"
            )


def refuse_heard(name: str, voices: Iterable[str], test: Manifest, allowed: bool) -> None:
    """Refuse what has heard the voices of a test side.

    Raises:
        VocaffectError: if it has, and that is not allowed.
    """
    known = sorted(set(voices) & set(test.speakers))
    if known and not allowed:
        raise VocaffectError(
            f"{name} has heard speakers of this run's test side ({_some(known)}), so the numbers would flatter: take "
            "one that has not, or pass --allow-leak"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def together(teachers: Iterable[Teacher]) -> frozenset[str] | None:
    """All voices that the teachers know; None if of one of them nobody can tell."""
    every = [teacher.voices for teacher in teachers]
    return None if None in every else frozenset().union(*(voices for voices in every if voices is not None))
