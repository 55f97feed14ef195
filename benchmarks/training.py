"""An epoch of the LSTM recipe on two cores: our loop against a plain padded PyTorch loop in float32.

    python benchmarks/training.py [--data-root FOLDER] [--clips 288] [--rounds 3] [--cores 2]

Both learn from the same clips, as many of them an epoch, in batches of 32, with the same model (805,896 parameters),
and both hold the decoded clips in memory. The plain loop is what a first script does: clips in random order, padded to
the longest of their batch, MFCCs by torch.stft every epoch, an LSTM over all frames, the mean of a clip's own, AdamW;
torch computes it with a thread on each core. Ours is configs/lstm_mfcc.yaml as it is shipped, augmentation included,
started by torchrun with a process on each core that takes its share of every batch. The rows between them take it
apart: the same content as the plain loop in batches of similar length; then without the silence around speech; then
with augmentation; then in several processes. Rounds alternate; ratios are medians over them. Start-up and a first
epoch are left out on both sides. Clips come from RAVDESS below --data-root or VOCAFFECT_DATA; without it they are
generated, as long and with as much silence.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from vocaffect.augment import AugmentOptions
from vocaffect.bundle import golden_signal
from vocaffect.corpora import prepare
from vocaffect.datasets import EmotionDataset
from vocaffect.features import FrontEnd
from vocaffect.features.mel import mel_filters
from vocaffect.features.mfcc import cosine_basis
from vocaffect.labels import EMOTIONS
from vocaffect.manifest import Manifest
from vocaffect.models import Network, build_model, num_parameters
from vocaffect.recipe import Recipe, read_recipe
from vocaffect.runs import loader
from vocaffect.training import ranks
from vocaffect.training.options import LoopOptions
from vocaffect.training.progress import Progress
from vocaffect.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
WIN, HOP, BATCH = 400, 160, 32
Epoch = Callable[[], None]


class PlainLstm(nn.Module):
    """The same layers, over whole padded clips."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(13, 256, 2, batch_first=True, dropout=0.3)
        self.dropout, self.fc = nn.Dropout(0.3), nn.Linear(256, len(EMOTIONS))

    def forward(self, features: Tensor, num_frames: Tensor) -> Tensor:
        """Features ``(batch, num_frames, 13)`` to logits ``(batch, num_labels)``."""
        hidden, _ = self.lstm(features)
        own = (torch.arange(hidden.shape[1]) < num_frames[:, None])[..., None]
        return self.fc(self.dropout((hidden * own).sum(1) / num_frames[:, None]))


