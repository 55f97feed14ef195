"""The pictures of a run and of its test, as PNG files: light, colour-blind safe, and free of global state."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vocaffect.files import atomic_path

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"
"""Blue and vermillion of Okabe and Ito, which every kind of colour vision tells apart."""
DOTS_PER_INCH = 150

History = Sequence[Mapping[str, Any]]


def plot_training_history(rows: History, path: Path | str) -> None:
    """Loss and UAR by epoch, from the rows of a run's metrics.jsonl.

    A row has ``epoch`` and any of ``train_loss``, ``validation_loss``, ``train_uar``, ``validation_uar`` and
    ``learning_rate``; what is missing is not drawn.
    """
    figure = Figure(figsize=(9.6, 3.9))  # drawn after every epoch, so without the costly automatic layout
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.13, top=0.92, wspace=0.16)
    loss, recall = figure.subplots(1, 2)
    for axes, measure, title in ((loss, "loss", "Loss"), (recall, "uar", "UAR")):
        _frame(axes, title, "epoch")
        for side, colour, dash in (("train", ORANGE, "--"), ("validation", BLUE, "-")):
            points = [(row["epoch"], row[key]) for row in rows if row.get(key := f"{side}_{measure}") is not None]
            if points:
                axes.plot(*zip(*points, strict=True), dash, color=colour, lw=1.8, label=side)
        for epoch in _lowered(rows):
            axes.axvline(epoch, color=GREY, lw=0.8, ls=":", zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    recall.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    recall.set_ylim(0, 1)
    best = _best(rows)
    if best is not None:
        epoch, value = best["epoch"], best["validation_uar"]
        recall.plot(epoch, value, "o", ms=7, color=BLUE, mec="white", label=f"best: {value:.1%} (epoch {epoch})")
    if _lowered(rows):
        recall.plot([], [], ":", color=GREY, lw=0.8, label="learning rate lowered")
    for axes in (loss, recall):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9)
    _save(figure, path)


def _lowered(rows: History) -> list[int]:
    """The epochs that ran with a lower learning rate than the one before."""
    rates = [(row["epoch"], row["learning_rate"]) for row in rows if row.get("learning_rate") is not None]
    return [now[0] for before, now in pairwise(rates) if now[1] < before[1] * (1 - 1e-6)]


def _best(rows: History) -> Mapping[str, Any] | None:
    """The row with the highest validation UAR, and among equals the lowest validation loss."""
    known = [row for row in rows if row.get("validation_uar") is not None]
    return max(known, key=lambda row: (row["validation_uar"], -row.get("validation_loss", np.inf)), default=None)


def plot_confusion_matrix(evaluation: Mapping[str, Any], path: Path | str) -> None:
    """Which emotion was taken for which: each row in per cent of that emotion's clips, and in counts."""
    counts, labels = np.asarray(evaluation["confusion"]), evaluation["labels"]
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    size = 2.6 + 0.68 * len(labels)
    figure = Figure(figsize=(size + 0.9, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        ink: dict[str, Any] = {"color": "white" if share > 0.65 else INK, "ha": "center"}
        axes.text(j, i, f"{share:.0%}", va="bottom", fontsize=10, weight="bold" if i == j else "normal", **ink)
        axes.text(j, i + 0.08, f"{counts[i, j]:,}", va="top", fontsize=7, alpha=0.8, **ink)
    axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0)
    axes.set_xlabel("recognised as")
    axes.set_ylabel("labelled as")
    axes.spines[:].set_visible(False)
    axes.set_title(_headline(evaluation), loc="left", fontsize=10, color=INK)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1, decimals=0))
    bar.outline.set_visible(False)
    bar.set_label("of the row's clips")
    _save(figure, path)


def _headline(evaluation: Mapping[str, Any]) -> str:
    """UAR, number of clips and protocol, and whether it leaks, in one line."""
    leak = "" if evaluation["speaker_disjoint"] else " (leaky: voices known)"
    parts = [f"UAR {evaluation['uar']['value']:.1%}", f"{evaluation['num_utterances']:,} clips"]
    return "  ·  ".join([*parts, *([evaluation["protocol"] + leak] if evaluation["protocol"] else [])])


def plot_reliability(evaluation: Mapping[str, Any], path: Path | str) -> None:
    """How often the recogniser is right against how sure it is, before and after temperature scaling.

    A dot is a bin of the posterior, and as large as the bin is full.
    """
    calibration = evaluation["calibration"]
    figure = Figure(figsize=(5.2, 6.4), layout="constrained")
    curve, histogram = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _frame(curve, "Reliability", "")
    curve.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="perfect")
    for key, error, name, colour, dash in (
        ("reliability_uncalibrated", "ece_uncalibrated", "uncalibrated", ORANGE, "--"),
        ("reliability", "ece", "calibrated", BLUE, "-"),
    ):
        bins = {column: np.array(values, float) for column, values in calibration[key].items()}
        filled = bins["num_clips"] > 0
        confidence, accuracy, num_clips = (bins[c][filled] for c in ("confidence", "accuracy", "num_clips"))
        curve.plot(confidence, accuracy, dash, color=colour, lw=1.5, label=f"{name}: ECE {calibration[error]:.1%}")
        curve.scatter(confidence, accuracy, 6 + 90 * num_clips / num_clips.max(), color=colour, zorder=3)
    curve.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
    curve.legend(frameon=False, fontsize=9, loc="upper left")
    curve.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    clips = calibration["reliability"]["num_clips"]
    _frame(histogram, "", "posterior of the recognised emotion")
    histogram.bar((np.arange(len(clips)) + 0.5) / len(clips), clips, 0.9 / len(clips), color=BLUE)
    histogram.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    histogram.set_ylabel("clips")
    _save(figure, path)


