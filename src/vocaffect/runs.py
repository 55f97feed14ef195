"""A run of one fold: its folder, what it was started with, its network, and the clips that it is validated on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from vocaffect.augment import AugmentOptions
from vocaffect.datasets import EmotionDataset, StreamingEmotionDataset, collate, dataset_class
from vocaffect.encoders import merged
from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd
from vocaffect.files import cache_folder
from vocaffect.labels import EMOTIONS
from vocaffect.losses import class_weights
from vocaffect.manifest import Manifest
from vocaffect.models import Network, build_model
from vocaffect.models.eight_bits import in_eight_bits
from vocaffect.models.voice import Voice
from vocaffect.plugins import keep_plugins, load_plugins
from vocaffect.precompute import Extraction
from vocaffect.recipe import Recipe, read_recipe
from vocaffect.sampling import BucketSampler, Sessions, SessionSampler, StreamSampler, clip_weights
from vocaffect.splits import Split, SplitError, make_split
from vocaffect.takes import Take
from vocaffect.tar import is_there
from vocaffect.training import checkpoint
from vocaffect.training.stopping import ignore_signals
from vocaffect.training.trainer import Loader
from vocaffect.training.transfer import freeze
from vocaffect.units import seconds_to_samples

EVALUATION_BATCH = 32
UNLABELLED = "unlabelled.csv"
"""In a run's folder: the clips that its teachers alone label."""


@dataclass(frozen=True)
class Run:
    """A run's folder and what it was started with."""

    folder: Path
    recipe: Recipe
    manifest: Manifest
    split: Split

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the manifest's labels that a clip has, in their order."""
        present = {utterance.emotion for utterance in self.manifest}
        return tuple(label for label in self.manifest.labels if label in present)


def open_run(folder: Path, data_root: Path | None = None) -> Run:
    """Open a run of one fold; ``data_root`` says where the clips lie now, if they are no longer where they were.

    Raises:
        VocaffectError: if the folder holds no run, or a plug-in of it cannot be loaded.
    """
    if not (folder / "recipe.yaml").is_file():
        raise VocaffectError(f"{folder} holds no run: name the folder that 'vocaffect train' made")
    manifest = Manifest.read(folder / "manifest.csv")
    if data_root is not None and not all(map(is_there, map(manifest.audio_path, manifest))):
        manifest = replace(manifest, root=data_root)
    recipe = read_recipe(folder / "recipe.yaml")
    load_plugins(recipe.plugins)
    recipe = recipe.model_copy(update={"plugins": keep_plugins(recipe.plugins, folder)})
    return Run(folder, recipe, manifest, Split.read(folder / "split.json"))


def split_of(recipe: Recipe, manifest: Manifest) -> Split:
    """The split that a recipe asks for, made by a protocol or read from a file.

    Raises:
        SplitError: if the manifest cannot be split that way, or the file is not what its hash says.
        ManifestError: if the file names clips that the manifest lacks.
    """
    data = recipe.data
    if data.protocol.endswith(".json"):
        if data.train_only:
            raise SplitError(f"{data.protocol} says who is trained on: leave data.train_only out")
        split = Split.read(split_file(data.protocol, data.fold))
        split.of(manifest)
        return split
    return make_split(
        manifest,
        data.protocol,
        data.fold,
        seed=recipe.seed,
        validation_fraction=data.validation_fraction,
        folds=data.num_folds,
        train_only=data.train_only,
    )


def split_file(protocol: str, fold: int) -> Path:
    """The file of a fold, of a protocol that is files: ``splits/x-fold{fold}.json``."""
    return Path(protocol.replace("{fold}", str(fold)))


def fold_folders(folder: Path) -> list[Path]:
    """The folders of a run's folds, in their order; the run's own folder where it has one fold."""
    folds = sorted(folder.glob("fold_*"), key=lambda path: int(path.name.removeprefix("fold_")))
    return folds or [folder]


def beginning(recipe: Recipe) -> Path | None:
    """What a run begins with: the same fold of a run of all folds, or the run or file that the recipe names."""
    if recipe.training.init_from is None:
        return None
    named = Path(recipe.training.init_from)
    fold = named / f"fold_{recipe.data.fold}"
    return fold if fold.is_dir() else named


def learned_from(run: Run) -> frozenset[str]:
    """The corpora that a run's weights have learned from, those of the run it began with among them.

    Where that is not there to be asked, or was a mere file, its own name stands for what it has learned from.
    """
    corpora = frozenset(utterance.corpus for utterance in run.manifest)
    if (run.folder / UNLABELLED).is_file():
        corpora |= frozenset(Manifest.read(run.folder / UNLABELLED).corpora)
    source = beginning(run.recipe)
    if source is None:
        return corpora
    return corpora | (learned_from(open_run(source)) if (source / "recipe.yaml").is_file() else {source.name})


def statistics_of(run: Run) -> tuple[str, ...]:
    """The corpora whose training clips gave the mean and deviation of features that the recogniser has.

    A clip's own corpus is known in training alone; a recogniser has the pooled ones of the corpora it is meant for.
    """
    data, corpora = run.recipe.data, run.split.of(run.manifest)[0].corpora
    return tuple(name for name in corpora if data.statistics == "pooled" or name not in data.train_only)


def build_network(run: Run) -> Network:
    """The network that a run's recipe describes, not yet trained."""
    return network_of(run.recipe, len(run.labels))


def network_of(recipe: Recipe, num_labels: int) -> Network:
    """The network that a recipe describes, not yet trained."""
    frontend = FrontEnd(**recipe.frontend.model_dump())
    given = {"num_features": frontend.num_features, "num_labels": num_labels}
    options = recipe.voice.model_dump(exclude={"enabled", "session_length"})
    voice = Voice(num_labels, **options) if recipe.voice.enabled else None
    return Network(frontend, build_model(recipe.model.name, **given, **recipe.model.parameters), voice)


