"""A pretrained speech encoder with a small head: what much speech has taught, told apart by few labelled clips."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vocaffect.encoders import Encoded, Encoder, build_encoder, load_pretrained, with_low_rank
from vocaffect.models.on_encoder import OnEncoder
from vocaffect.models.registry import register_model

TOGETHER = 16
"""Clips that a CPU computes together: more, and their stretches differ; fewer, and its products are small."""


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
        """Frames ``(batch, num_frames, num_layers, size)`` to ``(batch, num_layers, 2 * size)``."""
        weight = active.to(layers.dtype)[..., None]
        if self.score is not None:
            scores = self.score(layers.mean(2, keepdim=True)).float()
            loudest = scores.masked_fill(weight == 0, -1e4).amax(1, keepdim=True)
            weight = weight * (scores - loudest).clamp(max=0).exp()
        share = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
        mean = (share * layers).sum(1)
        variance = (share * (layers - mean[:, None]).square()).sum(1)
        return torch.cat([mean, (variance + 1e-8).sqrt()], dim=-1)


@register_model("encoder")
class EncoderModel(OnEncoder):
    """Pretrained encoder -> statistics of its layers over time, standardised -> their mix -> linear, on a window.

    The front end hands the waveform through (feature ``waveform``). Parts that do not learn (``training.freeze``) are
    run without a gradient; if nothing in the encoder learns, what it says of a clip can be kept (`stem`).

    Args:
        num_features: samples in a hop.
        num_labels: classes.
        encoder: name of a pretrained encoder, or ``model_type`` and the keys of a configuration.
        layers: which layers are heard: 0 is what goes into the first, 1 what it gives. Those above are not built.
        attention: weigh frames by learned scores instead of evenly.
        mix: ``weighted`` adds the layers up with learned weights, ``concatenated`` lets each be heard on its own.
        rank: tune the encoder by changes of this rank beside its weights, which stay; 0 tunes the weights themselves.
        hidden_size: width of a hidden layer before the linear one; 0 for none.
        dropout: before each linear layer.

    Raises:
        ValueError: if no layer is named, or one that the encoder does not have, or the rank is below 0.
    """

    streaming, hears = "window", "waveform"
    encoder: Encoder

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        encoder: str | Mapping[str, Any] = "moonshine-base",
        layers: Sequence[int] = (2, 3, 4),
        attention: bool = False,
        mix: Literal["weighted", "concatenated"] = "weighted",
        rank: int = 0,
        hidden_size: int = 0,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not layers or min(layers) < 0:
            raise ValueError(f"layers names the layers to hear, as [3, 4], not {list(layers)}")
        if rank < 0:
            raise ValueError(f"rank is 0 or more, not {rank}")
        self.described, self.heard = encoder, list(layers)
        self.pretrained = encoder if isinstance(encoder, str) else None
        self.encoder = build_encoder(encoder, max(max(layers), 1))
        if max(layers) > self.encoder.num_layers:
            raise ValueError(f"the encoder has {self.encoder.num_layers} layers, there is no layer {max(layers)}")
        if rank:
            with_low_rank(self.encoder, rank)
        self.pool = Statistics(self.encoder.size, attention)
        width = 2 * self.encoder.size
        self.register_buffer("mean", torch.zeros(len(layers), width))
        self.register_buffer("deviation", torch.ones(len(layers), width))
        self.mix = nn.Parameter(torch.zeros(len(layers))) if mix == "weighted" else None
        width *= 1 if mix == "weighted" else len(layers)
        hidden = [nn.Dropout(dropout), nn.Linear(width, hidden_size), nn.GELU()] if hidden_size else []
        self.head = nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(hidden_size or width, num_labels))

    def load(self) -> None:
        """Load the pretrained weights.

        Raises:
            EncoderError: if they are not here.
        """
        if isinstance(self.described, str):
            load_pretrained(self.encoder, self.described)

    @property
    def still(self) -> bool:
        """Whether nothing in the encoder learns, or nothing in what it begins with."""
        learning = [name for name, parameter in self.encoder.named_parameters() if parameter.requires_grad]
        return not learning or (self.encoder.splits and all(name.startswith("layers.") for name in learning))

    def stem(self, features: Tensor, active: Tensor) -> Tensor:
        """Samples ``(batch, num_frames, hop)`` to statistics of the layers, ``(batch, 1, num_layers, 2 * size)``.

        Where attention weighs frames they are given one by one, ``(batch, num_frames, num_layers, size)``, with zeros
        where nothing sounds; where the layers learn, so is what goes into the first of them.
        """
        if self.learns:
            frames, sounding = self.encoder.begin(features.flatten(1), active[..., 0])
            return (frames * sounding[..., None])[:, :, None]
        encoded = self._encoded(features, active)
        if self.pool.score is not None:
            return self._heard(encoded) * encoded.active[..., None]
        return self._pooled(encoded)[:, None]

    def stem_settings(self) -> dict[str, Any]:
        """Which encoder, to the bit, which layers, and whether frames are kept."""
        encoder = self.described if isinstance(self.described, str) else dict(self.described)
        frames, layers = self.learns or self.pool.score is not None, [0] if self.learns else self.heard
        weights = self.encoder_digest(without="layers." if self.learns else None)
        return {"encoder": encoder, "layers": layers, "frames": frames, "weights": weights}

    def forward(self, features: Tensor, active: Tensor, state: None = None) -> tuple[Tensor, tuple[()]]:
        """Samples ``(batch, num_frames, hop)`` to logits ``(batch, num_frames, num_labels)``, in all frames alike.

        In place of samples, what `stem` says of them will do.
        """
        vectors = (self._statistics(features, active) - self.mean) / self.deviation
        mixed = vectors.flatten(1) if self.mix is None else (self.mix.softmax(0)[:, None] * vectors).sum(1)
        logits: Tensor = self.head(mixed)
        return logits[:, None].expand(-1, features.shape[1], -1), ()

    def _statistics(self, features: Tensor, active: Tensor) -> Tensor:
        """Of each layer that is heard, ``(batch, num_layers, 2 * size)``."""
        if features.dim() < 4:
            return self._pooled(self._encoded(features, active))
        sounding = (features.abs().amax(3) > 0).any(2, keepdim=True).to(features.dtype)
        if self.learns:
            return self._by_stretch(features[:, :, 0], sounding[..., 0])
        if self.pool.score is None:
            return features[:, 0]
        pooled: Tensor = self.pool(features, sounding)
        return pooled

    def _by_stretch(self, frames: Tensor, sounding: Tensor) -> Tensor:
        """As `_pooled`; of each clip the layers hear the stretch from the first frame that sounds to the last.

        Clips whose stretches are about as long are heard together, so that little of what is computed is padding.
        """
        begins = sounding.argmax(1)
        lengths = sounding.shape[1] - sounding.flip(1).argmax(1) - begins
        order = lengths.argsort()
        pooled = []
        for rows in torch.split(order, TOGETHER):
            steps = torch.arange(int(lengths[rows].max()), device=frames.device)
            places = (begins[rows, None] + steps).clamp(max=frames.shape[1] - 1)
            heard = sounding[rows].gather(1, places) * (steps < lengths[rows, None])
            stretches = frames[rows].take_along_dim(places[..., None], 1)
            pooled.append(self._pooled(self.encoder.go_on(stretches, heard)))
        return torch.cat(pooled)[order.argsort()]

    def _encoded(self, features: Tensor, active: Tensor) -> Encoded:
        encoded: Encoded = self.encoder(features.flatten(1), active[..., 0])
        return encoded

    def _heard(self, encoded: Encoded) -> Tensor:
        """The layers that are heard, ``(batch, num_frames, num_layers, size)``."""
        return torch.stack([encoded.layers[index] for index in self.heard], dim=2)

    def _pooled(self, encoded: Encoded) -> Tensor:
        pooled: Tensor = self.pool(self._heard(encoded), encoded.active)
        return pooled
