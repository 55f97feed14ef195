"""The report of a tested run: what it says, in order, and the pictures beside it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vocaffect.files import write_text
from vocaffect.pages import Block, Heading, Picture, Sentence, Table, as_html, as_markdown, percent
from vocaffect.plots import plot_confusion_matrix, plot_reliability, plot_uar_by_seconds

Evaluation = Mapping[str, Any]


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
    yield from _adaptation(evaluation)
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
        ("measure", "value", "95% interval", "deviation over folds"),
        tuple(
            (name, percent(evaluation[key]["value"]), _interval(evaluation[key]), _spread(evaluation, key))
            for key, name in (("uar", "UAR"), ("war", "WAR (accuracy)"), ("macro_f1", "macro-F1"))
        ),
    )


def _spread(evaluation: Evaluation, key: str) -> str:
    """The standard deviation over folds in points, of several."""
    value = evaluation.get("fold_deviation", {}).get(key)
    return "" if value is None else f"{100 * value:.1f} points"


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
    if (as_exported := found.get("ece_as_exported")) is not None:
        yield Sentence(
            f"ECE {percent(as_exported)} if each fold has the temperature that suits what the others said of voices "
            "they had not heard; so a recogniser is calibrated that is exported with the numbers of all folds."
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
    settling = evaluation.get("settling")
    if settling and settling["settled_s"]["median"] is not None:
        yield Sentence(
            f"Half of the streams are settled {settling['settled_s']['median']:.2f} s after speech onset: from then on "
            f"the label shown stays. {percent(settling['as_whole'])} of all settle on the whole clip's label; UAR then "
            f"{_with_interval(settling['uar'])}."
        )
    if rows:
        yield Picture("uar_by_seconds.png", "UAR by seconds of speech heard")
        yield Table(
            ("seconds of speech", "UAR", "95% interval"),
            tuple((f"{row['seconds']:g}", percent(row["value"]), _interval(row)) for row in rows),
        )


def _adaptation(evaluation: Evaluation) -> Iterable[Block]:
    found = evaluation.get("adaptation")
    if not found:
        return
    yield Heading("Knowing the voice")
    yield Sentence(
        f"Cold: nothing is known of a voice. Adapted: the clips of each voice in {found['orders']} random orders, what "
        "is known of it carried from one to the next, without labels. In skewed sessions the first clips do not count."
    )
    rows = [("cold", found["cold"]), ("adapted", found["adapted"])]
    rows += [(f"adapted, clip {row['from']} to {row['to']} of the voice", row) for row in found["by_heard"]]
    rows += [(name.replace("_", " "), row) for name, row in found["skewed"].items()]
    yield Table(
        ("session", "UAR", "95% interval"),
        tuple((name, percent(row["value"]), _interval(row)) for name, row in rows),
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


def _interval(found: Mapping[str, float | None]) -> str:
    return "-" if found["low"] is None else f"{percent(found['low'])} to {percent(found['high'])}"


def _with_interval(found: Mapping[str, float | None]) -> str:
    known = "" if found["low"] is None else f" (95% interval {_interval(found)})"
    return percent(found["value"]) + known
