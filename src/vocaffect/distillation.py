"""What teachers say about the clips that a student trains on: once about the clean ones, or live about augmented ones.

Hinton G, Vinyals O, Dean J (2015), arXiv:1503.02531. The loss is in `vocaffect.losses.distillation`.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.files import cache_folder
from vocaffect.labels import EMOTIONS, LabelSet, emotion_of
from vocaffect.manifest import Manifest
from vocaffect.posteriors import Posteriors, average
from vocaffect.recognizer import Recognizer
from vocaffect.runs import UNLABELLED, Run
from vocaffect.sources import read_clips
from vocaffect.teachers import OnClip, Teacher, cautions, find_folds, teachers_of, together
from vocaffect.training import ranks

TEACHERS = "teachers.npz"
"""In a run's folder: what the teachers say about its clean training clips."""
NO_LABEL = ""
"""What stands for the emotion of a clip that only teachers speak about."""


def _silent(done: int, total: int) -> None:
    """Nobody watches the progress."""


class Lesson(NamedTuple):
    """What a student trains on: clips, what teachers have said about them, or the teachers who hear them live."""

    clips: Manifest
    soft: NDArray[np.float32] | None = None
    live: "LiveTeachers | None" = None


class _AnyWord(LabelSet):
    """Every word has a place: that of the emotion it stands for, or one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.names = ()

    def of(self, word: str) -> str:
        """The emotion, or the word."""
        return emotion_of(word) or word.strip().lower()

    def require(self, word: str) -> str:
        """The word, whatever it is."""
        return word


def clips_without_labels(corpus: str | None, data_root: Path, partial: bool = False) -> Manifest | None:
    """The clips of corpora or of a manifest, whatever their labels; ``None`` where none are named.

    Raises:
        VocaffectError: if they cannot be read.
    """
    if corpus is None:
        return None
    clips = read_clips(corpus, data_root, partial=partial, labels=_AnyWord(), cache=cache_folder())
    return replace(clips, labels=tuple(dict.fromkeys([*EMOTIONS, *(clip.emotion for clip in clips)])))


def begin_lesson(run: Run, more: Manifest | None) -> None:
    """Put into a run's folder which clips of ``more`` teachers shall label, and forget what others have said."""
    for name in (TEACHERS, UNLABELLED):
        (run.folder / name).unlink(missing_ok=True)
    if more is not None:
        unheard(more, run).write(run.folder / UNLABELLED)


def lesson_of(run: Run, cache: Path, on_clip: OnClip = _silent, note: Callable[[str], None] = lambda _: None) -> Lesson:
    """What a run trains on; what its teachers say about clean clips is kept in its folder.

    Raises:
        VocaffectError: if a teacher cannot be asked, or knows none of the clips.
    """
    clips, more = run.split.of(run.manifest)[0], run.folder / UNLABELLED
    if more.is_file():
        clips = joined(clips, Manifest.read(more))
    options, kept = run.recipe.distillation, run.folder / TEACHERS
    if not options.teachers:
        return Lesson(clips)
    if options.hears == "augmented":
        return Lesson(clips, live=LiveTeachers(_teachers(run, note), run.labels))

    def ask() -> None:
        if not kept.is_file():
            soft_targets(_teachers(run, note), clips, run.labels, cache, on_clip).write(kept)

    ranks.first(ask)
    soft = Posteriors.read(kept).of(clips, run.labels)
    spoken_of = soft.any(axis=1) | np.array([clip.emotion != NO_LABEL for clip in clips])
    clips, soft = clips.select(spoken_of), soft[spoken_of]
    if missing := int((~soft.any(axis=1)).sum()):
        note(f"the teachers say nothing about {missing:,} of {len(clips):,} clips: only their labels count")
    return Lesson(clips, soft)


def _teachers(run: Run, note: Callable[[str], None]) -> list[Teacher]:
    teachers = teachers_of(run)
    for sentence in cautions(teachers, run):
        note(sentence)
    return teachers


def soft_targets(
    teachers: Sequence[Teacher],
    manifest: Manifest,
    labels: Sequence[str],
    cache: Path | None = None,
    on_clip: OnClip = _silent,
) -> Posteriors:
    """What the teachers say on average about each clip that any of them knows, over the student's labels.

    Raises:
        VocaffectError: if they know none of the clips.
    """
    tables = [teacher.says(manifest, cache, on_clip) for teacher in teachers]
    values = average([table.of(manifest, labels) for table in tables])
    known = values.sum(axis=1) > 0
    if not known.any():
        names = ", ".join(teacher.name for teacher in teachers)
        raise VocaffectError(f"{names} says nothing about any training clip: make its posteriors of these clips")
    told = [name for table in tables for name in table.teachers]
    return _table(manifest.select(known), labels, values[known], told, together(teachers))


