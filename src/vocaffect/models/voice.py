"""What is known of the voice that is heard: its baseline, learned without labels from what it has said so far.

Some voices sound angrier than others whatever they feel. The logits of a voice's utterances, averaged, say how it
sounds on the whole; that average, shrunk to the training voices' by a few utterances' weight, is subtracted. An
average is wrong about a voice that shows one emotion only: the emotion itself would be taken for the voice. So the
baseline also counts what was recognised, and the more lopsided that is, the more of the mean that such a mixture has
in training is left out of it.

For a linear head this is the running mean of the speaker's vectors, subtracted before the head (as Viikki O, Laurila K
(1998), Speech Communication 25(1-3) do with cepstra). Not implemented: a baseline of the deviation.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

KEPT_UTTERANCES = 40.0
"""A voice is known by about so many of its last utterances: microphones are moved, and voices tire."""

MOMENTUM = 0.05
"""What a batch counts for in what is known of training voices."""


class VoiceState(NamedTuple):
    """What is known of a voice from its utterances before, and from the one that is heard now or was heard last.

    Each is ``(batch, 1 + 2 * num_labels)``: how many utterances, the sum of their centred logits, and the sum of what
    was recognised in them.
    """

    known: Tensor
    newest: Tensor


class Voice(nn.Module):
    """Logits to logits that allow for the voice: ``forward(logits, begun, state) -> (logits, begun, state)``.

    The utterance itself counts as heard, so the first one too moves a little towards the training voices. ``begun
    (batch, 1)`` is 0 before an utterance and 1 within: where it is 0, what the state holds of the utterance before is
    final and counts as known. So the state may be carried from chunk to chunk and from utterance to utterance.

    Args:
        num_labels: classes.
        prior: utterances that the training voices' mean weighs.
        sharpness: what was recognised is the softmax of the logits times this.
        even: how often an emotion may come before what was recognised counts as lopsided, as a multiple of its share
            if all came alike.
        lopsided: the multiple from which on it counts as wholly lopsided. Where that is more than there are labels, a
            share of 1 is, and ``even`` is less in proportion.

    Raises:
        ValueError: if a number makes no sense.
    """

    centre: Tensor
    means: Tensor

    def __init__(
        self, num_labels: int, prior: float = 5.0, sharpness: float = 2.0, even: float = 2.4, lopsided: float = 4.0
    ) -> None:
        super().__init__()
        if prior <= 0 or sharpness <= 0 or not 0 <= even < lopsided:
            raise ValueError("prior and sharpness are above 0, and 0 <= even < lopsided")
        self.num_labels, self.prior, self.sharpness = num_labels, prior, sharpness
        self.even, self.lopsided = (share / max(num_labels, lopsided) for share in (even, lopsided))
        self.register_buffer("centre", torch.zeros(num_labels))
        self.register_buffer("means", torch.zeros(num_labels, num_labels))

    def initial_state(self, batch: int) -> VoiceState:
        """Nobody was heard yet: all zeros."""
        zeros = torch.zeros(batch, 1 + 2 * self.num_labels)
        return VoiceState(zeros, zeros.clone())

    def forward(self, logits: Tensor, begun: Tensor, state: VoiceState) -> tuple[Tensor, Tensor, VoiceState]:
        """Logits ``(batch, num_frames, num_labels)`` to logits, and what is to be carried on."""
        known = state.known + (1 - begun) * state.newest
        known = known * (KEPT_UTTERANCES / known[:, :1].clamp(min=KEPT_UTTERANCES))
        centred, before = logits - self.centre, known[:, None]
        shown = torch.softmax(self.sharpness * (centred - self.baseline(before)), dim=-1)
        newest = torch.cat([torch.ones_like(centred[..., :1]), centred, shown], dim=-1)
        adapted = logits - self.baseline(before + newest)
        return adapted, torch.ones_like(begun), VoiceState(known, newest[:, -1])

    def baseline(self, sums: Tensor) -> Tensor:
        """How the voice sounds on the whole, ``(..., 1 + 2 * num_labels)`` to ``(..., num_labels)``."""
        count, total, shown = torch.split(sums, [1, self.num_labels, self.num_labels], dim=-1)
        largest = shown.amax(-1, keepdim=True) / count.clamp(min=1.0)
        left_out = ((largest - self.even) / (self.lopsided - self.even)).clamp(0.0, 1.0)
        return (total - left_out * (shown @ self.means)) / (count + self.prior)

    @torch.no_grad()
    def observe(self, logits: Tensor, targets: Tensor) -> None:
        """Learn from a batch of training clips what voices sound like on the whole, and how emotions differ from that.

        Args:
            logits: ``(num_clips, num_labels)``, before any voice is allowed for.
            targets: ``(num_clips,)``, -1 where there is no label.
        """
        member = nn.functional.one_hot(targets.clamp(min=0), self.num_labels) * (targets >= 0)[:, None]
        count = member.sum(0)[:, None]
        means = member.to(logits).T @ logits / count.clamp(min=1)
        present = (count > 0).to(logits)
        centre = (present * means).sum(0) / present.sum().clamp(min=1)
        self.centre.lerp_(centre, MOMENTUM)
        self.means.lerp_(torch.where(count > 0, means - self.centre, self.means), MOMENTUM)

    def through(self, logits: Tensor) -> Tensor:
        """Logits of the utterances of sessions, each heard with what is known of the voice from those before it.

        ``(num_sessions, num_utterances, num_labels)`` to the same shape; a session begins with nobody heard.
        """
        state = VoiceState(*(part.to(logits) for part in self.initial_state(len(logits))))
        begun, said = torch.zeros_like(logits[:, 0, :1]), []
        for utterance in logits.unbind(1):
            adapted, _, state = self(utterance[:, None], begun, state)
            said.append(adapted)
        return torch.cat(said, dim=1)