def plot_uar_by_seconds(evaluation: Mapping[str, Any], path: Path | str) -> None:
    """UAR after so many seconds of speech with its 95 % interval, between chance and the whole clip's."""
    rows = evaluation["by_seconds"]
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    _frame(axes, "UAR by seconds of speech heard", "seconds since speech began")
    seconds, values = [row["seconds"] for row in rows], [row["value"] for row in rows]
    known = [row for row in rows if row["low"] is not None]
    axes.fill_between(
        [row["seconds"] for row in known],
        [row["low"] for row in known],
        [row["high"] for row in known],
        color=BLUE,
        alpha=0.15,
        lw=0,
        label="95% interval over speakers",
    )
    axes.plot(seconds, values, "o-", color=BLUE, lw=1.8, ms=5, label="UAR")
    for x, y in zip(seconds, values, strict=True):
        text = axes.annotate(f"{y:.0%}", (x, y), (0, -15), textcoords="offset points", ha="center", fontsize=9)
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    whole, chance = evaluation["uar"]["value"], 1 / len(evaluation["labels"])
    axes.axhline(whole, color=ORANGE, lw=1.2, ls="--", label=f"whole clip: {whole:.1%}")
    axes.axhline(chance, color=GREY, lw=1, ls=":", label=f"chance: {chance:.1%}")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(0, min(1, max(whole, *(row["high"] or row["value"] for row in rows)) * 1.45))
    axes.set_xlim(0, max(seconds) * 1.05)
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    _save(figure, path)


def plot_trials(rows: Sequence[Mapping[str, Any]], path: Path | str, logarithmic: Collection[str] = ()) -> None:
    """A sweep's trials: validation UAR in the order they were tried, and against each of the values tried.

    ``rows`` are those of `vocaffect.sweep.trial_rows`. Trials that were stopped early are hollow, at the best they had
    reached. Values of the keys in ``logarithmic`` get such an axis.
    """
    keys = sorted({key for row in rows for key in row["values"]})
    columns, lines = min(3, 1 + len(keys)), -(-(1 + len(keys)) // 3)
    figure = Figure(figsize=(4.2 * columns, 3.4 * lines))
    figure.subplots_adjust(0.2 / columns, 0.14 / lines, 1 - 0.04 / columns, 1 - 0.1 / lines, 0.28, 0.34)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    first = next(panels)
    _scores(first, [(row["trial"], row) for row in rows], "Validation UAR by trial")
    known = [row["validation_uar"] if row["state"] == "whole" else np.nan for row in rows]
    best = np.fmax.accumulate(known) if known else known
    first.step([row["trial"] for row in rows], best, where="post", color=ORANGE, lw=1.5, label="best so far")
    first.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    first.legend(frameon=False, fontsize=9)
    for key, axes in zip(keys, panels, strict=False):
        _scores(axes, [(row["values"][key], row) for row in rows if key in row["values"]], key)
        if key in logarithmic:
            axes.set_xscale("log")
    for axes in panels:
        axes.remove()
    _save(figure, path)


def _scores(axes: Axes, points: Sequence[tuple[Any, Mapping[str, Any]]], title: str) -> None:
    """Validation UAR against numbers or against choices, which are JSON."""
    _frame(axes, title, "")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    choices = sorted({x.strip('"') for x, _ in points if isinstance(x, str)}, key=lambda name: (len(name), name))
    axes.plot(choices, [np.nan] * len(choices))  # sets their order
    for stopped, colour, fill in ((True, GREY, "none"), (False, BLUE, BLUE)):
        shown = [(x, row["validation_uar"]) for x, row in points if (row["state"] != "whole") == stopped]
        shown = [(x.strip('"') if isinstance(x, str) else x, y) for x, y in shown if y is not None]
        name = "stopped early" if stopped else "whole"
        if shown:
            axes.plot(*zip(*shown, strict=True), "o", ms=6, color=colour, mfc=fill, label=name)


def _frame(axes: Axes, title: str, xlabel: str) -> None:
    """The look of every chart: two spines, a faint grid behind, the title at the left."""
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel(xlabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", lw=0.7)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path | str) -> None:
    """Write the PNG, all or nothing; the same data give the same bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
