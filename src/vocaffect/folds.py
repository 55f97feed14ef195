"""Runs of all folds of a protocol: which folds there are, which are finished, and that all are of one run."""

from itertools import count, takewhile
from pathlib import Path
from typing import Any

from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest
from vocaffect.recipe import Recipe, dotted, read_recipe
from vocaffect.runs import fold_folders, open_run, split_file
from vocaffect.splits import num_folds
from vocaffect.training import checkpoint
from vocaffect.training.progress import Progress

HOW: dict[str, Any] = {"data": {"fold"}, "plugins": True, "training": {"workers", "device", "cache_dir"}}
"""What may differ between folds of a run: which it is, and how the work is done."""


def fold_numbers(recipe: Recipe, manifest: Manifest) -> range:
    """The folds that a recipe's protocol has for these clips, or that there are files of.

    Raises:
        VocaffectError: if the protocol is not known, or has no folds for these clips.
    """
    data = recipe.data
    if not data.protocol.endswith(".json"):
        number = num_folds(data.protocol, manifest, data.num_folds, data.train_only)
    elif "{fold}" not in data.protocol:
        raise VocaffectError(f"{data.protocol} is one fold: write {{fold}} for its number to train all, or no --folds")
    else:
        number = sum(1 for _ in takewhile(lambda fold: split_file(data.protocol, fold).is_file(), count(1)))
    if not number:
        raise VocaffectError(f"there are no folds of {data.protocol}: make them with 'vocaffect data split'")
    return range(1, number + 1)


def finished(folder: Path) -> Progress | None:
    """How far a run has come, if its training is over and its best model is there."""
    newest = checkpoint.resumable(folder)[:1]
    if not (newest and (folder / checkpoint.BEST).is_file()):
        return None
    try:
        progress = Progress(**checkpoint.load(newest[0])[1]["progress"])
    except VocaffectError:
        return None
    options = read_recipe(folder / "recipe.yaml").training
    return progress if progress.is_over(options.max_epochs, options.early_stopping_patience) else None


def refuse_other(recipe: Recipe, manifest: Manifest, folder: Path) -> None:
    """Refuse to add folds to a run of all folds that was begun with other clips or another recipe.

    Raises:
        VocaffectError: if it was; the first key that differs is named.
    """
    if (folder / "recipe.yaml").is_file():
        raise VocaffectError(f"{folder} holds a run of one fold: choose another --run-name")
    for path in (path for path in fold_folders(folder) if (path / "recipe.yaml").is_file()):
        found = _difference(read_recipe(path / "recipe.yaml"), recipe)
        if found is None and Manifest.read(path / "manifest.csv").hash != manifest.hash:
            found = "with other clips"
        if found is not None:
            raise VocaffectError(f"{path} was begun {found}: go on as before, or choose another --run-name")


def _difference(one: Recipe, other: Recipe) -> str | None:
    """The first key in which the recipes of two folds differ, as ``with training.batch_size 32, not 16``.

    >>> from vocaffect.recipe import make_recipe
    >>> _difference(make_recipe({}), make_recipe({}, ["data.fold=2", "training.batch_size=16"]))
    'with training.batch_size 32, not 16'
    """
    flat = [dict(dotted(recipe.model_dump(mode="json", exclude=HOW))) for recipe in (one, other)]
    for key in flat[0] | flat[1]:
        mine, theirs = (values.get(key) for values in flat)
        if mine != theirs:
            return f"with {key} {mine}, not {theirs}"
    return None


def refuse_missing(folder: Path) -> None:
    """Refuse a run of all folds that lacks some: what they are worth together would be of other speakers.

    Raises:
        VocaffectError: if folds of the protocol are not there, or not trained to their end.
    """
    found = fold_folders(folder)
    run = open_run(found[0])
    if found == [folder] or run.recipe.ensemble.members:
        return
    number = found[-1].name.removeprefix("fold_")
    listed = run.recipe.data.protocol.endswith(".json") and not split_file(run.recipe.data.protocol, 1).is_file()
    numbers = range(1, int(number) + 1) if listed else fold_numbers(run.recipe, run.manifest)
    missing = [fold for fold in numbers if not _is_trained(folder / f"fold_{fold}")]
    if missing:
        raise VocaffectError(
            f"{len(missing)} of the {len(numbers)} folds of {folder} are not trained to their end (first: fold "
            f"{missing[0]}): give the same 'vocaffect train' command again with --resume"
        )


def _is_trained(folder: Path) -> bool:
    if checkpoint.resumable(folder):
        return finished(folder) is not None
    return (folder / checkpoint.BEST).is_file()
