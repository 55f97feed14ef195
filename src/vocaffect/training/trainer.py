"""What a run changes as it learns, one batch at a time, and what of it a checkpoint holds."""

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vocaffect.datasets import Batch
from vocaffect.errors import VocaffectError
from vocaffect.losses import Counts, build_loss, count, decisions, distillation, utterance_loss
from vocaffect.models import Network
from vocaffect.sampling import BucketSampler
from vocaffect.training import checkpoint, ranks
from vocaffect.training.average import Average
from vocaffect.training.masking import mask
from vocaffect.training.options import LoopOptions
from vocaffect.training.progress import Progress
from vocaffect.training.runtime import autocast, mixed_precision
from vocaffect.training.schedule import planned_rate
from vocaffect.training.stopping import StopAskedError


class Loader(NamedTuple):
    """Batches, and the sampler that must be told the epoch and the batch to start with."""

    batches: DataLoader[Any]
    sampler: BucketSampler


class Trainer:
    """Weights, their average, the optimiser and its learning rate."""

    def __init__(
        self,
        network: Network,
        options: LoopOptions,
        device: torch.device,
        folder: Path,
        stop_asked: Callable[[], int] = lambda: 0,
    ) -> None:
        self.network, self.options, self.device, self.folder = network, options, device, folder
        self.stop_asked = stop_asked
        ranks.share_weights(network)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(parameters, options.learning_rate, weight_decay=options.weight_decay)
        self.label_loss = build_loss(options.loss, **options.loss_parameters)
        self.class_weights = torch.tensor(options.class_weights, device=device) if options.class_weights else None
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

    def epoch(self, loader: Loader, progress: Progress, on_batch: Callable[[int, int], None]) -> None:
        """Learn from the batches of the epoch under way that were not yet learned from.

        Raises:
            StopAskedError: between two batches, if a signal asks for it.
            VocaffectError: if the loss or a gradient is no longer a number; that batch is not learned from.
        """
        self.network.train()
        steps = len(loader.sampler)
        loader.sampler.epoch, loader.sampler.start = progress.epoch + 1, progress.step
        for batch in loader.batches:
            self.before_step(progress, steps)
            try:
                loss = self.step(batch)
            except FloatingPointError as error:
                raise self.diverged(str(error), progress, batch, loader) from error
            num_clips = int(ranks.total(torch.tensor(len(batch.targets))))
            progress.add(loss, num_clips)
            on_batch(progress.step, steps)
            self.heed_signals()

    def before_step(self, progress: Progress, steps: int) -> None:
        """Set what a step depends on besides the batch, all as functions of the seed and the place in training."""
        place = [self.options.seed, progress.epoch + 1, progress.step, ranks.rank()]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))
        rate = planned_rate(
            self.options.scheduler,
            progress.epoch + progress.step / steps,
            learning_rate=self.options.learning_rate,
            max_epochs=self.options.max_epochs,
            warmup_epochs=self.options.warmup_epochs,
        )
        if rate is not None:
            self.learning_rate = rate

    def step(self, batch: Batch) -> float:
        """Learn from one batch; returns its loss, over all processes.

        Raises:
            FloatingPointError: if the loss or a gradient is no finite number; nothing is changed then.
        """
        batch = Batch(*(tensor.to(self.device) for tensor in batch))
        features, active = self.features(batch)
        counts = Counts(*map(ranks.total, count(active, batch.num_frames)))
        self.optimiser.zero_grad(set_to_none=True)
        shared = torch.zeros((), device=self.device)
        for rows in torch.arange(len(features), device=self.device).chunk(self.options.accumulate):
            part = Batch(*(tensor[rows] for tensor in batch))
            loss = self.loss(self.logits(features[rows], active[rows], part), active[rows], part, counts)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            shared += loss.detach()
        value = float(ranks.total(shared))
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss became {value}")
        ranks.sum_gradients(self.network.parameters())
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.gradient_clip)
        if not (self.scaler.is_enabled() or math.isfinite(norm)):
            raise FloatingPointError(f"the gradient became {float(norm)}")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update()
        return value

    @torch.no_grad()
    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features with SpecAugment's masks, each a function of (seed, epoch, clip), and where something sounds."""
        frontend, options = self.network.frontend, self.options
        (features, active), _ = self.network.heard(batch.samples, clips=batch.places[:, 1])
        planes, hop = frontend.deltas.order + 1, frontend.hop
        places = (batch.num_frames, batch.places)
        return mask(features, *places, options.masking, seed=options.seed, planes=planes, hop=hop), active

    def logits(self, features: Tensor, active: Tensor, batch: Batch) -> Tensor:
        """Running decisions ``(batch, num_frames, num_labels)``, less what is known of the voice by its clip."""
        with autocast(self.device, self.amp):
            logits: Tensor = self.network.model(features, active)[0]
        voice, logits = self.network.voice, logits.float()
        if voice is None:
            return logits
        decided = decisions(logits, batch.num_frames)
        voice.observe(decided, batch.targets)
        sessions = decided.view(-1, self.options.session_length, decided.shape[1])
        return logits + (voice.through(sessions).flatten(0, 1) - decided)[:, None]

    def loss(self, logits: Tensor, active: Tensor, batch: Batch, counts: Counts) -> Tensor:
        """``(1 - W)`` of the loss on the labels and ``W`` of that on the teacher, of a part of a batch.

        A clip may lack a label or a teacher. The parts add up to the loss of the whole batch, which ``counts`` is of.
        """
        options, about = self.options, (logits, active, batch.num_frames)
        labels = utterance_loss(
            *about,
            batch.shares,
            self.label_loss,
            self.class_weights,
            options.frame_weight,
            options.label_smoothing,
            counts=counts,
        )
        if options.distill_weight == 0:
            return labels
        teacher = distillation(*about, batch.soft, options.distill_temperature, options.frame_weight, counts)
        return torch.lerp(labels, teacher, options.distill_weight)

    def diverged(self, what: str, progress: Progress, batch: Batch, loader: Loader) -> VocaffectError:
        """The sentence that says in which batch training broke down, and what its clips are."""
        names = loader.batches.dataset.names  # type: ignore[attr-defined]
        clips = [names[clip] for share in ranks.gathered(batch.places[:, 1].tolist()) for clip in share]
        return VocaffectError(
            f"{what} in epoch {progress.epoch + 1}, batch {progress.step + 1}: lower training.learning_rate, or look "
            f"at the clips of that batch ({', '.join(clips)}); the best weights and the last checkpoint are kept"
        )

    def heed_signals(self) -> None:
        """End training here, if a signal has asked any of the processes for it."""
        if number := ranks.highest(self.stop_asked()):
            raise StopAskedError(number)

    def lower_rate_on_plateau(self, progress: Progress) -> None:
        """Lower the rate once the validation loss has not fallen for ``scheduler_patience`` epochs."""
        if self.options.scheduler == "plateau" and progress.epochs_since_lower > self.options.scheduler_patience:
            progress.epochs_since_lower = 0
            self.learning_rate *= self.options.scheduler_factor

    def keep(self, progress: Progress, improved: bool) -> None:
        """Write the weights of the best epoch, and of every so manieth."""
        names = [checkpoint.BEST] if improved else []
        if progress.epoch % self.options.checkpoint_every == 0:
            names.append(f"checkpoint_epoch_{progress.epoch}.safetensors")
        tensors, facts = checkpoint.weights(self.network), {"progress": asdict(progress)}
        for name in names:
            ranks.first(partial(checkpoint.save, self.folder / name, tensors, facts))

    def save(self, progress: Progress) -> None:
        """Write everything that going on from here needs."""
        moments, average = checkpoint.optimiser_tensors(self.optimiser), self.average.state()
        tensors = checkpoint.weights(self.network) | moments | average
        facts = {
            "progress": asdict(progress),
            "learning_rate": self.learning_rate,
            "scaler": self.scaler.state_dict(),
        }
        ranks.first(lambda: checkpoint.save_last(self.folder, progress.epoch, progress.step, tensors, facts))

    def resume(self, on_note: Callable[[str], None]) -> Progress:
        """Read the newest whole checkpoint that `save` wrote."""
        tensors, facts = ranks.first(lambda: checkpoint.load_last(self.folder, on_note))
        checkpoint.load_weights(self.network, tensors)
        checkpoint.load_optimiser(self.optimiser, tensors, facts["learning_rate"])
        self.average.restore(tensors)
        if self.scaler.is_enabled() and facts.get("scaler"):
            self.scaler.load_state_dict(facts["scaler"])
        return Progress(**facts["progress"])
