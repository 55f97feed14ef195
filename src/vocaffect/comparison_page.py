"""The page of a comparison: one HTML file with tables, curves and confusion matrices, in the reader's light or dark."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vocaffect.comparison import ComparedRun, Comparison, Pair
from vocaffect.files import write_text
from vocaffect.pages import Block, Drawing, Heading, Matrix, Sentence, SideBySide, Table, as_html, percent

INK, LINE = "#010101", "#020202"
COLOURS = ("#030303", "#040404", "#050505", "#060606", "#070707", "#080808", "#090909", "#0a0a0a")
"""Stand-ins that no drawing mixes; the page's style says what they look like in light and in dark."""
STYLED = {INK: "var(--ink)", LINE: "var(--line)"} | {colour: f"var(--c{i})" for i, colour in enumerate(COLOURS)}


def write_page(comparison: Comparison, path: Path | str) -> Path:
    """Write the comparison as one HTML file that needs nothing else, and return its path."""
    path = Path(path)
    write_text(path, as_html("Comparison of runs", list(document(comparison)), path.parent))
    return path


def document(comparison: Comparison) -> Iterable[Block]:
    """What the page says, in order."""
    runs, evaluation = comparison.runs, comparison.runs[0].evaluation
    yield Sentence(
        f"{len(runs)} runs, tested on the same {evaluation['num_utterances']:,} clips of {evaluation['num_speakers']} "
        f"speakers in {evaluation['num_folds']} fold{'s' * (evaluation['num_folds'] != 1)}, protocol "
        f"{evaluation['protocol']}. Chance is {percent(1 / len(comparison.labels))}."
    )
    if leaky := [run.name for run in runs if not run.evaluation["speaker_disjoint"]]:
        yield Sentence(f"Leaky, the test voices were heard in training: {', '.join(leaky)}.", warning=True)
    yield Table(RUN_COLUMNS, tuple(run_row(run) for run in runs))
    yield Heading("Which is better")
    yield Drawing(_draw_differences(comparison.pairs), "Differences in UAR with 95% intervals")
    yield Table(PAIR_COLUMNS, tuple(pair_row(pair) for pair in comparison.pairs))
    yield Sentence(
        "Speakers are drawn anew with replacement, the same for both runs, and both are measured on them; the last "
        "column says in how many draws the first run came out ahead. Where an interval leaves 0 out, expect as much of "
        "other speakers. Each interval is for its pair alone: of many pairs some leave 0 out by chance."
    )
    if any(run.histories for run in runs):
        yield Heading("Training")
        yield Drawing(_draw_curves(runs), "Validation UAR and losses by epoch")
        yield Sentence(
            "Validated on held-out training speakers. Thin lines are folds, a thick one the mean of their best so far."
        )
    yield Heading("Recall of each emotion")
    yield _recall(comparison)
    yield Heading("Confusion")
    yield Sentence("A row is an emotion by its label, a column what it was recognised as, in per cent of the row.")
    yield SideBySide(tuple(_confusion(run, comparison.labels) for run in runs))
    if changed := list(comparison.recipe_differences()):
        yield Heading("What the recipes disagree on")
        yield Table(("key", *(run.name for run in runs)), tuple((key, *values) for key, values in changed))


RUN_COLUMNS = ("run", "model", "UAR", "WAR", "macro-F1", "ECE", "validation")


