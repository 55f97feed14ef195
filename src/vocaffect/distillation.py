"""What teachers say about the clips that a student trains on: once about the clean ones, or live about augmented ones.

Hinton G, Vinyals O, Dean J (2015), arXiv:1503.02531. The loss is in `vocaffect.losses.distillation`.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest
from vocaffect.posteriors import Posteriors, average
from vocaffect.recognizer import Recognizer
from vocaffect.teachers import OnClip, Teacher, find_folds, together

NO_LABEL = ""
"""What stands for the emotion of a clip that only teachers speak about."""


def _silent(done: int, total: int) -> None:
    """Nobody watches the progress."""


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
    known = values.any(axis=1)
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
            said = teacher.says(manifest.select(mask), cache, lambda n, _, before=done: on_clip(before + n, total))
            values.append(said.of(manifest, labels) * mask[:, None])
            told, done = [*told, *said.teachers], done + int(mask.sum())
        tables.append(average(values))
    voices = together(teacher for group in groups for teacher in group)
    num_known = int(np.any([known.all(axis=0) for known in knows], axis=0).sum())
    return _table(manifest, labels, average(tables), told, voices), num_known


def _table(
    manifest: Manifest, labels: Sequence[str], values: NDArray[np.float32], told: Sequence[str], voices: frozenset[str] | None
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
        posterior = recognizer.posterior(whole).posterior
        return Posteriors(tuple(recognizer.labels), ("",), ("",), posterior[None]).over(self.labels)


def unheard(more: Manifest, manifest: Manifest, *sides: Manifest) -> Manifest:
    """The clips of ``more`` that are not in a manifest, and whose voices are on none of its sides given."""
    voices = {speaker for side in sides for speaker in side.speakers}
    heard = {clip.sha256 for clip in manifest}
    return more.select([clip.sha256 not in heard and clip.speaker not in voices for clip in more])


def joined(manifest: Manifest, unlabelled: Manifest) -> Manifest:
    """Both manifests' clips under one root; those of the second have lost their labels."""
    silenced = Manifest(unlabelled.root, tuple(replace(clip, emotion=NO_LABEL) for clip in unlabelled))
    parts = [(part.root.resolve(), part) for part in (manifest, silenced)]
    root = Path(os.path.commonpath([own for own, _ in parts]))
    clips = [replace(c, path=(own.relative_to(root) / c.path).as_posix()) for own, part in parts for c in part]
    return Manifest(root, tuple(clips))
