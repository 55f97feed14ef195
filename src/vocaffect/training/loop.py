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
from vocaffect.losses import decisions, distillation, utterance_cross_entropy
from vocaffect.metrics import confusion, uar, war
from vocaffect.models import Network
from vocaffect.training import checkpoint
from vocaffect.training.average import Average
from vocaffect.training.masking import MaskOptions, mask
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
    scheduler: Literal["plateau", "cosine", "none"] = "plateau"
    warmup_epochs: float = 0.0
    scheduler_patience: int = 5
    scheduler_factor: float = 0.5
    average_decay: float = 0.0
    gradient_clip: float = 5.0
    label_smoothing: float = 0.0
    frame_weight: float = 0.0
    distill_weight: float = 0.0
    distill_temperature: float = 1.0
    masking: MaskOptions = field(default_factory=MaskOptions)
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

    The score is UAR on the validation speakers, then the lower loss. After each epoch everything that resuming
    needs is written; a resumed run ends with the same weights as an unbroken one.

    Raises:
        VocaffectError: if the loss is no longer a number; the best weights so far stay in the folder.
    """
    trainer = Trainer(network.to(device), options, device, folder, len(training.sampler))
    progress = trainer.resume() if resume else Progress()
    while progress.epoch < options.max_epochs and not _out_of_patience(progress, options):
        progress.epoch += 1
        torch.manual_seed(options.seed * 100_003 + progress.epoch)
        row: Row = {"epoch": progress.epoch, "train_loss": trainer.epoch(training, progress.epoch, on_batch)}
        row["learning_rate"] = trainer.learning_rate
        with trainer.average.applied():
            row |= validate(network, validation, device)
            improved = _record(progress, row)
            trainer.keep(progress, improved)
        trainer.lower_rate_on_plateau(progress)
        trainer.save(progress)
        on_epoch(progress)
    checkpoint.load_weights(network, checkpoint.load(folder / checkpoint.BEST)[0])
    return progress


def validate(network: Network, loader: Loader, device: torch.device) -> Row:
    """Loss, UAR and accuracy on whole clips: ``validation_loss``, ``validation_uar`` and ``validation_war``."""
    logits, targets = predict(network, loader, device)
    counts = confusion(targets.numpy(), logits.argmax(1).numpy(), logits.shape[1])
    loss = float(nn.functional.cross_entropy(logits, targets))
    return {"validation_loss": loss, "validation_uar": float(uar(counts)), "validation_war": float(war(counts))}


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


class Trainer:
    """What a run changes as it learns: weights, their average, the optimiser and its learning rate."""

    def __init__(
        self, network: Network, options: LoopOptions, device: torch.device, folder: Path, steps_per_epoch: int
    ) -> None:
        self.network, self.options, self.device, self.folder = network, options, device, folder
        self.steps_per_epoch = steps_per_epoch
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        decay = options.weight_decay
        self.optimiser = torch.optim.AdamW(parameters, options.learning_rate, weight_decay=decay)
        self.average = Average(network, options.average_decay)
        self.amp = mixed_precision(device, options.amp)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.amp and device.type == "cuda")

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return float(self.optimiser.param_groups[0]["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def epoch(self, loader: Loader, epoch: int, on_batch: Callable[[int, int], None]) -> float:
        """One pass over the training clips; returns the mean loss."""
        self.network.train()
        loader.sampler.epoch = epoch
        total, num_clips = 0.0, 0
        for done, batch in enumerate(loader.batches, start=1):
            if self.options.scheduler == "cosine":
                self.learning_rate = cosine_rate(self.options, epoch - 1 + (done - 1) / self.steps_per_epoch)
            loss = self.step(batch)
            if not math.isfinite(loss):
                raise VocaffectError(
                    f"the loss became {loss} in epoch {epoch}, batch {done}: lower training.learning_rate and "
                    "start again; the best weights so far are kept"
                )
            total, num_clips = total + loss * len(batch.targets), num_clips + len(batch.targets)
            on_batch(done, self.steps_per_epoch)
        return total / num_clips

    def step(self, batch: Batch) -> float:
        """Learn from one batch; returns its loss."""
        batch = Batch(*(tensor.to(self.device) for tensor in batch))
        with torch.no_grad():
            (features, active), _ = self.network.frontend(batch.samples)
            features = self._masked(features, batch)
        with autocast(self.device, self.amp):
            logits, _ = self.network.model(features, active)
        loss = self.loss(logits.float(), active, batch)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.options.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update()
        return float(loss.detach())

    def loss(self, logits: Tensor, active: Tensor, batch: Batch) -> Tensor:
        """``(1 - W)`` of the loss on the labels and ``W`` of that on the teacher; a clip may lack either."""
        weight, temperature = self.options.distill_weight, self.options.distill_temperature
        labels = self.label_loss(logits, active, batch)
        if weight == 0:
            return labels
        frame_weight = self.options.frame_weight
        teacher = distillation(logits, active, batch.num_frames, batch.soft, temperature, frame_weight)
        return torch.lerp(labels, teacher, weight)

    def label_loss(self, logits: Tensor, active: Tensor, batch: Batch) -> Tensor:
        """The loss on the labels, the mean over the batch, to which a clip without a label adds nothing."""
        known, rows = batch.targets >= 0, (logits, active, batch.num_frames, batch.targets)
        if not known.any():
            return logits.sum() * 0
        if not known.all():
            rows = (logits[known], active[known], batch.num_frames[known], batch.targets[known])
        frame_weight, smoothing = self.options.frame_weight, self.options.label_smoothing
        return known.float().mean() * utterance_cross_entropy(*rows, frame_weight, smoothing)

    def _masked(self, features: Tensor, batch: Batch) -> Tensor:
        """Features with SpecAugment's masks, each a function of (seed, epoch, clip)."""
        planes, hop = self.network.frontend.deltas.order + 1, self.network.frontend.hop
        options, seed = self.options.masking, self.options.seed
        return mask(features, batch.num_frames, batch.places, options, seed=seed, planes=planes, hop=hop)

    def lower_rate_on_plateau(self, progress: Progress) -> None:
        """Lower the rate once the validation loss has not fallen for ``scheduler_patience`` epochs."""
        if self.options.scheduler == "plateau" and progress.epochs_since_lower > self.options.scheduler_patience:
            progress.epochs_since_lower = 0
            self.learning_rate *= self.options.scheduler_factor

    def keep(self, progress: Progress, improved: bool) -> None:
        """Write the weights of the best epoch, and of every so manieth."""
        facts: Mapping[str, Any] = {"progress": asdict(progress)}
        if improved:
            checkpoint.save(self.folder / checkpoint.BEST, checkpoint.weights(self.network), facts)
        if progress.epoch % self.options.checkpoint_every == 0:
            name = f"checkpoint_epoch_{progress.epoch}.safetensors"
            checkpoint.save(self.folder / name, checkpoint.weights(self.network), facts)

    def save(self, progress: Progress) -> None:
        """Write everything that going on after this epoch needs."""
        tensors = checkpoint.weights(self.network) | checkpoint.optimiser_tensors(self.optimiser)
        facts = {"progress": asdict(progress), "learning_rate": self.learning_rate}
        checkpoint.save(self.folder / checkpoint.LAST, tensors | self.average.state(), facts)

    def resume(self) -> Progress:
        """Read what `save` wrote last."""
        tensors, facts = checkpoint.load(self.folder / checkpoint.LAST)
        checkpoint.load_weights(self.network, tensors)
        checkpoint.load_optimiser(self.optimiser, tensors, facts["learning_rate"])
        self.average.restore(tensors)
        return Progress(**facts["progress"])


