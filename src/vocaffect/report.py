"""The report of a tested run: one document of headings, sentences, tables and pictures, as Markdown and as HTML."""

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocaffect.files import write_text
from vocaffect.plots import plot_confusion_matrix, plot_reliability, plot_uar_by_seconds

Evaluation = Mapping[str, Any]


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Sentence:
    """A paragraph; a warning stands out."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; the first column names the row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report."""

    name: str
    alt: str


Block = Heading | Sentence | Table | Picture


def write_report(folder: Path | str, evaluation: Evaluation, *, title: str = "Test report") -> Path:
    """Write report.md, a self-contained report.html, the pictures and confusion_matrix.json; return report.md's path.

    ``evaluation`` is what `vocaffect.evaluation.evaluate` returns.
    """
    folder = Path(folder)
    plot_confusion_matrix(evaluation, folder / "confusion_matrix.png")
    plot_reliability(evaluation, folder / "reliability.png")
    if evaluation["by_seconds"]:
        plot_uar_by_seconds(evaluation, folder / "uar_by_seconds.png")
    matrix = {"labels": evaluation["labels"], "counts": evaluation["confusion"]}
    write_text(folder / "confusion_matrix.json", json.dumps(matrix) + "\n")
    blocks = list(document(evaluation))
    write_text(folder / "report.html", as_html(title, blocks, folder))
    write_text(folder / "report.md", as_markdown(title, blocks))
    return folder / "report.md"


def document(evaluation: Evaluation) -> Iterable[Block]:
    """What the report says, in order."""
    yield from _headline(evaluation)
    yield Heading("Emotions")
    yield Picture("confusion_matrix.png", "Confusion matrix")
    yield Table(
        ("emotion", "recall", "precision", "F1", "clips"),
        tuple(
            (label, *(percent(row[key]) for key in ("recall", "precision", "f1")), f"{row['num_utterances']:,}")
            for label, row in evaluation["per_class"].items()
        ),
    )
    yield from _groups(evaluation, "fold", "sex", "intensity", "corpus")
    yield from _calibration(evaluation)
    yield from _live(evaluation)
    yield from _robustness(evaluation)
    yield from _groups(evaluation, "speaker")
    yield Heading("How it was measured")
    yield Sentence(
        "UAR is the mean recall of the emotions that occur, WAR is plain accuracy. Values are means over folds; "
        "intervals hold 95% of the results when test speakers are resampled. Tables by emotion and group pool all "
        "folds. ECE is the expected calibration error in 15 bins, after temperature scaling fitted on held-out "
        "training speakers."
    )


def _headline(evaluation: Evaluation) -> Iterable[Block]:
    folds, speakers = evaluation["num_folds"], evaluation["num_speakers"]
    yield Sentence(
        f"UAR {_with_interval(evaluation['uar'])}, where chance is {percent(1 / len(evaluation['labels']))}: "
        f"{evaluation['num_utterances']:,} clips of {speakers} speaker{'s' * (speakers != 1)} in "
        f"{folds} fold{'s' * (folds != 1)}, protocol {evaluation['protocol'] or 'not named'}."
    )
    if not evaluation["speaker_disjoint"]:
        yield Sentence(
            "This split leaks: the recogniser had heard these voices in training. New voices will be recognised "
            "far less well; do not compare with speaker-disjoint results.",
            warning=True,
        )
    yield Table(
        ("measure", "value", "95% interval"),
        tuple(
            (name, percent(evaluation[key]["value"]), _interval(evaluation[key]))
            for key, name in (("uar", "UAR"), ("war", "WAR (accuracy)"), ("macro_f1", "macro-F1"))
        ),
    )


def _groups(evaluation: Evaluation, *groups: str) -> Iterable[Block]:
    for group in groups:
        rows = evaluation[f"per_{group}"]
        if len(rows) > 1:
            yield Heading(f"By {group}")
            yield Table(
                (group, "UAR", "WAR", "clips"),
                tuple(
                    (name, percent(row["uar"]), percent(row["war"]), f"{row['num_utterances']:,}")
                    for name, row in rows.items()
                ),
            )


