"""The one training loop: epochs of batches, validation on held-out speakers, early stopping, checkpoints."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vocaffect.datasets import Batch, BucketSampler
from vocaffect.errors import VocaffectError
from vocaffect.losses import decisions, utterance_cross_entropy
from vocaffect.metrics import confusion, uar, war
from vocaffect.models import Network
from vocaffect.training import checkpoint
from vocaffect.training.runtime import autocast, mixed_precision

Row = dict[str, float]


class Loader(NamedTuple):
    """Batches, and the sampler that must be told the epoch."""

    batches: DataLoader[Any]
    sampler: BucketSampler


@dataclass(frozen=True)
class LoopOptions:
    """What the loop may be told; the recipe's section ``training`` names the same things."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    max_epochs: int = 100
    early_stopping_patience: int = 15
    scheduler: Literal["plateau", "none"] = "plateau"
    scheduler_patience: int = 5
    scheduler_factor: float = 0.5
    gradient_clip: float = 5.0
    label_smoothing: float = 0.0
    frame_weight: float = 0.0
    checkpoint_every: int = 10
    amp: Literal["auto", "on", "off"] = "auto"
    seed: int = 0


@dataclass
class Progress:
    """Where training stands after an epoch; JSON holds it beside the weights."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    lowest_loss: float = math.inf
    epochs_since_lower: int = 0
    rows: list[Row] = field(default_factory=list)


def train(
    network: Network,
    training: Loader,
    validation: Loader,
    folder: Path,
    options: LoopOptions,
    *,
    device: torch.device,
    resume: bool = False,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train until patience or epochs run out, and leave the best weights in ``folder`` and in ``network``.

    The score is UAR on the validation speakers, then the lower loss. The learning rate falls when the
    validation loss has not for a while. After each epoch everything that resuming needs is written; a resumed
    run ends with the same weights as an unbroken one.

    Raises:
        VocaffectError: if the loss is no longer a number; the best weights so far stay in the folder.
    """
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    progress = _resume(network, optimiser, folder) if resume else Progress()
    amp = mixed_precision(device, options.amp)
    scaler = torch.amp.GradScaler(device.type, enabled=amp and device.type == "cuda")
    while progress.epoch < options.max_epochs and not _out_of_patience(progress, options):
        progress.epoch += 1
        torch.manual_seed(options.seed * 100_003 + progress.epoch)
        loss = _epoch(network, training, optimiser, scaler, options, device, amp, progress.epoch, on_batch)
        row = {"epoch": progress.epoch, "learning_rate": optimiser.param_groups[0]["lr"], "train_loss": loss}
        row |= validate(network, validation, device)
        improved = _record(progress, row)
        _schedule(optimiser, progress, row, options)
        _save(network, optimiser, progress, folder, improved, options)
        on_epoch(progress)
    checkpoint.load_weights(network, checkpoint.load(folder / checkpoint.BEST)[0])
    return progress


def validate(network: Network, loader: Loader, device: torch.device) -> Row:
    """Loss, UAR and accuracy on whole clips, as ``validation_loss``, ``validation_uar`` and ``validation_war``."""
    logits, targets = predict(network, loader, device)
    counts = confusion(targets.numpy(), logits.argmax(1).numpy(), logits.shape[1])
    loss = float(nn.functional.cross_entropy(logits, targets))
    return {
        "validation_loss": loss,
        "validation_uar": float(uar(counts)),
        "validation_war": float(war(counts)),
    }


@torch.inference_mode()
def predict(network: Network, loader: Loader, device: torch.device) -> tuple[Tensor, Tensor]:
    """The decision about each whole clip, ``(num_clips, num_labels)``, and the targets, in the loader's order."""
    network.eval()
    logits, targets = [], []
    for batch in loader.batches:
        running = network(batch.samples.to(device))[0].logits
        logits.append(decisions(running, batch.num_frames.to(device)).float().cpu())
        targets.append(batch.targets)
    return torch.cat(logits), torch.cat(targets)


