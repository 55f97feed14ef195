"""A pretrained speech encoder with a small head: what much speech has taught, told apart by few labelled clips."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vocaffect.encoders import build_encoder, load_pretrained
from vocaffect.models.memory import Memory, spoken
from vocaffect.models.registry import Model, register_model

DEVIATION_FLOOR = 1e-4
"""Below which the deviation of a statistic over the training clips counts as this much."""


class Statistics(nn.Module):
    """Mean and deviation over the active frames, each layer for itself: every frame alike, or as attention weighs them.

    Okabe K, Koshinaka T, Shinoda K (2018), Interspeech, "Attentive statistics pooling"; the weights are learned from
    the mean of the layers and shared by them.

    Args:
        size: length of a frame's vector.
        attention: whether to learn weights.
    """

    def __init__(self, size: int, attention: bool) -> None:
        super().__init__()
        hidden = max(size // 4, 1)
        self.score = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, 1)) if attention else None

    def forward(self, layers: Tensor, active: Tensor) -> Tensor:
        """Frames ``(batch, num_layers, num_frames, size)`` to ``(batch, num_layers, 2 * size)``."""
        weight = active.to(layers.dtype)[:, None]
        if self.score is not None:
            scores = self.score(layers.mean(1, keepdim=True)).float()
            loudest = scores.masked_fill(weight == 0, -1e4).amax(2, keepdim=True)
            weight = weight * (scores - loudest).clamp(max=0).exp()
        share = weight / weight.sum(2, keepdim=True).clamp(min=1e-6)
        mean = (share * layers).sum(2)
        variance = (share * (layers - mean[:, :, None]).square()).sum(2)
        return torch.cat([mean, (variance + 1e-8).sqrt()], dim=-1)


@register_model("encoder")
class EncoderModel(Model):
    """Pretrained encoder -> statistics of its layers over time, standardised -> their mix -> linear, on a window.

    The front end hands the waveform through (feature ``waveform``). Parts that do not learn (``training.freeze``) are
    run without a gradient; if nothing in the encoder learns, what it says about a clip is remembered.

    Args:
        num_features: samples in a hop.
        num_labels: classes.
        encoder: name of a pretrained encoder, or ``model_type`` and the keys of a configuration.
        layers: which layers are heard: 0 is what goes into the first, 1 what it gives. Those above are not built.
        attention: weigh frames by learned scores instead of evenly.
        mix: ``weighted`` adds the layers up with learned weights, ``concatenated`` lets each be heard on its own.
        hidden_size: width of a hidden layer before the linear one; 0 for none.
        dropout: before each linear layer.
        memory_mb: how much of a frozen encoder's answers is remembered during training; 0 where clips change from epoch
            to epoch.

    Raises:
        ValueError: if no layer is named, or one that the encoder does not have.
    """

    streaming = "window"
    hears = "waveform"
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        encoder: str | Mapping[str, Any] = "moonshine-base",
        layers: Sequence[int] = (2, 3, 4),
        attention: bool = False,
        mix: Literal["weighted", "concatenated"] = "weighted",
        hidden_size: int = 0,
        dropout: float = 0.2,
        memory_mb: float = 1000.0,
    ) -> None:
        super().__init__()
        if not layers or min(layers) < 0:
            raise ValueError(f"layers names the layers to hear, as [3, 4], not {list(layers)}")
        self.described, self.heard = encoder, list(layers)
        self.encoder = build_encoder(encoder, max(max(layers), 1))
        if max(layers) > self.encoder.num_layers:
            raise ValueError(f"the encoder has {self.encoder.num_layers} layers, there is no layer {max(layers)}")
        self.pool = Statistics(self.encoder.size, attention)
        width = 2 * self.encoder.size
        self.register_buffer("mean", torch.zeros(len(layers), width))
        self.register_buffer("deviation", torch.ones(len(layers), width))
        self.mix = nn.Parameter(torch.zeros(len(layers))) if mix == "weighted" else None
        width *= 1 if mix == "weighted" else len(layers)
        hidden = [nn.Dropout(dropout), nn.Linear(width, hidden_size), nn.GELU()] if hidden_size else []
        self.head = nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(hidden_size or width, num_labels))
        self.memory_mb = memory_mb
        self._memory: Memory | None = None

    @torch.no_grad()
    def prepare(self, clips: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Load the pretrained weights, and standardise by the training clips' statistics.

        Raises:
            EncoderError: if the weights are not here.
        """
        was_training = self.training
        self.eval()
        if isinstance(self.described, str):
            load_pretrained(self.encoder, self.described)
        still = not any(parameter.requires_grad for parameter in self.encoder.parameters())
        self._memory = Memory(self.memory_mb) if still and self.memory_mb else None
        statistics = torch.cat([self._statistics(features, active) for features, active in clips])
        self.mean.copy_(statistics.mean(0))
        self.deviation.copy_(statistics.std(0, correction=0).clamp(min=DEVIATION_FLOOR))
        self.train(was_training)

    def forward(self, features: Tensor, active: Tensor, state: None = None) -> tuple[Tensor, tuple[()]]:
        """Samples ``(batch, num_frames, hop)`` to logits ``(batch, num_frames, num_labels)``, in all frames alike."""
        vectors = (self._statistics(features, active) - self.mean) / self.deviation
        mixed = vectors.flatten(1) if self.mix is None else (self.mix.softmax(0)[:, None] * vectors).sum(1)
        logits: Tensor = self.head(mixed)
        return logits[:, None].expand(-1, features.shape[1], -1), ()

    def _statistics(self, features: Tensor, active: Tensor) -> Tensor:
        """Of each layer that is heard, ``(batch, num_layers, 2 * size)``."""
        if self._memory is None or torch.compiler.is_exporting():
            return self._pooled(*self._frames(features, active))
        rows = [self._memory.recall(self._alone, *spoken(*row)) for row in zip(features, active, strict=True)]
        if self.pool.score is None:
            return torch.stack([vectors for vectors, _ in rows])
        layers = pad_sequence([frames.transpose(0, 1) for frames, _ in rows], batch_first=True).transpose(1, 2)
        return self._pooled(layers, pad_sequence([heard for _, heard in rows], batch_first=True))

    @torch.no_grad()
    def _alone(self, features: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """What no learning changes: statistics, or where attention weighs frames the frames; and their mask."""
        layers, heard = self._frames(features[None], active[None])
        return (layers if self.pool.score is not None else self._pooled(layers, heard))[0], heard[0]

    def _frames(self, features: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors ``(batch, num_layers, num_frames, size)`` of the layers that are heard, and their mask."""
        encoded = self.encoder(features.flatten(1), active[..., 0])
        return torch.stack([encoded.layers[index] for index in self.heard], dim=1), encoded.active

    def _pooled(self, layers: Tensor, active: Tensor) -> Tensor:
        vectors: Tensor = self.pool(layers, active)
        return vectors