def cosine_rate(options: LoopOptions, epochs_done: float) -> float:
    """The rate of a cosine schedule: a straight climb in ``warmup_epochs``, then half a cosine down to zero.

    >>> options = LoopOptions(learning_rate=1.0, max_epochs=10, warmup_epochs=2)
    >>> [round(cosine_rate(options, epoch), 3) for epoch in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    warmup = options.warmup_epochs
    if epochs_done < warmup:
        return options.learning_rate * epochs_done / warmup
    share = (epochs_done - warmup) / max(options.max_epochs - warmup, 1e-9)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _record(progress: Progress, row: Row) -> bool:
    """Write an epoch's row down; says whether it is the best so far."""
    progress.rows.append(row)
    lower = row["validation_loss"] < progress.lowest_loss
    progress.epochs_since_lower = 0 if lower else progress.epochs_since_lower + 1
    tied = row["validation_uar"] == progress.best_score
    improved = row["validation_uar"] > progress.best_score or (tied and lower)
    progress.lowest_loss = min(progress.lowest_loss, row["validation_loss"])
    if improved:
        progress.best_epoch, progress.best_score = progress.epoch, row["validation_uar"]
    return improved


def _out_of_patience(progress: Progress, options: LoopOptions) -> bool:
    return progress.epoch - progress.best_epoch >= options.early_stopping_patience
