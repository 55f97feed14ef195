"""The table of clips: where each lies, what it sounds like as a hash, who speaks, and with which emotion."""

import csv
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.files import atomic_path
from vocaffect.labels import EMOTIONS, LabelSet

_HEADER = re.compile(
    r"# vocaffect manifest, root (?P<root>\".*?\")(?:, labels (?P<labels>\[.*\]))?, hash (?P<hash>[0-9a-f]{64})\s*"
)


class ManifestError(VocaffectError):
    """A manifest cannot be read or used; the message says why and how to mend it."""


class ColumnsError(ManifestError):
    """A table lacks columns of a manifest: it may be a table of one's own, to be prepared."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled clip; ``path`` is relative to the manifest's root, with forward slashes.

    ``sha256`` is over the decoded samples (see `vocaffect.audio.Measurement`), ``speaker`` carries the name
    of the corpus in front ("ravdess-01") or is empty where nobody knows, ``sex`` is "male", "female" or "".
    """

    path: str
    sha256: str
    duration_s: float
    speaker: str
    sex: str
    emotion: str
    intensity: str
    sentence: str
    corpus: str


COLUMNS = tuple(field.name for field in fields(Utterance))


@dataclass(frozen=True)
class Manifest:
    """Labelled clips under one root folder, ordered by path, each path once; the emotions are among ``labels``.

    Raises:
        ManifestError: if a path comes twice or leaves the root, or a cell holds a control character.
    """

    root: Path
    utterances: tuple[Utterance, ...]
    labels: tuple[str, ...] = EMOTIONS

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.utterances, key=lambda utterance: utterance.path))
        for before, after in pairwise(ordered):
            if before.path == after.path:
                raise ManifestError(f"the manifest names {after.path} twice: keep one of the two rows")
        for utterance in ordered:
            _check_inside(utterance.path)
            if broken := [cell for cell in _row(utterance) if not cell.isprintable()]:
                raise ManifestError(
                    f"{broken[0]!r} holds characters that cannot be printed: mend the label or file name"
                )
        object.__setattr__(self, "utterances", ordered)

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    @cached_property
    def hash(self) -> str:
        """64 hex digits over what the clips are (sound and labels), whatever their order, paths and root."""
        rows = sorted(json.dumps(_row(utterance)[1:]) for utterance in self.utterances)
        rows += [json.dumps(self.labels)] * (self.labels != EMOTIONS)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    @cached_property
    def by_path(self) -> dict[str, Utterance]:
        """Each utterance by its path."""
        return {utterance.path: utterance for utterance in self.utterances}

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of those who speak, sorted; clips of nobody known add none."""
        return tuple(sorted({utterance.speaker for utterance in self.utterances} - {""}))

    @property
    def corpora(self) -> tuple[str, ...]:
        """The names of the corpora that the clips come from, sorted."""
        return tuple(sorted({utterance.corpus for utterance in self.utterances}))

    def audio_path(self, utterance: Utterance) -> Path:
        """Where the clip lies on this machine."""
        return self.root / utterance.path

    def select(self, which: NDArray[np.bool_] | NDArray[np.integer[Any]] | Iterable[int | bool]) -> "Manifest":
        """The clips that a boolean mask ``(num_utterances,)`` or a list of indices picks out."""
        index = np.asarray(which if isinstance(which, np.ndarray) else list(which))
        chosen = np.arange(len(self))[index.astype(bool if index.dtype == bool else np.int64)]
        return replace(self, utterances=tuple(self.utterances[i] for i in chosen))

    def select_paths(self, paths: Iterable[str]) -> "Manifest":
        """The clips with these paths, as a split names them.

        Raises:
            ManifestError: if one of them is not in the manifest.
        """
        wanted = list(paths)
        missing = [path for path in wanted if path not in self.by_path]
        if missing:
            raise ManifestError(
                f"{len(missing)} clips of the split are not in the manifest (first: {missing[0]}): "
                "make the split again from this manifest"
            )
        return replace(self, utterances=tuple(self.by_path[path] for path in wanted))

    def relabelled(self, labels: LabelSet) -> tuple["Manifest", dict[str, Counter[str]]]:
        """The clips that have a place in another set of labels; and of the rest, each corpus' words, counted."""
        found = [(clip, labels.of(clip.emotion)) for clip in self.utterances]
        dropped: dict[str, Counter[str]] = defaultdict(Counter)
        for clip, label in found:
            if label is None:
                dropped[clip.corpus][clip.emotion] += 1
        kept = tuple(replace(clip, emotion=label) for clip, label in found if label is not None)
        return Manifest(self.root, kept, labels.names), dict(dropped)

    def write(self, path: Path | str) -> None:
        """Write the table, all or nothing: Parquet where the name ends in ``.parquet``, CSV elsewhere.

        Raises:
            VocaffectError: if Parquet is wanted and pyarrow is missing.
        """
        target = Path(path)
        root = _stored_root(self.root, target)
        with atomic_path(target) as temporary:
            if target.suffix == ".parquet":
                _write_parquet(self, temporary, root)
            else:
                temporary.write_text(_to_csv(self, root), encoding="utf-8", newline="")

    @staticmethod
    def read(path: Path | str, root: Path | str | None = None, labels: LabelSet | None = None) -> "Manifest":
        """Read a table written by `write`; ``root`` says where the clips lie now, if they were moved.

        ``labels`` are those of a table that does not say which it has, as one without its first line; the eight
        otherwise.

        Raises:
            ManifestError: if the file is missing, no manifest, or not what its hash says.
        """
        source = Path(path)
        if not source.is_file():
            raise ManifestError(f"there is no manifest {source}: make one with 'vocaffect data prepare'")
        header, rows = _read_parquet(source) if source.suffix == ".parquet" else _read_csv(source)
        stored = source.parent / header.get("root", ".")
        if header:
            labels = LabelSet(json.loads(header.get("labels", json.dumps(EMOTIONS))))
        chosen = labels or LabelSet()
        utterances = tuple(_utterances(rows, source, chosen))
        manifest = Manifest(Path(root if root is not None else stored), utterances, chosen.names)
        if header.get("hash", manifest.hash) != manifest.hash:
            raise ManifestError(
                f"the rows of {source} do not match its hash, so it was cut short or edited: run 'vocaffect "
                "data prepare' again, or if you meant to edit it delete its first line and pass --data-root"
            )
        return manifest


