"""Corpora of emotional speech: one file each says where it is, its licence, and what its file names mean."""

from vocaffect.corpora import own, ravdess
from vocaffect.corpora.base import (
    Archive,
    Corpus,
    CorpusError,
    Entry,
    corpus_names,
    find_clips,
    get_corpus,
    register_corpus,
)
from vocaffect.corpora.prepare import prepare, resolve_corpus

__all__ = [
    "Archive",
    "Corpus",
    "CorpusError",
    "Entry",
    "corpus_names",
    "find_clips",
    "get_corpus",
    "own",
    "prepare",
    "ravdess",
    "register_corpus",
    "resolve_corpus",
]