def tell(
    names: Sequence[str], manifest: Manifest, cache: Path | None = None, on_clip: OnClip = _silent
) -> tuple[Posteriors, int]:
    """What recognisers say on average about clips, and how many clips are told by such as know their voices.

    Of a run of several folds only those speak about a clip that have not learned from its voice, so that what they
    say of clips they were trained on is honest; where all have, all speak.

    Raises:
        VocaffectError: if there is no such recogniser, or they do not know the same labels.
    """
    groups = [find_folds(name, manifest) for name in names]
    knows = [np.array([[teacher.knows(clip) for clip in manifest] for teacher in group]) for group in groups]
    speaks = [~known | known.all(axis=0) for known in knows]
    total, done, labels = int(sum(mask.sum() for mask in speaks)), 0, groups[0][0].labels
    tables, told = [], list[str]()
    for group, masks in zip(groups, speaks, strict=True):
        values = []
        for teacher, mask in zip(group, masks, strict=True):
            if not mask.any():
                continue
            said = teacher.says(manifest.select(mask), cache, _counted(on_clip, done, total))
            values.append(said.of(manifest, labels) * mask[:, None])
            told, done = [*told, *said.teachers], done + int(mask.sum())
        tables.append(average(values))
    voices = together(teacher for group in groups for teacher in group)
    num_known = int(np.any([known.all(axis=0) for known in knows], axis=0).sum())
    return _table(manifest, labels, average(tables), told, voices), num_known


def _counted(on_clip: OnClip, before: int, total: int) -> OnClip:
    return lambda done, _: on_clip(before + done, total)


def _table(
    manifest: Manifest,
    labels: Sequence[str],
    values: NDArray[np.float32],
    told: Sequence[str],
    voices: frozenset[str] | None,
) -> Posteriors:
    paths, hashes = (tuple(getattr(clip, name) for clip in manifest) for name in ("path", "sha256"))
    return Posteriors(tuple(labels), paths, hashes, values, tuple(dict.fromkeys(told)), voices)


class LiveTeachers:
    """Teachers who hear every clip as the student does: augmented, and cut."""

    def __init__(self, teachers: Sequence[Teacher], labels: Sequence[str]) -> None:
        self.teachers, self.labels = teachers, labels
        self._asked: tuple[int, list[Recognizer]] = (0, [])

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean posterior ``(num_labels,)`` of samples ``(num_samples,)``.

        The recognisers are opened in the process that asks, since an open one does not outlive a fork.
        """
        if self._asked[0] != os.getpid():
            self._asked = (os.getpid(), [teacher.recognizer() for teacher in self.teachers])
        return np.asarray(average([self._ask(recognizer, samples) for recognizer in self._asked[1]])[0])

    def _ask(self, recognizer: Recognizer, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.pad(samples, (0, max(recognizer.card.hop - len(samples), 0)))
        posterior = recognizer.decide(whole).posterior
        return Posteriors(tuple(recognizer.labels), ("",), ("",), posterior[None]).over(self.labels)


def unheard(more: Manifest, run: Run) -> Manifest:
    """The clips of ``more`` that a run does not hold, of nobody on its validation and test sides."""
    voices = {speaker for side in run.split.of(run.manifest)[1:] for speaker in side.speakers}
    heard = {clip.sha256 for clip in run.manifest}
    return more.select([clip.sha256 not in heard and clip.speaker not in voices for clip in more])


def joined(manifest: Manifest, unlabelled: Manifest) -> Manifest:
    """Both manifests' clips under one root; those of the second have lost their labels."""
    silenced = replace(unlabelled, utterances=tuple(replace(clip, emotion=NO_LABEL) for clip in unlabelled))
    parts = [(part.root.resolve(), part) for part in (manifest, silenced)]
    root = Path(os.path.commonpath([own for own, _ in parts]))
    clips = [replace(c, path=(own.relative_to(root) / c.path).as_posix()) for own, part in parts for c in part]
    return replace(manifest, root=root, utterances=tuple(clips))
