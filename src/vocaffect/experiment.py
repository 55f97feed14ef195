"""From a recipe to a run: a folder that holds all that was decided, learned and measured.

A run of one fold holds recipe.yaml, manifest.csv, split.json, environment.json, metrics.jsonl, checkpoints,
model.onnx and what testing finds in test/. A run of all folds holds such a folder for each, fold_1 onwards.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocaffect.augment import Sounds
from vocaffect.corpora import Dropped
from vocaffect.datasets import EmotionDataset, dataset_class
from vocaffect.distillation import Lesson, begin_lesson, clips_without_labels, lesson_of
from vocaffect.errors import VocaffectError
from vocaffect.files import cache_folder, write_text
from vocaffect.labels import LabelSet
from vocaffect.losses import build_loss, class_weights
from vocaffect.manifest import Manifest
from vocaffect.models import Network
from vocaffect.plots import plot_training_history
from vocaffect.plugins import keep_plugins, load_installed, load_plugins
from vocaffect.recipe import Recipe
from vocaffect.runs import (
    Run,
    augment_options,
    beginning,
    build_network,
    extractions,
    fold_folders,
    has_stem,
    hop_of,
    kept,
    loader,
    open_run,
    split_of,
    training_trim,
    validation_loader,
)
from vocaffect.sampling import Sessions, clip_weights
from vocaffect.sources import read_clips
from vocaffect.splits import Split, audit
from vocaffect.teachers import check_teachers, refuse_heard, voices_of_run
from vocaffect.training import checkpoint, ranks
from vocaffect.training.loop import train
from vocaffect.training.masking import MaskOptions
from vocaffect.training.options import LoopOptions
from vocaffect.training.progress import Progress
from vocaffect.training.runtime import choose_device, environment
from vocaffect.training.trainer import Loader
from vocaffect.training.transfer import freeze, initialise

Raw = Callable[[str, Path], NDArray[np.float32]]


def start_run(
    recipe: Recipe,
    folder: Path,
    data_root: Path,
    *,
    resume: bool = False,
    allow_leak: bool = False,
    manifest: Manifest | None = None,
) -> Run:
    """Make a run's folder, with the split audited; or open it again to resume.

    Raises:
        VocaffectError: if the folder holds another run, the data cannot be read, the split leaks, or the recipe
            names a feature, model, loss or folder that is not there; nothing is written then.
    """
    if resume and checkpoint.resumable(folder):
        return open_run(folder, data_root)
    if checkpoint.resumable(folder):
        raise VocaffectError(f"{folder} holds a run: go on with it by --resume, or choose another --run-name")
    if fold_folders(folder) != [folder]:
        raise VocaffectError(
            f"{folder} holds a run of all folds: train all with --folds all, or choose another --run-name"
        )
    load_plugins(recipe.plugins)
    manifest = manifest if manifest is not None else read_data(recipe, data_root)
    split = split_of(recipe, manifest)
    _refuse_leak(manifest, split, allow_leak)
    _refuse_heard(manifest, split, beginning(recipe), allow_leak)
    run = Run(folder, recipe, manifest, split)
    _refuse_unknown(run)
    check_teachers(run, allow_leak=allow_leak)
    more = clips_without_labels(recipe.distillation.unlabelled, data_root, recipe.data.partial)
    folder.mkdir(parents=True, exist_ok=True)
    begin_lesson(run, more)
    recipe = recipe.model_copy(update={"plugins": keep_plugins(recipe.plugins, folder)})
    manifest.write(folder / "manifest.csv")
    split.write(folder / "split.json")
    recipe.write(folder / "recipe.yaml")
    return replace(run, recipe=recipe)


def read_data(
    recipe: Recipe,
    data_root: Path,
    *,
    dropped: Dropped | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
) -> Manifest:
    """The clips that a recipe names; see `vocaffect.sources.read_clips`."""
    load_plugins(recipe.plugins)
    data = recipe.data
    labels = LabelSet(data.labels) if data.labels else None
    return read_clips(
        data.corpus, data_root, partial=data.partial, labels=labels, dropped=dropped, progress=progress, cache=cache
    )


def train_run(
    run: Run,
    *,
    resume: bool = False,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
    on_taught: Callable[[int, int], None] = lambda done, total: None,
    on_heard: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Progress:
    """Train a run to its end; after each epoch metrics.jsonl and training_history.png tell how it goes.

    Where several processes train together, each calls this; the first alone writes and has ``on_epoch`` called.

    Args:
        run: what `start_run` or `open_run` gives.
        resume: go on where it stopped.
        on_batch: hears how many batches of an epoch are done, of how many.
        on_epoch: hears how training stands after each epoch.
        on_taught: hears about how many clips a teacher has been asked, of how many.
        on_heard: hears of how many clips features are there, or what a frozen encoder says, of how many.
        on_note: hears sentences about what was loaded, held still, or is to be known of a teacher.

    Raises:
        VocaffectError: if the loss is no longer a number, or a teacher cannot be asked.
    """
    options, device = run.recipe.training, choose_device(run.recipe.training.device)
    known = environment(device) | {f"plug-in {name}": version for name, version in load_installed().items()}
    ranks.first(lambda: write_text(run.folder / "environment.json", json.dumps(known, indent=1) + "\n"))
    lesson = lesson_of(run, cache_folder() / "posteriors", on_taught, on_note)
    fixed = lesson.live is None and not run.recipe.clips_change
    if options.cache_dir and not fixed:
        on_note(f"training clips change from epoch to epoch: {options.cache_dir} serves validation alone")
    torch.manual_seed(run.recipe.seed)
    network = build_network(run)
    frozen = freeze(network, options.freeze)
    network.model.load()
    training, validation = _loaders(run, lesson, fixed, network if has_stem(run.recipe, network) else None, on_heard)
    dataset = training.batches.dataset
    assert isinstance(dataset, EmotionDataset)
    _fit(network, dataset, run.recipe)
    resume = resume and ranks.first(lambda: bool(checkpoint.resumable(run.folder)))
    source = beginning(run.recipe)
    if source is not None and not resume:
        on_note(f"{source}: {initialise(network, source).sentence()}")
    if frozen:
        on_note(f"held still: {', '.join(frozen[:8])}{f' and {len(frozen) - 8} more' if len(frozen) > 8 else ''}")

    def tell_history(progress: Progress) -> None:
        write_text(run.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in progress.rows))
        plot_training_history(progress.rows, run.folder / "training_history.png")

    def after_epoch(progress: Progress) -> None:
        tell_history(progress)
        on_epoch(progress)

    distillation = run.recipe.distillation
    loop = {name: getattr(options, name) for name in LoopOptions.__dataclass_fields__ if hasattr(options, name)}
    loop |= {"distill_weight": distillation.weight if distillation.teachers else 0.0}
    loop |= {"distill_temperature": distillation.temperature}
    loop |= {"masking": MaskOptions(**run.recipe.masking.model_dump())}
    emotions = [run.labels[target] for target in dataset.targets if target >= 0]
    loop |= {"loss": options.loss.name, "loss_parameters": options.loss.parameters}
    loop |= {"class_weights": class_weights(options.class_weights, run.labels, emotions)}
    loop |= {"session_length": run.recipe.voice.session_length}
    progress = train(
        network,
        training,
        validation,
        run.folder,
        LoopOptions(**loop, seed=run.recipe.seed),
        device=device,
        resume=resume,
        on_batch=on_batch,
        on_epoch=after_epoch,
        on_note=on_note,
    )
    if resume:
        # What was killed may have saved its last epoch and not yet told of it.
        ranks.first(lambda: tell_history(progress))
    return progress


def _loaders(
    run: Run,
    lesson: Lesson,
    fixed: bool = False,
    stem: Network | None = None,
    on_heard: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Loader, Loader]:
    data, options = run.recipe.data, run.recipe.training
    trim_db, raws = training_trim(run.recipe), []
    if fixed:
        ways = extractions(run.recipe, trim_db, stem)
        done, total = count(1), len(ways) * len(lesson.clips)
        raws = [_watched(kept(run.recipe, way), lambda: on_heard(next(done), total)) for way in ways]
    training = dataset_class(lesson.clips)(
        lesson.clips,
        run.labels,
        augment=None if fixed else augment_options(run.recipe),
        seed=run.recipe.seed,
        trim_db=trim_db,
        margin_s=data.margin_s,
        crop_s=options.crop_s,
        soft=lesson.soft,
        mixup_alpha=options.mixup_alpha,
        teacher=lesson.live,
        raw=raws[0] if raws else None,
        others=raws[1:],
    )
    share = (ranks.rank(), ranks.world())
    weights, seed = clip_weights(lesson.clips, data.sampling, data.balance), run.recipe.seed
    drawn, hop = (share, weights, data.shuffle_buffer), hop_of(run.recipe)
    sessions = _sessions(run, lesson.clips, training)
    batches = loader(training, options.batch_size, seed, True, options.workers, *drawn, hop, sessions)
    return batches, validation_loader(run, share, stem)


def _sessions(run: Run, clips: Manifest, dataset: EmotionDataset) -> Sessions | None:
    """What sessions are drawn from, where voices are to be learned."""
    if not run.recipe.voice.enabled:
        return None
    voices = np.unique([f"{clip.corpus} {clip.speaker}" for clip in clips], return_inverse=True)[1]
    return Sessions(voices, np.array(dataset.targets), run.recipe.voice.session_length)


def _watched(raw: Raw, tell: Callable[[], None]) -> Raw:
    """The same function, which tells whenever it is done."""

    def get(sound: str, path: Path) -> NDArray[np.float32]:
        found = raw(sound, path)
        tell()
        return found

    return get


def _fit(network: Network, dataset: EmotionDataset, recipe: Recipe) -> None:
    """Give front end and model what they measure of the training clips; each corpus its own mean, if so asked."""

    def clips() -> Iterator[Tensor]:
        return (torch.from_numpy(dataset.samples(index)) for index in range(len(dataset)))

    names = sorted(set(dataset.corpora))
    pooled = [names.index(name) for name in names if name not in recipe.data.train_only]
    if dataset.samples(0).ndim == 3:
        pass  # the frozen beginning of the model has heard the clips, and needs no front end any more
    elif recipe.data.statistics == "pooled":
        network.frontend.fit(clips())
    else:
        network.frontend.fit(clips(), [names.index(corpus) for corpus in dataset.corpora], pooled)
    network.measure(clips())


def _refuse_unknown(run: Run) -> None:
    """Refuse, before anything is written, what a recipe names and nobody knows."""
    network = build_network(run)
    options, augment = run.recipe.training, augment_options(run.recipe)
    freeze(network, options.freeze)
    if run.recipe.voice.enabled and options.accumulate > 1:
        raise VocaffectError(
            "voices are learned from whole sessions: set training.accumulate to 1, or voice.enabled off"
        )
    if options.copies and (run.recipe.clips_change or not augment):
        raise VocaffectError(
            "training.copies are augmented clips that stay the same: set augment.enabled, without mixup and crop_s, or "
            "set it to 0"
        )
    extractions(run.recipe, None, network if options.copies and has_stem(run.recipe, network) else None)
    build_loss(options.loss.name, **options.loss.parameters)
    class_weights(options.class_weights, run.labels, ())
    clip_weights(run.split.of(run.manifest)[0], run.recipe.data.sampling, run.recipe.data.balance)
    if augment is not None:
        Sounds.of(augment)


def _refuse_leak(manifest: Manifest, split: Split, allowed: bool) -> None:
    leaks = [finding for finding in audit(manifest, split, listen=False).findings if finding.leak]
    if leaks and not allowed:
        raise VocaffectError(
            f"the split leaks, so its numbers would flatter: {leaks[0].message}"
            f"{f' (and {len(leaks) - 1} more)' if len(leaks) > 1 else ''}; split by speaker, or pass --allow-leak"
        )


def _refuse_heard(manifest: Manifest, split: Split, source: Path | None, allowed: bool) -> None:
    """Refuse to begin with a run that has heard the voices of the test side."""
    if source is not None and (source / "split.json").is_file():
        refuse_heard(str(source), voices_of_run(open_run(source)), split.of(manifest)[2], allowed)