def has_stem(recipe: Recipe, network: Network) -> bool:
    """Whether what the model begins with says the same of a clip from first to last, so that it can be kept."""
    masking = recipe.masking
    return network.model.still and beginning(recipe) is None and not (masking.time_masks or masking.feature_masks)


def stem_of(recipe: Recipe) -> Network | None:
    """A network whose model begins as that of a recipe's runs does, if what it says can be kept."""
    torch.manual_seed(recipe.seed)
    network = network_of(recipe, len(EMOTIONS))
    freeze(network, recipe.training.freeze)
    if not has_stem(recipe, network):
        return None
    network.model.load()
    return network


def trained_network(run: Run) -> Network:
    """The run's best model, with even labels and in eight bits where its recipe asks for that."""
    network = build_network(run)
    checkpoint.load_weights(network, checkpoint.load(run.folder / checkpoint.BEST)[0])
    merged(network)
    if run.recipe.export.even_labels:
        network.shift(torch.tensor(label_offset(run), dtype=torch.float32))
    return in_eight_bits(network) if run.recipe.export.weights == "int8" else network.eval()


def label_offset(run: Run) -> NDArray[np.float64]:
    """What makes a run's logits those of a training that has shown every label equally often, ``(num_labels,)``.

    Menon AK et al. (2021), ICLR, "Long-tail learning via logit adjustment": less the logarithm of a label's share.
    """
    clips, recipe = run.split.of(run.manifest)[0], run.recipe
    targets = [run.labels.index(clip.emotion) for clip in clips]
    counts = class_weights(recipe.training.class_weights, run.labels, [clip.emotion for clip in clips])
    shares = np.bincount(targets, clip_weights(clips, recipe.data.sampling, recipe.data.balance), len(run.labels))
    known = np.array(counts) * shares
    known[known == 0] = known[known > 0].mean()  # of a label that was never shown nothing is known
    return np.asarray(np.log(known).mean() - np.log(known))


def training_trim(recipe: Recipe) -> float | None:
    """The level below which clips are trimmed in training."""
    return recipe.frontend.silence_db if recipe.data.trim_silence else None


def augment_options(recipe: Recipe) -> AugmentOptions | None:
    """What may happen to training clips, if anything may."""
    return AugmentOptions(**recipe.augment.model_dump(exclude={"enabled"})) if recipe.augment.enabled else None


def extractions(recipe: Recipe, trim_db: float | None, network: Network | None = None) -> list[Extraction]:
    """What is computed once of training clips: what a network's beginning says, their copies, or raw features."""
    frontend, margin, copies = recipe.frontend.model_dump(), recipe.data.margin_s, recipe.training.copies
    if network is None and not copies:
        return [Extraction(frontend, trim_db, margin)]
    take = Take(frontend, trim_db, margin, network=network, options=augment_options(recipe), seed=recipe.seed)
    return [replace(take, number=number) for number in range(copies + 1)]


def kept(recipe: Recipe, extraction: Extraction) -> Callable[[str, Path], NDArray[np.float32]]:
    """A function from a clip's SHA-256 and file to what is computed of it, which comes from a cache.

    Raw features have one where the recipe names it; what takes long to compute has one anyway.
    """
    named = recipe.training.cache_dir
    folder = Path(named) if named else cache_folder() / "features" if isinstance(extraction, Take) else None
    return extraction.kept_in(folder)


def validation_loader(run: Run, share: tuple[int, int] = (0, 1), network: Network | None = None) -> Loader:
    """The held-out speakers' whole clips, sorted by length; the training clips, where nobody is held out.

    Their silence is not cut off: a score that leaves it out says nothing about a recogniser that hears it. If a
    network is given, it is what its frozen beginning says of them.
    """
    training, validation, _ = run.split.of(run.manifest)
    manifest = validation if len(validation) else training
    raw = kept(run.recipe, extractions(run.recipe, None, network)[0])
    dataset = dataset_class(manifest)(manifest, run.labels, raw=raw)
    return loader(dataset, EVALUATION_BATCH, 0, False, 0, share, hop=hop_of(run.recipe))


def hop_of(recipe: Recipe) -> int:
    """The samples from frame to frame."""
    return seconds_to_samples(recipe.frontend.hop_s)


def loader(
    dataset: EmotionDataset,
    batch_size: int,
    seed: int,
    shuffle: bool,
    workers: int,
    share: tuple[int, int] = (0, 1),
    weights: NDArray[np.float64] | None = None,
    buffer: int = 1000,
    hop: int = 160,
    sessions: Sessions | None = None,
) -> Loader:
    """Batches of a dataset's clips, in an order that is a function of (seed, epoch), or sorted by length.

    ``share`` says which of how many processes loads them; each gets its part of every batch. ``weights`` say how often
    each clip is drawn, ``buffer`` how many clips from shards are shuffled together, ``sessions`` that clips of one
    voice come one after the other. ``hop`` is as in `collate`.
    """
    sampler = BucketSampler(dataset.lengths, batch_size, seed, shuffle, share=share, weights=weights)
    if shuffle and isinstance(dataset, StreamingEmotionDataset):
        sampler = StreamSampler(dataset.lengths, batch_size, dataset.shards, buffer, seed, share, weights)
    if shuffle and sessions is not None:
        sampler = SessionSampler(dataset.lengths, batch_size, sessions, seed, share, weights)
    batches = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=partial(collate, hop=hop),
        num_workers=workers,
        worker_init_fn=ignore_signals if workers else None,
        multiprocessing_context="fork" if workers else None,
    )
    return Loader(batches, sampler)
