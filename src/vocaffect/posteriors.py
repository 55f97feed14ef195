"""What recognisers say about clips, as a table in a file: kept, averaged, and given to students as soft targets."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.audio import read_clip
from vocaffect.card import NO_DIGEST
from vocaffect.errors import VocaffectError
from vocaffect.files import atomic_path
from vocaffect.manifest import Manifest, Utterance
from vocaffect.recognizer import Recognizer

SUFFIXES = (".npz", ".csv", ".parquet")
LEAST_MASS = 1e-3
"""A posterior with less than this on the labels that are asked for says nothing about them."""
SAVE_S = 30.0
"""What a recogniser has said is written to the cache whenever this many seconds have passed."""
_HEADER = "# vocaffect posteriors "


@dataclass(frozen=True)
class Posteriors:
    """One posterior for each clip, which is found by its sound or by its path.

    Raises:
        VocaffectError: if a row is no posterior, or the columns do not fit together.
    """

    labels: tuple[str, ...]
    paths: tuple[str, ...]
    hashes: tuple[str, ...]
    """SHA-256 of the decoded samples, as in a manifest; "" where it is unknown, as with ``paths``."""
    values: NDArray[np.float32]
    """``(num_clips, num_labels)``; each row sums to 1."""
    teachers: tuple[str, ...] = ()
    """The digests or names of the recognisers."""
    voices: frozenset[str] | None = None
    """The speakers that the recognisers have learned from; None where nobody knows."""

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.shape != (n, len(self.labels)) or {len(self.paths), len(self.hashes)} != {n}:
            raise VocaffectError(f"posteriors of {len(self.labels)} labels need as many columns, and a path or sha256")
        if len(set(self.labels)) != len(self.labels) or not self.labels:
            raise VocaffectError("posteriors name each label once: mend the columns")
        wrong = ~((self.values >= 0).all(axis=1) & (np.abs(self.values.sum(axis=1) - 1) < 1e-3))
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise VocaffectError(
                f"the posterior of {self.paths[at] or self.hashes[at]} does not sum to 1, or is negative: "
                "give probabilities, one column for each label"
            )

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _rows(self) -> dict[str, int]:
        keys = [*zip(self.paths, range(len(self)), strict=True), *zip(self.hashes, range(len(self)), strict=True)]
        return {key: row for key, row in keys if key}

    def row_of(self, utterance: Utterance) -> int | None:
        """Where a clip's posterior stands, if it has one."""
        return self._rows.get(utterance.sha256, self._rows.get(utterance.path))

    def of(self, utterances: Iterable[Utterance], labels: Sequence[str]) -> NDArray[np.float32]:
        """The posteriors of clips over these labels, ``(num_clips, num_labels)``, zeros where there is none.

        Labels that are not asked for are left out and the rest is scaled to sum to 1.

        Raises:
            VocaffectError: if there are no posteriors of one of the labels.
        """
        values, rows = self.over(labels), [self.row_of(utterance) for utterance in utterances]
        found = np.zeros((len(rows), len(labels)), np.float32)
        known = [row is not None for row in rows]
        found[known] = values[[row for row in rows if row is not None]]
        return found

    def over(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """All posteriors over these labels; zeros where they have next to nothing of a posterior.

        Raises:
            VocaffectError: as `of`.
        """
        columns = require_labels(self.labels, labels, " + ".join(self.teachers) or "posteriors")
        chosen = self.values[:, columns]
        if len(columns) == len(self.labels):
            return np.asarray(chosen)
        mass = chosen.sum(axis=1, keepdims=True)
        return np.asarray(np.where(mass > LEAST_MASS, chosen / np.maximum(mass, LEAST_MASS), 0), np.float32)

    def write(self, path: Path) -> None:
        """Write the table, all or nothing, as ``.npz``, ``.csv`` or ``.parquet``."""
        about = {"teachers": self.teachers, "voices": None if self.voices is None else sorted(self.voices)}
        with atomic_path(path) as temporary:
            _WRITERS[require_suffix(path)](self, json.dumps(about), temporary)

    @staticmethod
    def read(path: Path) -> "Posteriors":
        """Read a table that `write` or somebody else has written.

        A CSV or Parquet has the columns ``path`` or ``sha256`` or both, and one for each label; an ``.npz`` has the
        arrays ``labels (num_labels,)``, ``posteriors (num_clips, num_labels)``, and ``paths`` or ``sha256`` or both.

        Raises:
            VocaffectError: if it is missing, or none.
        """
        if not path.is_file():
            raise VocaffectError(f"there are no posteriors {path}: make them with 'vocaffect posteriors'")
        try:
            return _READERS[require_suffix(path)](path)
        except VocaffectError as error:
            raise VocaffectError(f"{path}: {error}") from None
        except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
            raise VocaffectError(
                f"{path} holds no posteriors ({error}): make them with 'vocaffect posteriors'"
            ) from error


def require_labels(known: Sequence[str], wanted: Sequence[str], teacher: str) -> list[int]:
    """Where each wanted label stands among a teacher's.

    Raises:
        VocaffectError: if the teacher does not know one of them.
    """
    if lacking := [label for label in wanted if label not in known]:
        raise VocaffectError(
            f"the teacher {teacher} does not know {', '.join(lacking)} (it knows {', '.join(known)}): choose a "
            "teacher of the student's labels"
        )
    return [list(known).index(label) for label in wanted]


def average(tables: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean posterior of each clip over the tables ``(num_clips, num_labels)`` that have one."""
    total, known = np.sum(tables, axis=0), np.sum([table.any(axis=1) for table in tables], axis=0)
    return np.asarray(total / np.maximum(known, 1)[:, None], np.float32)


def hear(
    recognizer: Recognizer,
    manifest: Manifest,
    cache: Path | None = None,
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> Posteriors:
    """What a recogniser says about each clip as one utterance: what `Recognizer.posterior` gives.

    Args:
        recognizer: who is asked.
        manifest: the clips.
        cache: a folder in which answers are kept by the recogniser's digest and the clip's sound, so that they
            are computed once, and go on where they stopped.
        on_clip: hears how many clips are done, of how many.
    """
    digest = recognizer.card.digest
    kept = None if cache is None or digest == NO_DIGEST else cache / f"{digest.removeprefix('sha256:')}.npz"
    labels, known, saved = tuple(recognizer.labels), _known(kept), monotonic()
    try:
        for done, utterance in enumerate(manifest, 1):
            if utterance.sha256 not in known:
                samples = read_clip(manifest.audio_path(utterance)).samples
                known[utterance.sha256] = recognizer.decide(samples).posterior
            if kept is not None and monotonic() - saved > SAVE_S:
                _keep(kept, labels, known, digest)
                saved = monotonic()
            on_clip(done, len(manifest))
    finally:
        if kept is not None and known:
            _keep(kept, labels, known, digest)
    values = np.stack([known[utterance.sha256] for utterance in manifest])
    paths, hashes = ([getattr(utterance, name) for utterance in manifest] for name in ("path", "sha256"))
    return Posteriors(labels, tuple(paths), tuple(hashes), values, (digest,))


def _known(kept: Path | None) -> dict[str, NDArray[np.float32]]:
    """What the cache holds; what is broken is computed again."""
    with suppress(VocaffectError):
        if kept is not None:
            table = Posteriors.read(kept)
            return dict(zip(table.hashes, table.values, strict=True))
    return {}


def _keep(kept: Path, labels: tuple[str, ...], known: Mapping[str, NDArray[np.float32]], digest: str) -> None:
    """Write the cache, with what others have written to it meanwhile."""
    everything = _known(kept) | dict(known)
    Posteriors(labels, ("",) * len(everything), tuple(everything), np.stack([*everything.values()]), (digest,)).write(
        kept
    )


def require_suffix(path: Path) -> str:
    """The ending of a table's name, which says how it is written.

    Raises:
        VocaffectError: if it is none of `SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise VocaffectError(f"{path} is no name for posteriors: let it end in {', '.join(SUFFIXES)}")
    return path.suffix


def _about(text: str) -> dict[str, Any]:
    about = json.loads(text)
    voices = about.get("voices")
    return {"teachers": tuple(about.get("teachers", ())), "voices": None if voices is None else frozenset(voices)}


def _from_columns(columns: Mapping[str, Sequence[Any]], about: str) -> Posteriors:
    """From ``path``, ``sha256`` and one column for each label."""
    labels = tuple(name for name in columns if name not in ("path", "sha256"))
    if len(labels) == len(columns):
        raise VocaffectError("there is neither a column path nor sha256 that tells which clip a row is")
    blank = ("",) * len(columns[labels[0]] if labels else ())
    paths, hashes = (tuple(map(str, columns.get(name, blank))) for name in ("path", "sha256"))
    values = np.array([columns[label] for label in labels], np.float32).reshape(len(labels), -1).T
    return replace(Posteriors(labels, paths, hashes, values), **_about(about))


def _columns(table: Posteriors) -> dict[str, Any]:
    return {"path": table.paths, "sha256": table.hashes} | dict(zip(table.labels, table.values.T, strict=True))


def _write_npz(table: Posteriors, about: str, path: Path) -> None:
    labels, paths, hashes = (np.array(column) for column in (table.labels, table.paths, table.hashes))
    with path.open("wb") as file:
        np.savez_compressed(file, about=about, labels=labels, paths=paths, sha256=hashes, posteriors=table.values)


def _read_npz(path: Path) -> Posteriors:
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
        labels, values = tuple(map(str, arrays["labels"])), np.asarray(arrays["posteriors"], np.float32)
        named = {name: arrays[key] for name, key in (("path", "paths"), ("sha256", "sha256")) if key in arrays}
        about = str(arrays["about"]) if "about" in arrays else "{}"
    return _from_columns({**named, **dict(zip(labels, values.T, strict=True))}, about)


def _write_csv(table: Posteriors, about: str, path: Path) -> None:
    text = io.StringIO()
    text.write(f"{_HEADER}{about}\n")
    columns = _columns(table)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([*row[:2], *(f"{value:.9g}" for value in row[2:])] for row in zip(*columns.values(), strict=True))
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _read_csv(path: Path) -> Posteriors:
    first, _, rest = path.read_text(encoding="utf-8-sig").partition("\n")
    about = first.removeprefix(_HEADER) if first.startswith(_HEADER) else "{}"
    rows = list(csv.DictReader(io.StringIO(rest if first.startswith(_HEADER) else f"{first}\n{rest}"), strict=True))
    if not rows:
        raise VocaffectError("there are no rows")
    return _from_columns({name: [row[name] for row in rows] for name in rows[0]}, about)


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise VocaffectError("Parquet needs pyarrow: pip install 'vocaffect[train]', or use .npz") from None
    return pyarrow


def _write_parquet(table: Posteriors, about: str, path: Path) -> None:
    pyarrow = _pyarrow()
    written = pyarrow.table({name: list(column) for name, column in _columns(table).items()})
    pyarrow.parquet.write_table(written.replace_schema_metadata({"vocaffect": about}), path)


def _read_parquet(path: Path) -> Posteriors:
    table = _pyarrow().parquet.read_table(path)
    about = (table.schema.metadata or {}).get(b"vocaffect", b"{}").decode()
    return _from_columns({name: table[name].to_pylist() for name in table.column_names}, about)


_WRITERS = {".npz": _write_npz, ".csv": _write_csv, ".parquet": _write_parquet}
_READERS = {".npz": _read_npz, ".csv": _read_csv, ".parquet": _read_parquet}
