"""From the files of corpora to a manifest: every clip is decoded once, hashed and measured."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path

from vocaffect.audio import AudioError
from vocaffect.corpora.base import Corpus, CorpusError, Entry, Reader, corpus_class, get_corpus
from vocaffect.corpora.measured import Measured, measured
from vocaffect.corpora.own import Table
from vocaffect.labels import LabelSet
from vocaffect.manifest import Manifest, Utterance
from vocaffect.plugins import load_file

Progress = Callable[[int, int], None]
Dropped = Callable[[str, Mapping[str, int]], None]


def prepare(
    corpus: str | Corpus | type[Corpus] | Reader,
    data_root: Path | str,
    *,
    partial: bool = False,
    skip_broken: bool = False,
    progress: Progress | None = None,
    dropped: Dropped | None = None,
    labels: LabelSet | None = None,
    cache: Path | None = None,
) -> Manifest:
    """The manifest of corpora that lie under ``data_root``; ``progress`` hears (clips done, clips in all).

    ``corpus`` is a name, several (``ravdess+tess``), a table (``clips.csv``), ``reader.py:Name``, a `Corpus`, or a
    function from a folder to entries. Clips whose emotion has no place among ``labels`` (the eight) are left out;
    ``dropped`` hears of every corpus that has such clips: its name, and how many carry which of its words. Clips that
    did not change since they were prepared with the same folder as ``cache`` are not decoded again.

    Raises:
        CorpusError: if clips are missing (unless ``partial``) or cannot be read (unless ``skip_broken``).
    """
    root, labels = Path(data_root).resolve(), labels or LabelSet()
    readers = list(map(copy, resolve_corpora(corpus)))
    for reader in readers:
        reader.labels = labels
    found = {reader: _collect(reader, root, partial) for reader in readers}
    for reader, entries in found.items():
        words = Counter(entry.emotion for entry in entries if labels.of(entry.emotion) is None)
        if words and dropped is not None:
            dropped(reader.name, words)
    clips = [(reader, entry) for reader, entries in found.items() for entry in entries]
    utterances: list[Utterance] = []
    broken: list[AudioError] = []
    with measured(root, cache) as known:
        for number, (reader, entry) in enumerate(clips, 1):
            try:
                utterances.extend(_utterances(reader, entry, known))
            except AudioError as error:
                broken.append(error)
            if progress is not None:
                progress(number, len(clips))
    if broken and not (skip_broken and utterances):
        raise CorpusError(
            f"{len(broken)} of {len(clips)} clips cannot be used; the first: {broken[0]} "
            "(--skip-broken leaves such clips out)"
        )
    return Manifest(root, tuple(utterances), labels.names)


def dropped_sentence(corpus: str, words: Mapping[str, int]) -> str:
    """What to tell of clips that were left out.

    >>> dropped_sentence("emodb", {"boredom": 81})
    'emodb: 81 clips left out, whose emotion has no place among the labels (boredom 81)'
    """
    each = ", ".join(f"{word} {count:,}" for word, count in sorted(words.items()))
    return f"{corpus}: {sum(words.values()):,} clips left out, whose emotion has no place among the labels ({each})"


def _collect(reader: Corpus, root: Path, partial: bool) -> list[Entry]:
    """All the clips of a corpus, which must be whole unless ``partial``."""
    entries = reader.collect(root)
    if reader.num_clips is not None and len(entries) != reader.num_clips and not partial:
        raise CorpusError(
            f"{len(entries)} clips of {reader.name} lie under {root}, but the corpus has {reader.num_clips}: get the "
            "whole corpus, or pass --partial (in a recipe, data.partial: true) to go on with these"
        )
    return entries


def resolve_corpora(corpora: str | Corpus | type[Corpus] | Reader) -> list[Corpus]:
    """The readers that ``ravdess+tess`` stands for, each once, or the one that anything else stands for.

    >>> [corpus.name for corpus in resolve_corpora("ravdess+tess")]
    ['ravdess', 'tess']

    Raises:
        CorpusError: if there is no such reader.
    """
    if not isinstance(corpora, str) or corpora.lower().endswith(".csv") or ".py:" in corpora:
        return [resolve_corpus(corpora)]
    return [get_corpus(name.strip()) for name in dict.fromkeys(corpora.split("+"))]


def resolve_corpus(corpus: str | Corpus | type[Corpus] | Reader) -> Corpus:
    """The reader that a name, a table, a ``reader.py:Name``, a class or a function stands for.

    Raises:
        CorpusError: if there is no such reader.
    """
    if isinstance(corpus, Corpus):
        return corpus
    if not isinstance(corpus, str):
        return corpus_class(getattr(corpus, "name", "") or corpus.__name__.lower(), corpus)()
    file, _, name = corpus.rpartition(":")
    if file.endswith(".py"):
        return resolve_corpus(_load_reader(Path(file), name))
    return Table(Path(corpus)) if corpus.lower().endswith(".csv") else get_corpus(corpus)


def _load_reader(file: Path, name: str) -> type[Corpus] | Reader:
    if not file.is_file():
        raise CorpusError(f"there is no reader {file}: check the path")
    reader: type[Corpus] | Reader | None = getattr(load_file(file), name, None)
    if reader is None:
        raise CorpusError(f"{file} defines no {name}: name a class or a function in it, as in reader.py:MyCorpus")
    return reader


def _utterances(corpus: Corpus, entry: Entry, known: Measured) -> list[Utterance]:
    """The entry as an utterance; none if its emotion has no label."""
    emotion = corpus.labels.of(entry.emotion)
    if emotion is None:
        return []
    root = known.root
    path = Path(os.path.normpath(corpus.locate(root) / entry.path))
    if not path.is_relative_to(root):
        raise CorpusError(f"{path} is not under {root}: pass a folder that holds all clips as --data-root")
    heard = known.of(path)
    return [
        Utterance(
            path=path.relative_to(root).as_posix(),
            sha256=heard.sha256,
            duration_s=heard.duration_s,
            speaker=f"{corpus.speakers_of or corpus.name}-{entry.speaker}" if entry.speaker else "",
            sex=entry.sex,
            emotion=emotion,
            intensity=entry.intensity,
            sentence=entry.sentence,
            corpus=corpus.name,
        )
    ]
