"""What training minimises: functions of logits, targets and the frames that count."""

import torch
from torch import Tensor
from torch.nn import functional as F


def utterance_cross_entropy(
    logits: Tensor, active: Tensor, targets: Tensor, frame_weight: float = 0.0, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of the decision at the end of each utterance, and of the decisions on the way there.

    ``(1 - w) CE(last frame) + w mean over active frames of CE(frame)``: with ``w > 0`` a recogniser also learns
    to be right early.

    Args:
        logits: running decisions, ``(batch, num_frames, num_labels)``.
        active: 1 where something sounds, ``(batch, num_frames, 1)``.
        targets: ``(batch,)``.
        frame_weight: ``w``.
        label_smoothing: share of the target spread over all labels.
    """
    last = F.cross_entropy(logits[:, -1], targets, label_smoothing=label_smoothing)
    if frame_weight == 0:
        return last
    spread = targets[:, None].expand(-1, logits.shape[1])
    every = F.cross_entropy(logits.transpose(1, 2), spread, label_smoothing=label_smoothing, reduction="none")
    counted = active[..., 0]
    return torch.lerp(last, (every * counted).sum() / counted.sum().clamp(min=1), frame_weight)
