"""Saved sessions as files: JSON, CSV, Audacity labels, and clips with a table that training takes."""

import csv
import io
import zipfile
from collections.abc import Iterable
from typing import BinaryIO, Final, Literal

import soundfile

from vocaffect.server.records import Saved
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

Format = Literal["json", "csv", "audacity"]
MEDIA: Final[dict[Format, tuple[str, str]]] = {
    "json": ("application/json", "json"),
    "csv": ("text/csv; charset=utf-8", "csv"),
    "audacity": ("text/plain; charset=utf-8", "txt"),
}
"""For each format its media type and the ending of its files."""

COLUMNS = ("path", "emotion", "speaker")


def export(saved: Saved, wanted: Format) -> str:
    """One session as text."""
    match wanted:
        case "json":
            return saved.model_dump_json(indent=2)
        case "csv":
            return _csv(saved)
        case "audacity":
            lines = (f"{s.start_s:.6f}\t{s.end_s:.6f}\t{s.corrected or s.label}\n" for s in saved.segments)
            return "".join(lines)


def write_clips(sessions: Iterable[tuple[Saved, bytes]], speaker: str, target: BinaryIO) -> int:
    """A zip of `clips.csv` and a FLAC file for every segment that the user corrected or confirmed; their number.

    What only a recogniser said is no label, so it is left out. `vocaffect data prepare clips.csv` reads the table.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for saved, flac in sessions:
            samples, _ = soundfile.read(io.BytesIO(flac), dtype="int16")
            for segment in saved.segments:
                clip = samples[seconds_to_samples(segment.start_s) : seconds_to_samples(segment.end_s)]
                if segment.corrected is None or not len(clip):
                    continue
                path = f"clips/{saved.id}-{segment.index:05d}.flac"
                archive.writestr(path, to_flac(clip))
                rows.writerow((path, segment.corrected, speaker))
                count += 1
        archive.writestr("clips.csv", table.getvalue())
    return count


def to_flac(samples: object) -> bytes:
    """Samples (num_samples,) at 16 kHz, int16 or float32, as a FLAC file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _csv(saved: Saved) -> str:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("index", "start_s", "end_s", "label", "corrected", "uncertain", *saved.labels))
    for s in saved.segments:
        rows.writerow((s.index, s.start_s, s.end_s, s.label, s.corrected or "", s.uncertain, *s.posterior))
    return table.getvalue()
