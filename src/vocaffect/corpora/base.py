"""What every corpus reader has in common, and the registry that finds one by its name."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar, cast

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.labels import LabelSet

EXTENSIONS = frozenset({".aiff", ".au", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm"})
"""Files that corpus readers take for clips."""
_LOSSLESS = frozenset({".aiff", ".au", ".flac", ".wav"})


class CorpusError(VocaffectError):
    """A corpus cannot be read; the message says why and how to mend it."""


@dataclass(frozen=True)
class Entry:
    """One labelled clip as its corpus names it, before its audio is read.

    ``path`` is absolute or relative to the corpus' folder; ``emotion`` is the corpus' own word; ``speaker``
    is the corpus' own number or name, empty where nobody knows.
    """

    path: Path
    emotion: str
    speaker: str = ""
    sex: str = ""
    intensity: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Archive:
    """The official download of a corpus: a zip, its published size and MD5, and the most it may unpack to."""

    url: str
    file_name: str
    num_bytes: int
    md5: str
    max_unpacked_bytes: int


class Corpus:
    """A corpus of labelled speech: where it is, its licence, and what its file names mean.

    A reader of your own is a subclass with its own `collect_files`. ``layout`` is an example of where a clip
    lies, ``access`` says how to get a corpus that has no ``archive``, ``speakers_of`` names the corpus whose
    people speak here too, so that no split takes them for others. ``labels`` are those that the clips are read for.
    """

    name: str = ""
    title: ClassVar[str] = ""
    language: ClassVar[str] = ""
    homepage: ClassVar[str] = ""
    licence: ClassVar[str] = "not stated"
    citation: ClassVar[str] = ""
    num_clips: ClassVar[int | None] = None
    layout: ClassVar[str] = ""
    access: ClassVar[str] = ""
    archive: ClassVar[Archive | None] = None
    speakers_of: ClassVar[str] = ""
    labels: LabelSet = LabelSet()

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """The labelled clips below the corpus' own folder, in any order."""
        raise NotImplementedError(f"{type(self).__name__} must say how to collect_files")

    def locate(self, data_root: Path) -> Path:
        """The corpus' folder: ``data_root/name`` where there is one, otherwise ``data_root`` itself."""
        return data_root / self.name if self.name and (data_root / self.name).is_dir() else data_root

    def collect(self, data_root: Path) -> list[Entry]:
        """Every labelled clip of the corpus, with absolute paths, sorted by path.

        Raises:
            CorpusError: if there is no such folder or no clip in it.
        """
        if not data_root.exists():
            raise CorpusError(f"there is no folder {data_root}: pass the folder of the clips as --data-root")
        root = self.locate(data_root).resolve()
        entries = sorted(self.collect_files(root), key=lambda entry: root / entry.path)
        if not entries:
            layout = f" as {self.layout}" if self.layout else ""
            raise CorpusError(f"no clips of {self.name or 'the corpus'} lie under {data_root}{layout}: {self._cure()}")
        return entries

    def _cure(self) -> str:
        if self.archive:
            return f"get them with 'vocaffect data download {self.name}'"
        return f"check --data-root; {self.access}" if self.access else "check --data-root"


Reader = Callable[[Path], Iterable[Entry]]
_T = TypeVar("_T", type[Corpus], Reader)
_CORPORA: dict[str, type[Corpus]] = {}


def register_corpus(name: str) -> Callable[[_T], _T]:
    """Make a `Corpus` subclass, or a function from a folder to entries, known under a name."""

    def register(reader: _T) -> _T:
        _CORPORA[name] = corpus_class(name, reader)
        return reader

    return register


def corpus_class(name: str, reader: type[Corpus] | Reader) -> type[Corpus]:
    """The `Corpus` subclass of that name that reads as ``reader`` does."""
    if isinstance(reader, type) and issubclass(reader, Corpus):
        reader.name = name
        return reader

    def collect_files(self: Corpus, root: Path) -> Iterable[Entry]:
        return cast(Reader, reader)(root)

    return type(name, (Corpus,), {"name": name, "collect_files": collect_files, "__doc__": reader.__doc__})


def corpus_names() -> tuple[str, ...]:
    """The names of all corpora that are known, sorted."""
    return tuple(sorted(_CORPORA))


def get_corpus(name: str) -> Corpus:
    """The corpus of that name.

    Raises:
        CorpusError: if the name is not known; the message offers the nearest.
    """
    if name not in _CORPORA:
        raise CorpusError(unknown_name("corpus", name, _CORPORA))
    return _CORPORA[name]()


def find_clips(root: Path) -> Iterator[Path]:
    """Every audio file below a folder, by its extension, hidden files left out."""
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file():
            yield path


def named_clips(root: Path, pattern: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """The clips whose path below ``root`` ends, before its extension, as a pattern says, and what its groups hold.

    Clips whose groups hold the same are copies, as some archives carry them: one that is coded without loss
    counts, then the one that lies the least deep.
    """
    whole = re.compile(rf"(?:.*/)?(?:{pattern})")
    known: set[tuple[str, ...]] = set()
    for path in sorted(find_clips(root), key=lambda path: (path.suffix.lower() not in _LOSSLESS, len(path.parts))):
        match = whole.fullmatch(path.relative_to(root).with_suffix("").as_posix())
        if match and match.groups() not in known:
            known.add(match.groups())
            yield path, match.groupdict()
