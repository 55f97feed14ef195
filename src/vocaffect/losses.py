"""What training minimises: a registered loss for each decision, and its mean over decisions and clips.

A loss sees the logits of decisions and what share of its target each label has: one label all of it, or several parts
of it where targets are smoothed or clips mixed.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.registry import enter

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits and shares, both ``(..., num_labels)``, to the loss of each decision ``(...)``."""
L = TypeVar("L", bound=Callable[..., Tensor])

_REGISTRY: dict[str, Callable[..., Tensor]] = {}


def register_loss(name: str) -> Callable[[L], L]:
    """Make a loss known to recipes under a name; its parameters after logits and shares are given there.

    >>> @register_loss("doctest_brier")
    ... def brier(logits, shares):
    ...     return (logits.softmax(-1) - shares).square().sum(-1)
    >>> float(build_loss("doctest_brier")(torch.zeros(2), torch.tensor([1.0, 0.0])))
    0.5
    """

    def register(thing: L) -> L:
        enter(_REGISTRY, "loss", name, thing)
        return thing

    return register


def build_loss(name: str, **parameters: Any) -> Loss:
    """A registered loss with its parameters.

    Raises:
        VocaffectError: if no loss has that name, or it does not know a parameter.
    """
    if name not in _REGISTRY:
        raise VocaffectError(unknown_name("loss", name, _REGISTRY))
    try:
        inspect.signature(_REGISTRY[name]).bind(None, None, **parameters)
    except TypeError as error:
        raise VocaffectError(f"loss '{name}' cannot be built from {parameters}: {error}") from error
    return partial(_REGISTRY[name], **parameters)


def loss_names() -> list[str]:
    """The names of all registered losses, sorted."""
    return sorted(_REGISTRY)


@register_loss("cross_entropy")
def cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Minus the logarithm of the posterior of each label, weighted by its share."""
    return -(shares * logits.log_softmax(-1)).sum(-1)


@register_loss("focal")
def focal(logits: Tensor, shares: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy in which a label that is as good as recognised counts little: each term times ``(1 - p)^gamma``.

    Lin T-Y et al. (2017), ICCV, equation 4; with ``gamma`` 0 it is `cross_entropy`.
    """
    logs = logits.log_softmax(-1)
    missing = -torch.expm1(logs)
    return -(shares * missing.clamp(min=1e-8) ** gamma * logs).sum(-1)


@register_loss("square")
def square(logits: Tensor, shares: Tensor, scale: float = 10.0) -> Tensor:
    """Squared distance of the logits from ``scale`` times the shares, the mean over labels, divided by ``scale``.

    Hui L, Belkin M (2021), ICLR, "Evaluation of neural architectures trained with square loss vs cross-entropy". What
    is far right is drawn back too, so a linear head does not follow its hardest clips; ``scale`` is the size that
    logits have, which temperatures and voices go by.
    """
    return (logits - scale * shares).square().mean(-1) / scale


def class_weights(
    given: Literal["none", "balanced"] | Mapping[str, float], labels: Sequence[str], emotions: Sequence[str]
) -> tuple[float, ...]:
    """What a clip of each label counts: once, as much as makes all labels count alike, or as given.

    Balanced, the clips of every label together count the same, and a clip counts 1 on the mean.

    >>> class_weights("balanced", ["happy", "sad"], ["happy", "sad", "sad", "sad"])
    (2.0, 0.6666666666666666)

    Args:
        given: "none", "balanced", or weights by label; a label that is not named counts once.
        labels: the classes in order.
        emotions: of the training clips.

    Raises:
        VocaffectError: if a weight is given for no label, is negative, or all are 0.
    """
    if given == "none":
        return (1.0,) * len(labels)
    if given == "balanced":
        counts = Counter(emotion for emotion in emotions if emotion in labels)
        return tuple(counts.total() / len(counts) / counts[label] if counts[label] else 1.0 for label in labels)
    assert not isinstance(given, str)
    for label, weight in given.items():
        if label not in labels:
            raise VocaffectError(unknown_name("label in training.class_weights", label, labels))
        if not 0 <= weight < float("inf"):
            raise VocaffectError(f"training.class_weights of {label} is {weight}: give a number from 0 up")
    weights = tuple(float(given.get(label, 1.0)) for label in labels)
    if not any(weights):
        raise VocaffectError("training.class_weights are all 0, so nothing counts: give some label a weight")
    return weights


