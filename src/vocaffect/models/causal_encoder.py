"""A pretrained speech encoder that hears speech as it comes, with a small head on running statistics of its layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vocaffect.encoders.causal import HOP, CausalMoonshine, CausalState, load_causal
from vocaffect.encoders.student import taught_by
from vocaffect.models.four_bits import in_four_bits
from vocaffect.models.registry import register_model
from vocaffect.models.running_statistics import RunningStatistics


@register_model("causal_encoder")
class CausalEncoderModel(RunningStatistics):
    """Causal encoder -> running mean and deviation of its layers, standardised -> linear, frame by frame.

    The front end hands the waveform through (feature ``waveform``) in hops of 24 ms. The encoder does not learn here.

    Args:
        num_features: samples in a hop.
        num_labels: classes.
        encoder: name of a pretrained encoder, or ``model_type`` and the keys of a configuration.
        student: a safetensors file with weights that have learned to hear causally (``configs/students/live.py``),
            which replace those of the pretrained encoder.
        num_layers: how many layers are built.
        layers: which are heard: 0 is what goes into the first, 1 what it gives; ``num_layers + 1`` is the student's
            guess of a layer above.
        window: frames that attention hears, the newest included.
        four_bits: hold the weights of the encoder in four bits, here as in the exported file.
        dropout: before the linear layer.

    Raises:
        ValueError: if no layer is named, or one that is not built.
    """

    hears, hop = "waveform", HOP
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
        self.set_head(self.encoder.size * len(layers), num_labels, dropout)

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

    def stem_settings(self) -> dict[str, Any]:
        """Which encoder, to the bit, and what is heard of it."""
        options = {key: list(value) if isinstance(value, tuple) else value for key, value in self.options.items()}
        return {"encoder": options, "layers": self.heard, "weights": self.encoder_digest()}

    def fresh(self, batch: int) -> CausalState:
        """Nothing heard."""
        return self.encoder.initial_state(batch)

    def vectors(self, features: Tensor, active: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        """The layers that are heard of samples ``(batch, num_frames, hop)``, side by side."""
        layers, state = self.encoder(features, active, state)
        return torch.cat([layers[index] for index in self.heard], dim=-1), state

    def _packed(self, encoder: CausalMoonshine) -> CausalMoonshine:
        return in_four_bits(encoder) if self.four_bits else encoder
