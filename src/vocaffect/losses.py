"""What training minimises: functions of logits, targets and the frames that count."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def decisions(logits: Tensor, num_frames: Tensor) -> Tensor:
    """The decision about each utterance, at its own last frame: ``(batch, num_frames, num_labels)`` to two axes."""
    return logits[torch.arange(len(logits), device=logits.device), num_frames - 1]


def own(count: Tensor) -> Tensor:
    """The count itself: of a batch that one process has to itself."""
    return count


def utterance_cross_entropy(
    logits: Tensor,
    active: Tensor,
    num_frames: Tensor,
    targets: Tensor,
    frame_weight: float = 0.0,
    label_smoothing: float = 0.0,
    total: Callable[[Tensor], Tensor] = own,
) -> Tensor:
    """Cross-entropy of the decision at the end of each utterance, and of the decisions on the way there.

    ``(1 - w) CE(last frame) + w mean over active frames of CE(frame)``: with ``w > 0`` a recogniser also learns
    to be right early.

    Args:
        logits: running decisions, ``(batch, num_frames, num_labels)``.
        active: 1 where something sounds, ``(batch, num_frames, 1)``.
        num_frames: how many frames are an utterance's own, ``(batch,)``.
        targets: ``(batch,)``; a clip with -1 has no label and adds nothing.
        frame_weight: ``w``.
        label_smoothing: share of the target spread over all labels.
        total: turns a count in this batch into that of the whole, where the batch is a share of a larger one;
            the losses of the shares then add up to the loss of the whole.
    """
    ends = decisions(logits, num_frames)
    summed = F.cross_entropy(ends, targets, label_smoothing=label_smoothing, reduction="sum", ignore_index=-1)
    last = summed / total(summed.new_tensor(len(targets)))
    if frame_weight == 0:
        return last
    spread = targets[:, None].expand(-1, logits.shape[1])
    every = F.cross_entropy(
        logits.transpose(1, 2), spread, label_smoothing=label_smoothing, reduction="none", ignore_index=-1
    )
    counted = _counted(active, num_frames)
    return torch.lerp(last, (every * counted).sum() / total(counted.sum()).clamp(min=1), frame_weight)


def distillation(
    logits: Tensor,
    active: Tensor,
    num_frames: Tensor,
    soft: Tensor,
    temperature: float = 1.0,
    frame_weight: float = 0.0,
    total: Callable[[Tensor], Tensor] = own,
) -> Tensor:
    """How far a student is from its teacher: ``T^2 KL(teacher at T || student at T)``, the mean over the batch.

    At temperature ``T`` a posterior is ``p^(1/T)``, scaled to sum to one; ``T^2`` keeps the gradient's size
    (Hinton G, Vinyals O, Dean J (2015), arXiv:1503.02531, section 2.1). As in `utterance_cross_entropy` the
    decision at the end of each utterance counts, and with ``frame_weight`` those on the way there.

    Args:
        logits: running decisions, ``(batch, num_frames, num_labels)``.
        active: 1 where something sounds, ``(batch, num_frames, 1)``.
        num_frames: how many frames are an utterance's own, ``(batch,)``.
        soft: the teacher's posteriors, ``(batch, num_labels)``; a clip with a row of zeros adds nothing.
        temperature: ``T``.
        frame_weight: share of the mean over active frames.
        total: as in `utterance_cross_entropy`.
    """
    taught = soft.sum(dim=1) > 0
    teacher = (soft.clamp(min=1e-12).log() / temperature).log_softmax(dim=1)[:, None]
    student = (logits / temperature).log_softmax(dim=2)
    every = temperature**2 * (teacher.exp() * (teacher - student)).sum(dim=2) * taught[:, None]
    last = decisions(every, num_frames).sum() / total(every.new_tensor(len(soft)))
    if frame_weight == 0:
        return last
    counted = _counted(active, num_frames)
    return torch.lerp(last, (every * counted).sum() / total(counted.sum()).clamp(min=1), frame_weight)


def _counted(active: Tensor, num_frames: Tensor) -> Tensor:
    """1 for the frames of an utterance's own in which something sounds, ``(batch, num_frames)``."""
    return active[..., 0] * (torch.arange(active.shape[1], device=active.device) < num_frames[:, None])