def _calibration(evaluation: Evaluation) -> Iterable[Block]:
    found, coverage = evaluation["calibration"], evaluation["coverage"]
    yield Heading("Calibration")
    temperatures = ", ".join(f"{value:.2f}" for value in found["temperature"])
    yield Sentence(
        f"ECE {percent(found['ece'])} (uncalibrated {percent(found['ece_uncalibrated'])}), negative log "
        f"likelihood {found['nll']:.2f} ({found['nll_uncalibrated']:.2f}), temperature {temperatures}."
    )
    yield Picture("reliability.png", "Reliability diagram")
    yield Sentence("Accuracy where the recogniser may abstain on the clips it is least sure of:")
    yield Table(
        ("clips answered", "accuracy"),
        tuple((f"{c:.0%}", percent(a)) for c, a in zip(coverage["coverage"], coverage["accuracy"], strict=True)),
    )


def _live(evaluation: Evaluation) -> Iterable[Block]:
    rows, flips = evaluation["by_seconds"], evaluation["flips_per_minute"]
    if not rows and flips is None:
        return
    yield Heading("Live")
    if flips is not None:
        yield Sentence(f"The label shown changes {flips:.1f} times per minute of speech.")
    if rows:
        yield Picture("uar_by_seconds.png", "UAR by seconds of speech heard")
        yield Table(
            ("seconds of speech", "UAR", "95% interval"),
            tuple((f"{row['seconds']:g}", percent(row["value"]), _interval(row)) for row in rows),
        )


def _robustness(evaluation: Evaluation) -> Iterable[Block]:
    rows = evaluation.get("robustness") or []
    if rows:
        yield Heading("Robustness")
        yield Sentence("The same clips, spoiled; pink noise is measured against a clip's mean power, pauses included.")
        yield Table(
            ("condition", "UAR", "points lost"),
            tuple((row["condition"], percent(row["uar"]), f"{100 * row['drop']:.1f}") for row in rows),
        )


def percent(share: float | None) -> str:
    """A share in per cent, and a dash where it is unknown.

    >>> percent(0.4863), percent(None)
    ('48.6%', '-')
    """
    return "-" if share is None else f"{share:.1%}"


def _interval(found: Mapping[str, float | None]) -> str:
    return "-" if found["low"] is None else f"{percent(found['low'])} to {percent(found['high'])}"


def _with_interval(found: Mapping[str, float | None]) -> str:
    known = "" if found["low"] is None else f" (95% interval {_interval(found)})"
    return percent(found["value"]) + known


def as_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The document in GitHub's Markdown; pictures are the files beside it.

    >>> print(as_markdown("Test", [Table(("emotion", "recall"), (("sad", "50.0%"),))]), end="")
    # Test
    <BLANKLINE>
    | emotion | recall |
    |:--|--:|
    | sad | 50.0% |
    """

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def render(block: Block) -> str:
        match block:
            case Heading(text):
                return f"## {text}"
            case Sentence(text, warning):
                return f"> **{text}**" if warning else text
            case Table(header, rows):
                ruler = "|:--|" + "--:|" * (len(header) - 1)
                return "\n".join([line(header), ruler, *map(line, rows)])
            case Picture(name, alt):
                return f"![{alt}]({name})"

    return "\n\n".join([f"# {title}", *map(render, blocks)]) + "\n"


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 46rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid #e6e6e6 }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 }
img { max-width: 100%; max-height: 36rem }
.warning { border-left: 4px solid #d55e00; padding-left: 1rem; font-weight: 600 }
"""


def as_html(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The document as one HTML file that holds the pictures of ``folder`` and asks the network for nothing."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    def render(block: Block) -> str:
        match block:
            case Heading(text):
                return f"<h2>{html.escape(text)}</h2>"
            case Sentence(text, warning):
                return f"<p{' class=warning' * warning}>{html.escape(text)}</p>"
            case Table(header, rows):
                return f"<table>{row('th', header)}{''.join(row('td', cells) for cells in rows)}</table>"
            case Picture(name, alt):
                data = base64.b64encode((folder / name).read_bytes()).decode()
                return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'

    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *map(render, blocks)])
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
