"""Tested runs side by side: whether one recogniser is better than another on the same clips, and how sure that is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vocaffect.errors import VocaffectError
from vocaffect.metrics import Difference, confusions_by, paired_bootstrap, uar
from vocaffect.recipe import dotted

Key = tuple[int, str]
"""Which clip of which fold: the number of the fold, and the clip's path in the manifest."""


class Answer(NamedTuple):
    """What a clip is labelled as, whose voice it is, and what the recogniser said."""

    emotion: str
    speaker: str
    recognised: str


@dataclass(frozen=True)
class ComparedRun:
    """What training and testing one run, of one fold or of all, left in its folder."""

    name: str
    folder: Path
    evaluation: Mapping[str, Any]
    """Its test/metrics.json, as `vocaffect.evaluation.evaluate` returns it."""
    answers: Mapping[Key, Answer]
    """Its test/predictions.jsonl."""
    histories: tuple[Sequence[Mapping[str, Any]], ...]
    """The rows of each fold's metrics.jsonl; none for what was not trained here, such as an ensemble."""
    recipe: Mapping[str, Any]
    """Every key of its recipe below a dotted name, as ``training.learning_rate``; the fold left out."""


class Pair(NamedTuple):
    """How much higher the first run's UAR is than the second's."""

    first: str
    second: str
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """Two or more runs that were tested on the same clips."""

    runs: tuple[ComparedRun, ...]
    pairs: tuple[Pair, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions that all runs recognise."""
        return tuple(self.runs[0].evaluation["labels"])

    def recipe_differences(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The keys that the recipes disagree on, with each run's value; a dash where a recipe has none."""
        for key in sorted(set().union(*(run.recipe for run in self.runs))):
            values = tuple(str(run.recipe.get(key, "-")) for run in self.runs)
            if len(set(values)) > 1:
                yield key, values


def compare(folders: Sequence[Path], *, num_resamples: int = 10_000) -> Comparison:
    """Compare tested runs: every pair's difference in UAR, with an interval from resampling speakers for both alike.

    Raises:
        VocaffectError: if there are fewer than two runs, one was not tested, or their test sides differ.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    if len(folders) < 2:
        raise VocaffectError("a comparison needs two runs or more: name the folders of others that were tested")
    runs = tuple(_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True))
    for other in runs[1:]:
        _refuse_different_tests(runs[0], other)
    pairs = (Pair(a.name, b.name, _difference(a, b, num_resamples)) for a, b in combinations(runs, 2))
    return Comparison(runs, tuple(pairs))


def _difference(first: ComparedRun, second: ComparedRun, num_resamples: int) -> Difference:
    keys, labels = sorted(first.answers), {label: i for i, label in enumerate(first.evaluation["labels"])}
    truth = [first.answers[key] for key in keys]
    speakers = [answer.speaker or key[1] for key, answer in zip(keys, truth, strict=True)]
    first_cells, second_cells = (
        confusions_by(
            [labels[answer.emotion] for answer in truth],
            [labels[run.answers[key].recognised] for key in keys],
            speakers,
            [fold for fold, _ in keys],
            len(labels),
        )
        for run in (first, second)
    )
    return paired_bootstrap(uar, first_cells, second_cells, num_resamples=num_resamples)


def _refuse_different_tests(first: ComparedRun, other: ComparedRun) -> None:
    """Raise unless both were tested on the same clips with the same labels in the same folds."""
    a, b, what = first.answers, other.answers, f"{first.folder} and {other.folder}"
    if first.evaluation["labels"] != other.evaluation["labels"]:
        raise VocaffectError(f"{what} recognise other emotions: compare runs of the same labels")
    if a.keys() != b.keys():
        raise VocaffectError(
            f"{what} were tested on different clips ({len(a):,} and {len(b):,}, of which {len(a.keys() & b.keys()):,} "
            "in the same fold): test both by the same protocol and folds"
        )
    for key in a:
        if a[key][:2] != b[key][:2]:
            raise VocaffectError(
                f"{what} disagree about what {key[1]} is: {' by '.join(a[key][:2])} or {' by '.join(b[key][:2])}; test "
                "both with the same manifest"
            )


def _read(folder: Path, name: str) -> ComparedRun:
    if not (folder / "test" / "metrics.json").is_file() or not (folder / "test" / "predictions.jsonl").is_file():
        raise VocaffectError(f"{folder} holds no tested run: run 'vocaffect test {folder}' first")
    try:
        evaluation = json.loads((folder / "test" / "metrics.json").read_text(encoding="utf-8"))
        rows = _json_lines(folder / "test" / "predictions.jsonl")
        answers = {
            (row["fold"], row["path"]): Answer(row["emotion"], row["speaker"], row["recognised"]) for row in rows
        }
        histories = tuple(map(_json_lines, [*folder.glob("metrics.jsonl"), *folder.glob("fold_*/metrics.jsonl")]))
        recipe = _recipe(folder)
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise VocaffectError(
            f"{folder} holds damaged results ({error}): run 'vocaffect test {folder}' again"
        ) from error
    return ComparedRun(name, folder, evaluation, answers, histories, recipe)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _recipe(folder: Path) -> dict[str, Any]:
    """The run's recipe as it was written, whatever keys recipes have had since."""
    for path in [*folder.glob("recipe.yaml"), *sorted(folder.glob("fold_*/recipe.yaml"))][:1]:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {key: value for key, value in dotted(content) if key != "data.fold"}
    return {}


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart.

    >>> _names([Path("runs/a/fold_1"), Path("runs/b/fold_1")])
    ['a/fold_1', 'b/fold_1']
    """
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            break
    return names