def _epoch(
    network: Network,
    loader: Loader,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    options: LoopOptions,
    device: torch.device,
    amp: bool,
    epoch: int,
    on_batch: Callable[[int, int], None],
) -> float:
    """One pass over the training clips; returns the mean loss."""
    network.train()
    loader.sampler.epoch = epoch
    total, num_clips = 0.0, 0
    for done, batch in enumerate(loader.batches, start=1):
        loss = _step(network, batch, optimiser, scaler, options, device, amp)
        if not math.isfinite(loss):
            raise VocaffectError(
                f"the loss became {loss} in epoch {epoch}, batch {done}: lower training.learning_rate and resume "
                "with --resume, which goes on from the epoch before"
            )
        total, num_clips = total + loss * len(batch.targets), num_clips + len(batch.targets)
        on_batch(done, len(loader.sampler))
    return total / num_clips


def _step(
    network: Network,
    batch: Batch,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    options: LoopOptions,
    device: torch.device,
    amp: bool,
) -> float:
    samples, num_frames, targets = (tensor.to(device) for tensor in batch)
    with torch.no_grad():
        (features, active), _ = network.frontend(samples)
    with autocast(device, amp):
        logits, _ = network.model(features, active)
    loss = utterance_cross_entropy(
        logits.float(), active, num_frames, targets, options.frame_weight, options.label_smoothing
    )
    optimiser.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(optimiser)
    nn.utils.clip_grad_norm_(network.parameters(), options.gradient_clip)
    scaler.step(optimiser)
    scaler.update()
    return float(loss)


def _record(progress: Progress, row: Row) -> bool:
    """Write an epoch's row down; says whether it is the best so far."""
    progress.rows.append(row)
    lower = row["validation_loss"] < progress.lowest_loss
    progress.epochs_since_lower = 0 if lower else progress.epochs_since_lower + 1
    improved = row["validation_uar"] > progress.best_score or (row["validation_uar"] == progress.best_score and lower)
    progress.lowest_loss = min(progress.lowest_loss, row["validation_loss"])
    if improved:
        progress.best_epoch, progress.best_score = progress.epoch, row["validation_uar"]
    return improved


def _out_of_patience(progress: Progress, options: LoopOptions) -> bool:
    return progress.epoch - progress.best_epoch >= options.early_stopping_patience


def _schedule(optimiser: torch.optim.Optimizer, progress: Progress, row: Row, options: LoopOptions) -> None:
    """Lower the learning rate once the validation loss has not fallen for ``scheduler_patience`` epochs."""
    if options.scheduler == "plateau" and progress.epochs_since_lower > options.scheduler_patience:
        progress.epochs_since_lower = 0
        for group in optimiser.param_groups:
            group["lr"] *= options.scheduler_factor


def _save(
    network: Network,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    folder: Path,
    improved: bool,
    options: LoopOptions,
) -> None:
    facts: Mapping[str, Any] = {
        "progress": asdict(progress),
        "learning_rate": optimiser.param_groups[0]["lr"],
    }
    if improved:
        checkpoint.save(folder / checkpoint.BEST, checkpoint.weights(network), facts)
    everything = checkpoint.weights(network) | checkpoint.optimiser_tensors(optimiser)
    checkpoint.save(folder / checkpoint.LAST, everything, facts)
    if progress.epoch % options.checkpoint_every == 0:
        name = f"checkpoint_epoch_{progress.epoch}.safetensors"
        checkpoint.save(folder / name, checkpoint.weights(network), facts)


def _resume(network: Network, optimiser: torch.optim.Optimizer, folder: Path) -> Progress:
    tensors, facts = checkpoint.load(folder / checkpoint.LAST)
    checkpoint.load_weights(network, tensors)
    checkpoint.load_optimiser(optimiser, tensors, facts["learning_rate"])
    return Progress(**facts["progress"])