class Counts(NamedTuple):
    """What means are taken over: clips, and frames in which something sounds.

    Counted over all of a batch, so that what its parts lose, in several processes or one after the other, adds up.
    """

    clips: Tensor
    frames: Tensor


def count(active: Tensor, num_frames: Tensor) -> Counts:
    """The counts of a batch: ``active (batch, num_frames, 1)``, ``num_frames (batch,)``."""
    return Counts(active.new_tensor(len(num_frames)), _counted(active, num_frames).sum())


def decisions(logits: Tensor, num_frames: Tensor) -> Tensor:
    """The decision about each utterance, at its own last frame: ``(batch, num_frames, num_labels)`` to two axes."""
    return logits[torch.arange(len(logits), device=logits.device), num_frames - 1]


def utterance_loss(
    logits: Tensor,
    active: Tensor,
    num_frames: Tensor,
    shares: Tensor,
    loss: Loss = cross_entropy,
    weights: Tensor | None = None,
    frame_weight: float = 0.0,
    label_smoothing: float = 0.0,
    counts: Counts | None = None,
) -> Tensor:
    """The loss of the decision at the end of each utterance, and of the decisions on the way there.

    ``(1 - w) loss(last frame) + w mean over active frames of loss(frame)``: with ``w > 0`` a recogniser also learns
    to be right early.

    Args:
        logits: running decisions, ``(batch, num_frames, num_labels)``.
        active: 1 where something sounds, ``(batch, num_frames, 1)``.
        num_frames: how many frames are an utterance's own, ``(batch,)``.
        shares: the targets, ``(batch, num_labels)``; a clip with a row of zeros has no label and adds nothing.
        loss: of one decision.
        weights: what a clip of each label counts, ``(num_labels,)``.
        frame_weight: ``w``.
        label_smoothing: part of the target that is spread over all labels.
        counts: what the means are taken over, where this is a part of a batch.
    """
    spread = torch.lerp(shares, shares.mean(1, keepdim=True).expand_as(shares), label_smoothing)
    every = loss(logits, spread[:, None].expand_as(logits))
    clips = shares.sum(1) if weights is None else shares @ weights.to(shares)
    return _mean(every * clips[:, None], active, num_frames, frame_weight, counts)


def distillation(
    logits: Tensor,
    active: Tensor,
    num_frames: Tensor,
    soft: Tensor,
    temperature: float = 1.0,
    frame_weight: float = 0.0,
    counts: Counts | None = None,
) -> Tensor:
    """How far a student is from its teacher: ``T^2 KL(teacher at T || student at T)``, the mean over the batch.

    At temperature ``T`` a posterior is ``p^(1/T)``, scaled to sum to one; ``T^2`` keeps the gradient's size
    (Hinton G, Vinyals O, Dean J (2015), arXiv:1503.02531, section 2.1). As in `utterance_loss` the decision at
    the end of each utterance counts, and with ``frame_weight`` those on the way there.

    Args:
        logits: running decisions, ``(batch, num_frames, num_labels)``.
        active: 1 where something sounds, ``(batch, num_frames, 1)``.
        num_frames: how many frames are an utterance's own, ``(batch,)``.
        soft: the teacher's posteriors, ``(batch, num_labels)``; a clip with a row of zeros adds nothing.
        temperature: ``T``.
        frame_weight: share of the mean over active frames.
        counts: as in `utterance_loss`.
    """
    taught = soft.sum(dim=1) > 0
    teacher = (soft.clamp(min=1e-12).log() / temperature).log_softmax(dim=1)[:, None]
    student = (logits / temperature).log_softmax(dim=2)
    every = temperature**2 * (teacher.exp() * (teacher - student)).sum(dim=2) * taught[:, None]
    return _mean(every, active, num_frames, frame_weight, counts)


def _mean(every: Tensor, active: Tensor, num_frames: Tensor, frame_weight: float, counts: Counts | None) -> Tensor:
    """Losses of decisions ``(batch, num_frames)``: at the end of clips over clips, and on the way over frames."""
    clips, frames = counts or count(active, num_frames)
    last = decisions(every, num_frames).sum() / clips
    if frame_weight == 0:
        return last
    return torch.lerp(last, (every * _counted(active, num_frames)).sum() / frames.clamp(min=1), frame_weight)


def _counted(active: Tensor, num_frames: Tensor) -> Tensor:
    """1 for the frames of an utterance's own in which something sounds, ``(batch, num_frames)``."""
    return active[..., 0] * (torch.arange(active.shape[1], device=active.device) < num_frames[:, None])
