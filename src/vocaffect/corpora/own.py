"""Speech of your own: a folder with one folder a label, or a CSV table of paths, emotions and speakers."""

import csv
from collections.abc import Iterable
from pathlib import Path

from vocaffect.corpora.base import Corpus, CorpusError, Entry, find_clips, register_corpus
from vocaffect.errors import VocaffectError
from vocaffect.labels import LabelSet

_OPTIONAL = ("intensity", "sentence")
_SEXES = {"": "", "f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}


@register_corpus("folder")
class Folder(Corpus):
    """Clips as ``label/clip.wav``, or as ``label/speaker/clip.wav`` where the speakers are known."""

    title = "your own, as label/clip.wav or label/speaker/clip.wav"
    licence = "yours"

    def locate(self, data_root: Path) -> Path:
        """The folder itself, whatever lies in it."""
        return data_root

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a clip; the first folder is the emotion, a second one the speaker."""
        for path in find_clips(root):
            label, *others = path.relative_to(root).parent.parts or ("",)
            if not label:
                raise CorpusError(f"{path} lies in no label's folder: move it to, for instance, {root}/happy/")
            try:
                emotion = self.labels.require(label)
            except VocaffectError as error:
                raise CorpusError(f"the folder {root / label} is named after no emotion: {error}") from None
            yield Entry(path, emotion, speaker="/".join(others))


@register_corpus("csv")
class Table(Corpus):
    """Clips that a CSV names: columns path, emotion, speaker; sex, intensity and sentence may follow."""

    title = "your own, as a CSV of path, emotion, speaker"
    licence = "yours"

    def __init__(self, table: Path | None = None) -> None:
        self.table = table

    def locate(self, data_root: Path) -> Path:
        """The folder that relative paths in the table start from."""
        return data_root

    def collect_files(self, root: Path) -> Iterable[Entry]:
        """One entry a row.

        Raises:
            CorpusError: if the table lacks a column or a row has an unknown emotion or no such file.
        """
        if self.table is None:
            raise CorpusError("the csv reader needs its table: name it, as in 'vocaffect data prepare clips.csv'")
        rows = _rows(self.table)
        return [_entry(row, root, self.labels, f"line {number} of {self.table}") for number, row in rows]


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except FileNotFoundError:
        raise CorpusError(f"there is no table {table}: check the path") from None
    except (UnicodeDecodeError, csv.Error, OSError):
        raise CorpusError(f"{table} is no CSV text in UTF-8: export it again as CSV") from None
    missing = [name for name in ("path", "emotion", "speaker") if name not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise CorpusError(
            f"{table} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)} (found: {found}): "
            "its first line must name path, emotion and speaker; leave a speaker empty if you do not know"
        )
    return rows


def _entry(row: dict[str, str], root: Path, labels: LabelSet, where: str) -> Entry:
    try:
        emotion = labels.require(row["emotion"])
    except VocaffectError as error:
        raise CorpusError(f"{where}: {error}") from None
    if not (root / row["path"]).is_file():
        raise CorpusError(f"{where}: there is no file {root / row['path']}; check the path or pass --data-root")
    sex = _SEXES.get(row.get("sex", "").strip().lower())
    if sex is None:
        raise CorpusError(f"{where}: the sex '{row['sex']}' is not known; write female, male or nothing")
    speaker, intensity, sentence = (" ".join(row.get(name, "").split()) for name in ("speaker", *_OPTIONAL))
    return Entry(Path(row["path"]), emotion, speaker, sex, intensity, sentence)
