"""Ensembles of runs: the clips that no member has learned from, weights and temperature by them, and a folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from vocaffect.bundle import read_card, resolve
from vocaffect.ensemble import fit_weights, require_same_labels, write_ensemble
from vocaffect.errors import VocaffectError
from vocaffect.folds import refuse_missing
from vocaffect.manifest import Manifest
from vocaffect.merging import Combine
from vocaffect.metrics import fit_temperature
from vocaffect.packing import MODEL, bundle_of
from vocaffect.posteriors import hear
from vocaffect.recognizer import Recognizer
from vocaffect.runs import Run, fold_folders, open_run
from vocaffect.sections import Ensemble
from vocaffect.splits import Split
from vocaffect.training import checkpoint

OnClip = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """How members become one: what is added, whether validation speakers weigh the members, and its name."""

    combine: Combine = "logits"
    fit_weights: bool = False
    name: str = "ensemble"


def ensemble_file(
    members: Sequence[str],
    path: Path,
    plan: Plan,
    *,
    data_root: Path | None = None,
    cache: Path | None = None,
    on_clip: OnClip = lambda done, total: None,
) -> Path:
    """Write one bundle of runs of one fold, and of bundles.

    Where all are runs, it is calibrated on their validation speakers.

    Args:
        members: runs, bundles, or names of shipped recognisers; at least two.
        path: the bundle to write.
        plan: how.
        data_root: where the clips lie now, if they were moved.
        cache: where what members say about clips is kept.
        on_clip: hears how many clips are done, of how many.

    Raises:
        VocaffectError: if there is no such member, they disagree on labels, or nobody can weigh them.
    """
    runs = [_run(member, data_root) if Path(member).is_dir() else None for member in members]
    bundles = [bundle_of(run) if run else resolve(member) for run, member in zip(runs, members, strict=True)]
    require_same_labels({m: read_card(bundle).labels for m, bundle in zip(members, bundles, strict=True)})
    known = [run for run in runs if run is not None]
    together = _together(known) if len(known) == len(members) else None
    _write(bundles, path, plan, together, cache, on_clip)
    return path


def ensemble_run(
    members: Sequence[str],
    folder: Path,
    plan: Plan,
    *,
    data_root: Path | None = None,
    cache: Path | None = None,
    on_clip: OnClip = lambda done, total: None,
) -> list[Path]:
    """Make a run of runs, fold by fold, which can be tested, verified, exported and taught by like any other.

    The arguments are as in `ensemble_file`, but ``folder`` is that of the new run.

    Returns:
        The bundle of each fold.

    Raises:
        VocaffectError: if a member is no run or lacks folds, they have different folds or test sides, or as in
            `ensemble_file`.
    """
    if bare := [member for member in members if not Path(member).is_dir()]:
        raise VocaffectError(f"{bare[0]} is no run, so it has nobody to be tested on: name runs, or write -o x.onnx")
    folds = [{path.name if path != Path(member) else "" for path in fold_folders(Path(member))} for member in members]
    if any(names != folds[0] for names in folds):
        raise VocaffectError("the runs have different folds, so they cannot be paired: train all folds of each")
    for member in members:
        refuse_missing(Path(member))
    if any(checkpoint.resumable(folder / name) for name in folds[0]):
        raise VocaffectError(f"{folder} holds a run that was trained: choose another folder")
    return [
        _make_fold([Path(member) / name for member in members], folder / name, plan, data_root, cache, on_clip)
        for name in sorted(folds[0], key=lambda name: int(name.removeprefix("fold_") or 0))
    ]


def _run(member: str, data_root: Path | None) -> Run:
    if fold_folders(Path(member)) != [Path(member)]:
        raise VocaffectError(f"{member} holds one model for each fold: name one of them, or a folder to write -o to")
    return open_run(Path(member), data_root)


def _make_fold(
    folders: Sequence[Path], folder: Path, plan: Plan, data_root: Path | None, cache: Path | None, on_clip: OnClip
) -> Path:
    runs = [open_run(member, data_root) for member in folders]
    require_same_labels({str(run.folder): run.labels for run in runs})
    together = _together(runs)
    _write([bundle_of(run) for run in runs], folder / MODEL, plan, together, cache, on_clip)
    section = Ensemble(
        members=tuple(str(member) for member in folders), combine=plan.combine, fit_weights=plan.fit_weights
    )
    recipe = runs[0].recipe.model_copy(update={"name": plan.name, "ensemble": section})
    together.manifest.write(folder / "manifest.csv")
    together.split.write(folder / "split.json")
    recipe.write(folder / "recipe.yaml")
    return folder / MODEL


@dataclass(frozen=True)
class _Together:
    """All members' clips, and what one who knows what they all know may be tested on."""

    manifest: Manifest
    split: Split


def _together(runs: Sequence[Run]) -> _Together:
    """What one member trains on, all have learned from; what one holds out and none trains on, is held out.

    Raises:
        VocaffectError: if they are tested on different clips, or one trains on another's test clips.
    """
    roots = [run.manifest.root.resolve() for run in runs]
    root = Path(os.path.commonpath(roots))
    clips = {
        path: replace(clip, path=path)
        for run, own in zip(runs, roots, strict=True)
        for clip in run.manifest
        for path in [_below(root, own, clip.path)]
    }
    sides = [
        [{_below(root, own, path) for path in side} for side in (run.split.train, run.split.validation, run.split.test)]
        for run, own in zip(runs, roots, strict=True)
    ]
    if any(test != sides[0][2] for _, _, test in sides):
        raise VocaffectError("the members are tested on different clips: pair runs of the same protocol and fold")
    train = set().union(*(side[0] for side in sides))
    validation = set().union(*(side[1] for side in sides)) - train
    first = runs[0].split
    split = Split(first.name, first.fold, tuple(train), tuple(validation), tuple(sides[0][2]), first.seed)
    return _Together(replace(runs[0].manifest, root=root, utterances=tuple(clips.values())), split)


def _below(root: Path, own: Path, path: str) -> str:
    return (own.relative_to(root) / path).as_posix()


def _write(
    bundles: Sequence[Path], path: Path, plan: Plan, together: _Together | None, cache: Path | None, on_clip: OnClip
) -> None:
    """Write the ensemble with fitted weights and temperature, where there are clips to fit them on."""
    labels = read_card(bundles[0]).labels
    held_out = None if together is None else together.split.of(together.manifest)[1]
    if held_out is None or not len(held_out):
        if plan.fit_weights:
            raise VocaffectError("nobody is held out to weigh the members by: name runs with validation speakers")
        write_ensemble(bundles, path, name=plan.name, combine=plan.combine)
        return
    targets = np.array([labels.index(clip.emotion) for clip in held_out])
    weights = None
    if plan.fit_weights:
        logs = [_logs(bundle, held_out, labels, cache, on_clip) for bundle in bundles]
        weights = fit_weights(logs, targets, plan.combine)
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        write_ensemble(bundles, raw, name=plan.name, combine=plan.combine, weights=weights)
        temperature = fit_temperature(_logs(raw, held_out, labels, None, on_clip), targets)
    write_ensemble(bundles, path, name=plan.name, combine=plan.combine, weights=weights, temperature=temperature)


def _logs(
    bundle: Path, clips: Manifest, labels: Sequence[str], cache: Path | None, on_clip: OnClip
) -> NDArray[np.float64]:
    """What a bundle says about clips, as log posteriors ``(num_clips, num_labels)``."""
    said = hear(Recognizer.load(bundle), clips, cache, on_clip).of(clips, labels)
    return np.log(np.maximum(said.astype(np.float64), 1e-12))