def _row(utterance: Utterance) -> list[str]:
    return [str(value) for value in asdict(utterance).values()]


def _check_inside(path: str) -> None:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts:
        raise ManifestError(f"the manifest names '{path}', which is not inside its root: use relative paths")


def _stored_root(root: Path, target: Path) -> str:
    """The root as stored: relative where the clips lie beside or below the manifest, else absolute."""
    absolute, folder = root.resolve(), target.parent.resolve()
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def _to_csv(manifest: Manifest, root: str) -> str:
    text = io.StringIO()
    labels = f", labels {json.dumps(manifest.labels)}" if manifest.labels != EMOTIONS else ""
    text.write(f"# vocaffect manifest, root {json.dumps(root)}{labels}, hash {manifest.hash}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(utterance) for utterance in manifest)
    return text.getvalue()


def _read_csv(source: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    try:
        first, rest = (source.read_bytes().decode("utf-8-sig") + "\n").split("\n", 1)
        match = _HEADER.fullmatch(first)
        reader = csv.DictReader(io.StringIO(rest if match else f"{first}\n{rest}", newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error):
        raise ManifestError(f"{source} is no CSV text: make it with 'vocaffect data prepare'") from None
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise ColumnsError(
            f"{source} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: make a manifest of a "
            f"table of your own with 'vocaffect data prepare {source} -o manifest.csv'"
        )
    header = {name: text for name, text in match.groupdict().items() if text} if match else {}
    if match:
        header["root"] = json.loads(match["root"])
    return header, rows


def _utterances(rows: Iterable[dict[str, Any]], source: Path, labels: LabelSet) -> Iterator[Utterance]:
    for number, row in enumerate(rows, 1):
        cells = {name: row.get(name) for name in COLUMNS}
        if None in cells.values() or None in row:
            raise ManifestError(f"row {number} of {source} has too few or too many cells: mend or remove it")
        texts = {name: str(cell) for name, cell in cells.items()}
        try:
            duration_s, word = float(texts.pop("duration_s")), labels.require(texts.pop("emotion"))
        except ValueError:
            raise ManifestError(f"row {number} of {source} has no number as duration_s: mend it") from None
        except VocaffectError as error:
            raise ManifestError(f"row {number} of {source}: {error}") from None
        yield Utterance(duration_s=duration_s, emotion=labels.of(word) or word, **texts)


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise VocaffectError("Parquet needs pyarrow: pip install 'vocaffect[train]', or use .csv") from None
    return pyarrow


def _write_parquet(manifest: Manifest, path: Path, root: str) -> None:
    pyarrow = _parquet()
    labels = {"labels": json.dumps(manifest.labels)} if manifest.labels != EMOTIONS else {}
    table = pyarrow.Table.from_pylist(
        [asdict(utterance) for utterance in manifest],
        schema=pyarrow.schema(
            [(name, pyarrow.float64() if name == "duration_s" else pyarrow.string()) for name in COLUMNS],
            metadata={"vocaffect": json.dumps({"root": root, "hash": manifest.hash, **labels})},
        ),
    )
    pyarrow.parquet.write_table(table, path)


def _read_parquet(source: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    pyarrow = _parquet()
    try:
        table = pyarrow.parquet.read_table(source)
    except (pyarrow.ArrowException, OSError):
        raise ManifestError(f"{source} is no Parquet file: make it with 'vocaffect data prepare'") from None
    header: dict[str, str] = json.loads((table.schema.metadata or {}).get(b"vocaffect", b"{}"))
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise ManifestError(f"{source} lacks the columns {', '.join(missing)}: make it with 'vocaffect data prepare'")
    return header, table.to_pylist()
