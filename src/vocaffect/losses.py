"""What training minimises: functions of logits, targets and the frames that count."""

import torch
from torch import Tensor
from torch.nn import functional as F


def decisions(logits: Tensor, num_frames: Tensor) -> Tensor:
    """The decision about each utterance, at its own last frame: ``(batch, num_frames, num_labels)`` to two axes."""
    return logits[torch.arange(len(logits), device=logits.device), num_frames - 1]


def utterance_cross_entropy(
    logits: Tensor,
    active: Tensor,
    num_frames: Tensor,
    targets: Tensor,
    frame_weight: float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of the decision at the end of each utterance, and of the decisions on the way there.

    ``(1 - w) CE(last frame) + w mean over active frames of CE(frame)``: with ``w > 0`` a recogniser also learns
    to be right early.

    Args:
        logits: running decisions, ``(batch, num_frames, num_labels)``.
        active: 1 where something sounds, ``(batch, num_frames, 1)``.
        num_frames: how many frames are an utterance's own, ``(batch,)``.
        targets: ``(batch,)``.
        frame_weight: ``w``.
        label_smoothing: share of the target spread over all labels.
    """
    last = F.cross_entropy(decisions(logits, num_frames), targets, label_smoothing=label_smoothing)
    if frame_weight == 0:
        return last
    spread = targets[:, None].expand(-1, logits.shape[1])
    every = F.cross_entropy(logits.transpose(1, 2), spread, label_smoothing=label_smoothing, reduction="none")
    counted = active[..., 0] * (torch.arange(logits.shape[1], device=logits.device) < num_frames[:, None])
    return torch.lerp(last, (every * counted).sum() / counted.sum().clamp(min=1), frame_weight)
