"""The one training loop: epochs of batches, validation on held-out speakers, early stopping, checkpoints."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vocaffect.errors import VocaffectError
from vocaffect.losses import decisions
from vocaffect.metrics import confusion, uar, war
from vocaffect.models import Network
from vocaffect.training import checkpoint, ranks
from vocaffect.training.options import LoopOptions
from vocaffect.training.progress import Progress, Row
from vocaffect.training.stopping import StopAskedError, signals_kept
from vocaffect.training.trainer import Loader, Trainer


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
    on_note: Callable[[str], None] = lambda note: None,
) -> Progress:
    """Train until patience or epochs run out, and leave the best weights in ``folder`` and in ``network``.

    After each epoch, and when a signal asks to stop, everything that resuming needs is written; a resumed run ends
    with the same weights as an unbroken one. ``on_note`` is told what a user should know meanwhile.

    Raises:
        StopAskedError: after Ctrl-C or SIGTERM, once that is written.
        VocaffectError: if the loss is no longer a number, or a file cannot be written; the last checkpoint and the
            best weights so far stay in the folder.
    """
    with signals_kept(on_note) as stop_asked:
        trainer = Trainer(network.to(device), options, device, folder, stop_asked)
        progress = _begin(trainer, resume, on_note)
        try:
            while not progress.is_over(options.max_epochs, options.early_stopping_patience):
                trainer.epoch(training, progress, on_batch)
                with trainer.average.applied():
                    row = validate(network, validation, device, trainer.heed_signals)
                    trainer.keep(progress, progress.finish_epoch(trainer.learning_rate, row, options.keep))
                trainer.lower_rate_on_plateau(progress)
                trainer.save(progress)
                ranks.first(lambda: on_epoch(progress))
                trainer.heed_signals()
        except StopAskedError as asked:
            trainer.save(progress)
            where = f"in epoch {progress.epoch + 1} after batch {progress.step}"
            raise StopAskedError(asked.signal, where if progress.step else f"after epoch {progress.epoch}") from None
    checkpoint.load_weights(network, ranks.first(lambda: checkpoint.load(folder / checkpoint.BEST)[0]))
    return progress


def _begin(trainer: Trainer, resume: bool, on_note: Callable[[str], None]) -> Progress:
    """The progress of a new run, with its first checkpoint written, or that of the run that goes on."""
    ranks.first(lambda: checkpoint.remove_unfinished(trainer.folder))
    if not resume:
        trainer.save(Progress())
        return Progress()
    progress = trainer.resume(on_note)
    try:
        ranks.first(lambda: progress.best_epoch and checkpoint.load(trainer.folder / checkpoint.BEST))
    except VocaffectError:
        on_note(f"{checkpoint.BEST} is damaged or gone; from epoch {progress.epoch + 1} on the best is chosen anew")
        progress.best_epoch, progress.best_score = progress.epoch, -1.0
    return progress


def validate(
    network: Network, loader: Loader, device: torch.device, on_batch: Callable[[], None] = lambda: None
) -> Row:
    """Loss, UAR and accuracy on whole clips: ``validation_loss``, ``validation_uar`` and ``validation_war``."""
    shares = ranks.gathered(predict(network, loader, device, on_batch))
    logits, targets = (torch.cat(parts) for parts in zip(*shares, strict=True))
    counts = confusion(targets.numpy(), logits.argmax(1).numpy(), logits.shape[1])
    loss = float(nn.functional.cross_entropy(logits, targets))
    return {"validation_loss": loss, "validation_uar": float(uar(counts)), "validation_war": float(war(counts))}


@torch.inference_mode()
def predict(
    network: Network, loader: Loader, device: torch.device, on_batch: Callable[[], None] = lambda: None
) -> tuple[Tensor, Tensor]:
    """The decision about each whole clip, ``(num_clips, num_labels)``, and the targets, in the loader's order."""
    network.eval()
    logits, targets = [], []
    for batch in loader.batches:
        running = network(batch.samples.to(device))[0].logits
        logits.append(decisions(running, batch.num_frames.to(device)).float().cpu())
        targets.append(batch.targets)
        on_batch()
    return torch.cat(logits), torch.cat(targets)