def run_row(run: ComparedRun) -> tuple[str, ...]:
    """A run's name, model and measures, as text."""
    found = run.evaluation
    best = [max(row["validation_uar"] for row in rows) for rows in run.histories if rows]
    low, high = found["uar"]["low"], found["uar"]["high"]
    return (
        run.name,
        str(run.recipe.get("model.name", "-")),
        percent(found["uar"]["value"]) + ("" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"),
        *(percent(found[key]["value"]) for key in ("war", "macro_f1")),
        percent(found["calibration"]["ece"]),
        percent(float(np.mean(best)) if best else None),
    )


PAIR_COLUMNS = ("runs", "points of UAR", "95% interval", "first is better")


def pair_row(pair: Pair) -> tuple[str, ...]:
    """A pair's names, difference in points, interval, and the share of resamples that the first wins, as text."""
    value, low, high, wins = pair.difference
    known = not np.isnan(low)
    return (
        f"{pair.first} - {pair.second}",
        f"{100 * value:+.1f}",
        f"{100 * low:+.1f} to {100 * high:+.1f}" if known else "-",
        percent(wins) if known else "-",
    )


def _recall(comparison: Comparison) -> Matrix:
    rows = (
        (label, tuple(run.evaluation["per_class"][label]["recall"] for run in comparison.runs))
        for label in comparison.labels
    )
    return Matrix("", "emotion", tuple(run.name for run in comparison.runs), tuple(rows))


def _confusion(run: ComparedRun, labels: Sequence[str]) -> Matrix:
    counts = np.asarray(run.evaluation["confusion"])
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).tolist()
    title = f"{run.name}: UAR {percent(run.evaluation['uar']['value'])}"
    return Matrix(
        title, "", tuple(labels), tuple((label, tuple(row)) for label, row in zip(labels, shares, strict=True))
    )


def _draw_curves(runs: Sequence[ComparedRun]) -> str:
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, key, title in zip(
        panels,
        ("validation_uar", "validation_loss", "train_loss"),
        ("Validation UAR", "Validation loss", "Training loss"),
        strict=True,
    ):
        _frame(axes, title)
        axes.set_xlabel("epoch", color=INK, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for number, run in enumerate(runs):
            colour = COLOURS[number % len(COLOURS)]
            for rows in run.histories:
                points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
                alone = len(run.histories) == 1
                if points:
                    axes.plot(
                        *zip(*points, strict=True), color=colour, lw=1.8 if alone else 0.9, alpha=1 if alone else 0.45
                    )
            if key == "validation_uar" and len(run.histories) > 1:
                best = _mean_best(run.histories)
                axes.plot(range(1, len(best) + 1), best, color=colour, lw=2.4)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    handles = [panels[0].plot([], [], color=COLOURS[i % len(COLOURS)], lw=2.4)[0] for i in range(len(runs))]
    names = [run.name for run in runs]
    figure.legend(handles, names, loc="outside upper left", ncols=4, frameon=False, labelcolor=INK, fontsize=9)
    return _svg(figure, "curves")


def _mean_best(histories: Sequence[Sequence[Mapping[str, Any]]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """By epoch, the mean over folds of the best validation UAR so far; a fold that has ended keeps its best."""
    best = [np.maximum.accumulate([row["validation_uar"] for row in rows]) for rows in histories if len(rows)]
    longest = max(map(len, best), default=0)
    padded = [np.pad(values, (0, longest - len(values)), mode="edge") for values in best]
    return np.asarray(np.mean(padded, axis=0) if padded else np.zeros(0))


def _draw_differences(pairs: Sequence[Pair]) -> str:
    figure = Figure(figsize=(9.6, 0.8 + 0.36 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    _frame(axes, "")
    for place, (_, _, (value, low, high, _)) in enumerate(reversed(pairs)):
        apart = not np.isnan(low) and (low > 0 or high < 0)
        colour = COLOURS[0] if apart else COLOURS[6]
        if not np.isnan(low):
            axes.plot([100 * low, 100 * high], [place, place], color=colour, lw=2.4, solid_capstyle="round")
        axes.plot(100 * value, place, "o", color=colour, ms=8)
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(range(len(pairs)), [f"{pair.first} - {pair.second}" for pair in reversed(pairs)])
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.set_xlabel("points of UAR; blue where the interval leaves 0 out", color=INK, fontsize=9)
    return _svg(figure, "differences")


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=LINE, lw=0.7)
    axes.set_axisbelow(True)


def _svg(figure: Figure, name: str) -> str:
    """The drawing as an SVG element whose colours are the page's and whose names (``name``-...) are its own."""
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    element = text.getvalue()[text.getvalue().index("<svg") :]
    element = re.sub(r'( id="|="#|url\(#)', rf"\1{name}-", element)
    return re.sub(
        "|".join(STYLED), lambda match: STYLED[match[0]], re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.S)
    )