def plain(dataset: EmotionDataset) -> Epoch:
    torch.manual_seed(0)
    model, window = PlainLstm(), torch.hann_window(WIN)
    mels, basis = mel_filters(16_000, WIN, 40, 0.0, 8_000.0).float(), cosine_basis(40, 13).float()
    assert num_parameters(model) == 805_896
    clips, targets = [torch.from_numpy(dataset.samples(i)) for i in range(len(dataset))], torch.tensor(dataset.targets)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0)

    def epoch() -> None:
        model.train()
        for chosen in torch.randperm(len(clips)).split(BATCH):
            batch = [clips[i] for i in chosen]
            padded = nn.utils.rnn.pad_sequence(batch, batch_first=True)
            power = torch.stft(padded, WIN, HOP, window=window, return_complex=True).abs().square().transpose(1, 2)
            features = (10 * (power @ mels).clamp(min=1e-10).log10()) @ basis
            num_frames = torch.tensor([len(clip) // HOP for clip in batch])
            loss = nn.functional.cross_entropy(model(features, num_frames), targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()

    return epoch


def ours(dataset: EmotionDataset, recipe: Recipe, folder: Path, workers: int) -> Epoch:
    torch.manual_seed(0)
    frontend = FrontEnd(**recipe.frontend.model_dump())
    given = {"num_features": frontend.num_features, "num_labels": len(EMOTIONS), **recipe.model.parameters}
    network = Network(frontend, build_model(recipe.model.name, **given))
    assert num_parameters(network) == 805_896
    trainer = Trainer(network, LoopOptions(), torch.device("cpu"), folder)
    share = (ranks.rank(), ranks.world())
    batches, progress = loader(dataset, recipe.training.batch_size, 0, True, workers, share), Progress()

    def epoch() -> None:
        trainer.epoch(batches, progress, lambda done, total: None)
        progress.finish_epoch(0.0, {"validation_loss": 0.0, "validation_uar": 0.0})

    return epoch


def clips(data_root: str | None, count: int, folder: Path) -> Manifest:
    """So many clips, evenly over RAVDESS; or generated: 1.7 to 2.3 s of sound, a second of silence before and after."""
    if data_root and (Path(data_root) / "ravdess").is_dir():
        manifest = prepare("ravdess", Path(data_root), partial=True)
        return Manifest(manifest.root, manifest.utterances[:: max(len(manifest) // count, 1)][:count])
    rng = np.random.default_rng(0)
    for i in range(count):
        (folder / EMOTIONS[i % 8] / f"s{i % 4}").mkdir(parents=True, exist_ok=True)
        samples = np.pad(0.3 * golden_signal(rng.uniform(1.7, 2.3)), rng.integers(13_000, 19_000, 2))
        soundfile.write(folder / EMOTIONS[i % 8] / f"s{i % 4}" / f"{i}.wav", samples, 16_000)
    return prepare("folder", folder)


def in_processes(given: argparse.Namespace, count: int) -> float:
    """Seconds of an epoch of the recipe as torchrun trains it, after one that is left out."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), __file__, "--rank"]
    command += ["--clips", str(given.clips), *(["--data-root", given.data_root] if given.data_root else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def as_rank(given: argparse.Namespace) -> None:
    """What each process does that torchrun has started."""
    ranks.join()
    with tempfile.TemporaryDirectory() as folder:
        recipe, _, _, shipped = datasets(given, Path(folder))
        epoch = ours(shipped, recipe, Path(folder), recipe.training.workers)
        epoch()
        ranks.gathered(None)
        start = time.perf_counter()
        epoch()
        if ranks.rank() == 0:
            print(json.dumps(time.perf_counter() - start))


def datasets(given: argparse.Namespace, folder: Path) -> tuple[Recipe, EmotionDataset, EmotionDataset, EmotionDataset]:
    """The recipe, and its clips whole, trimmed, and augmented as well."""
    recipe = read_recipe(ROOT / "configs" / "lstm_mfcc.yaml")
    augment = AugmentOptions(**recipe.augment.model_dump(exclude={"enabled"}))
    manifest = clips(given.data_root, given.clips, folder)
    trim = {"trim_db": recipe.frontend.silence_db, "margin_s": recipe.data.margin_s}
    trimmed, shipped = (EmotionDataset(manifest, EMOTIONS, augment=how, **trim) for how in (None, augment))
    return recipe, EmotionDataset(manifest, EMOTIONS), trimmed, shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=os.environ.get("VOCAFFECT_DATA"))
    parser.add_argument("--clips", type=int, default=288)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank:
        as_rank(given)
        return
    torch.set_num_threads(given.cores)
    with tempfile.TemporaryDirectory() as folder:
        recipe, whole, trimmed, shipped = datasets(given, Path(folder))
        epochs = {
            "plain padded loop": plain(whole),
            "ours, the same content": ours(whole, recipe, Path(folder), 0),
            "and silence trimmed": ours(trimmed, recipe, Path(folder), 0),
            "and augmented": ours(shipped, recipe, Path(folder), recipe.training.workers),
        }
        rounds = []
        for _ in range(given.rounds + 1):
            starts = [time.perf_counter()]
            for epoch in epochs.values():
                epoch()
                starts.append(time.perf_counter())
            rounds.append([*np.diff(starts), in_processes(given, given.cores)])
    times = np.array(rounds[1:])
    lengths = [sum(dataset.lengths) / 16_000 / len(dataset) for dataset in (whole, trimmed)]
    print(f"{len(whole)} clips of {lengths[0]:.2f} s, {lengths[1]:.2f} s without silence; batches of {BATCH}")
    for name, column in zip([*epochs, f"and in {given.cores} processes"], times.T, strict=True):
        ratio = np.median(times[:, 0] / column)
        print(f"{name:28s} {len(whole) / np.median(column):6.1f} clips/s   {ratio:5.2f} times")
    print("target: 1.8 times for the last")


if __name__ == "__main__":
    main()
