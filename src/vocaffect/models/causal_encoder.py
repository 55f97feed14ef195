"""A pretrained speech encoder that hears speech as it comes, with a small head on running statistics of its layers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.encoders.causal import HOP, CausalMoonshine, CausalState, load_causal, taught_by
from vocaffect.models.four_bits import in_four_bits
from vocaffect.models.on_encoder import OnEncoder
from vocaffect.models.pooling import StatisticsPool, StatisticsState
from vocaffect.models.registry import register_model
from vocaffect.state import refill, walk

FIRST_POINT, POINT_FRAMES = 10, 20
"""Of the moments of a clip that `CausalEncoderModel.stem` tells of: the first, and from each to the next, in frames."""


class CausalEncoderState(NamedTuple):
    """What the encoder looks back on, and the running sums of its vectors."""

    encoder: CausalState
    pool: StatisticsState


@register_model("causal_encoder")
class CausalEncoderModel(OnEncoder):
    """Causal encoder -> running mean and deviation of its layers, standardised -> linear, frame by frame.

    The front end hands the waveform through (feature ``waveform``) in hops of 24 ms. The encoder does not learn here:
    hold it still by ``training.freeze: ["model.encoder.*"]``, so that what it says of a clip can be kept.

    Args:
        num_features: samples in a hop.
        num_labels: classes.
        encoder: name of a pretrained encoder, or ``model_type`` and the keys of a configuration.
        student: a safetensors file with weights that have learned to hear causally (``configs/student.py``), which
            replace those of the pretrained encoder.
        num_layers: how many layers are built.
        layers: which are heard: 0 is what goes into the first, 1 what it gives; ``num_layers + 1`` is the student's
            guess of a layer above.
        window: frames that attention hears, the newest included.
        four_bits: hold the weights of the encoder in four bits, here as in the exported file.
        dropout: before the linear layer.

    Raises:
        ValueError: if no layer is named, or one that is not built.
    """

    hop = HOP
    encoder: CausalMoonshine

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        encoder: str | Mapping[str, Any] = "moonshine-base",
        student: str | None = None,
        num_layers: int = 2,
        layers: Sequence[int] = (0, 1, 2),
        window: int = 42,
        four_bits: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not layers or min(layers) < 0 or max(layers) > num_layers + 1:
            raise ValueError(f"layers names the layers to hear, of 0 to {num_layers + 1}, not {list(layers)}")
        self.described, self.student, self.heard = encoder, student, list(layers)
        self.pretrained = encoder if isinstance(encoder, str) else None
        own = {} if isinstance(encoder, str) else {key: encoder[key] for key in encoder if key != "model_type"}
        self.options = {"num_layers": num_layers, "window": window, "above": max(layers) > num_layers, **own}
        self.four_bits = four_bits
        self.encoder = self._packed(CausalMoonshine(**self.options))
        self.pool = StatisticsPool(self.encoder.size * len(layers))
        self.register_buffer("mean", torch.zeros(self.pool.size))
        self.register_buffer("deviation", torch.ones(self.pool.size))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.pool.size, num_labels))

    @property
    def learned_from(self) -> frozenset[str]:
        """The student's corpora."""
        return frozenset() if self.student is None else taught_by(self.student)

    def load(self) -> None:
        """Load the pretrained weights, and those of the student over them.

        Raises:
            EncoderError: if they are not here or do not fit.
        """
        if not isinstance(self.described, str):
            return
        encoder = CausalMoonshine(**self.options)
        load_causal(encoder, self.described, self.student)
        self.encoder.load_state_dict(self._packed(encoder).state_dict())

    def stem(self, features: Tensor, active: Tensor) -> Tensor:
        """Running statistics at some moments of a clip, the last at its end: ``(batch, moments, 1, width)``."""
        pooled, _ = self._pooled(features, active, None)
        last = pooled.shape[1] - 1
        moments = range(last % POINT_FRAMES, last + 1, POINT_FRAMES)
        kept = [moment for moment in moments if moment >= FIRST_POINT or moment == last]
        return pooled[:, kept, None]

    def stem_settings(self) -> dict[str, Any]:
        """Which encoder, to the bit, and what is heard of it."""
        options = {key: list(value) if isinstance(value, tuple) else value for key, value in self.options.items()}
        return {"encoder": options, "layers": self.heard, "weights": self.encoder_digest()}

    def initial_state(self, batch: int) -> CausalEncoderState:
        """All zeros."""
        return CausalEncoderState(self.encoder.initial_state(batch), self.pool.initial_state(batch))

    def forward(
        self, features: Tensor, active: Tensor, state: CausalEncoderState | None = None
    ) -> tuple[Tensor, CausalEncoderState]:
        """Samples ``(batch, num_frames, hop)`` to logits ``(batch, num_frames, num_labels)``.

        In place of samples, what `stem` says of them will do.
        """
        pooled, state = self._pooled(features, active, state)
        logits: Tensor = self.head((pooled - self.mean) / self.deviation)
        return logits, state

    def _statistics(self, features: Tensor, active: Tensor) -> Tensor:
        """Of whole clips, ``(batch, width)``."""
        return self._pooled(features, active, None)[0][:, -1]

    def _pooled(
        self, features: Tensor, active: Tensor, state: CausalEncoderState | None
    ) -> tuple[Tensor, CausalEncoderState]:
        """Statistics of the frames so far, ``(batch, num_frames, width)``."""
        if state is None:
            fresh = self.initial_state(len(features))
            state = refill(fresh, {name: tensor.to(features) for name, tensor in walk(fresh)})
        if features.dim() == 4:
            return features[:, :, 0], state
        vectors, encoder = self.encoder(features, active, state.encoder)
        heard = torch.cat([vectors[index] for index in self.heard], dim=-1)
        heard = heard.to(torch.promote_types(heard.dtype, torch.float32))  # sums want more than half precision
        pooled, pool = self.pool(heard, active, state.pool)
        return pooled, CausalEncoderState(encoder, pool)

    def _packed(self, encoder: CausalMoonshine) -> CausalMoonshine:
        return in_four_bits(encoder) if self.four_bits else encoder
