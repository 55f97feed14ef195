"""Encoders of Hugging Face transformers: wav2vec 2.0, HuBERT, WavLM and Whisper, with their silence masked.

Their own forward passes know padding at the end alone, and where a norm runs over time they count it in; here their
layers are run one by one instead. Parameters keep the names that the library's files have.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocaffect.encoders.base import Encoded, Encoder, active_at, attention_bias, masked_group_norm
from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.features.mel import Mel
from vocaffect.features.spectrum import PowerSpectrum
from vocaffect.units import SAMPLE_RATE, exact_div

WHISPER_WIN, WHISPER_HOP = 400, 160


def build_hugging_face(model_type: str, depth: int | None, **options: Any) -> Encoder:
    """An encoder with random weights.

    Args:
        model_type: as in the library's ``config.json``; the options are what else stands there.
        depth: how many layers, from the lowest up; all where not given.
        options: keys of the configuration.

    Raises:
        VocaffectError: if the library is missing or the type is none of the four.
    """
    require_transformers()
    from transformers import AutoConfig

    if model_type not in FAMILIES:
        raise VocaffectError(unknown_name("kind of encoder", model_type, ["moonshine", *FAMILIES]))
    config = AutoConfig.for_model(model_type, **options)
    for key in config.to_dict():
        if "drop" in key and isinstance(getattr(config, key), float):
            setattr(config, key, 0.0)
    encoder: Encoder = FAMILIES[model_type](config, depth)
    return encoder


def require_transformers() -> None:
    """Say how to install the library if it is not there."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise VocaffectError("this encoder needs transformers: pip install 'vocaffect[encoders]'") from None


class WaveEncoder(Encoder):
    """wav2vec 2.0 (Baevski A et al., 2020), HuBERT (Hsu W-N et al., 2021), WavLM (Chen S et al., 2022).

    Args:
        config: the library's configuration; ``do_normalize`` brings each clip to mean 0 and variance 1 before.
        depth: how many layers; all where not given.
    """

    def __init__(self, config: Any, depth: int | None) -> None:
        super().__init__()
        from transformers import AutoModel

        self.num_layers = config.num_hidden_layers = depth or config.num_hidden_layers
        self.normalise = bool(getattr(config, "do_normalize", False))
        self.gated = config.model_type == "wavlm"
        self.norm_last = bool(config.do_stable_layer_norm)
        model: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        self.size = config.hidden_size
        self.stride, self.width = reach(config.conv_stride, config.conv_kernel)
        self.stride_1, self.width_1 = config.conv_stride[0], config.conv_kernel[0]
        self.feature_extractor, self.feature_projection = model.feature_extractor, model.feature_projection
        self.encoder = model.encoder
        if self.norm_last:
            self.encoder.layer_norm = nn.Identity()

    def forward(self, samples: Tensor, active: Tensor) -> Encoded:
        """Samples ``(batch, num_samples)`` to every layer's vectors; see `Encoder`."""
        hop = exact_div(samples.shape[1], active.shape[1])
        if self.normalise:
            samples = normalised(samples, active)
        frames = self._convolved(F.pad(samples, (0, self.width)), active, hop)
        heard = active_at(active, hop, frames.shape[1], self.stride, self.width)
        projected = self.feature_projection(frames)
        hidden = (projected[0] if isinstance(projected, tuple) else projected) * heard[..., None].to(frames.dtype)
        hidden = self.encoder.layer_norm(hidden + self.encoder.pos_conv_embed(hidden))
        vectors, mask = [hidden], attention_bias(heard).to(hidden.dtype)
        if self.gated:
            mask = self._position_bias(mask)
        for layer in self.encoder.layers:
            if self.gated:
                hidden, _ = layer(vectors[-1], position_bias=mask)
            else:
                hidden = layer(vectors[-1], attention_mask=mask)
            vectors.append(hidden)
        return Encoded(tuple(vectors), heard[..., None])

    def _position_bias(self, mask: Tensor) -> Tensor:
        """WavLM's bias by distance, with the mask in it: each layer scales both by a gate that stays above 1."""
        batch, _, _, length = mask.shape
        distances = self.encoder.layers[0].attention.compute_bias(length, length)[None]
        bias: Tensor = (distances.expand(batch, -1, -1, -1) + mask).flatten(0, 1)
        return bias

    def _convolved(self, samples: Tensor, active: Tensor, hop: int) -> Tensor:
        hidden = samples[:, None]
        for layer in self.feature_extractor.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                hidden = layer.conv(hidden)
                sounding = active_at(active, hop, hidden.shape[2], self.stride_1, self.width_1)
                hidden = layer.activation(masked_group_norm(hidden, sounding, norm))
            else:
                hidden = layer(hidden)
        return hidden.transpose(1, 2)


class WhisperEncoder(Encoder):
    """Whisper (Radford A et al., 2023), on as much audio as there is, not on 30 s filled up with silence.

    Args:
        config: the library's configuration.
        depth: how many layers; all where not given.
    """

    def __init__(self, config: Any, depth: int | None) -> None:
        super().__init__()
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Own

        self.num_layers = config.encoder_layers = depth or config.encoder_layers
        self.size, self.longest = config.d_model, config.max_source_positions
        self.spectrum = PowerSpectrum(WHISPER_WIN)
        self.mel = Mel(SAMPLE_RATE, WHISPER_WIN, config.num_mel_bins)
        own: Any = Own(config)
        own.layer_norm = nn.Identity()
        self.encoder = own

    def forward(self, samples: Tensor, active: Tensor) -> Encoded:
        """Samples ``(batch, num_samples)`` to every layer's vectors; see `Encoder`.

        Raises:
            VocaffectError: if there are more of them than the encoder has positions.
        """
        hop = exact_div(samples.shape[1], active.shape[1])
        whole = -(-samples.shape[1] // (2 * WHISPER_HOP)) * 2 * WHISPER_HOP
        mel = self._mel(F.pad(samples, (0, whole - samples.shape[1] + 4 * WHISPER_HOP)))
        hidden = F.gelu(self.encoder.conv2(F.gelu(self.encoder.conv1(mel)))).transpose(1, 2)
        hidden = hidden[:, : whole // (2 * WHISPER_HOP)]
        if hidden.shape[1] > self.longest:
            seconds = self.longest * 2 * WHISPER_HOP / SAMPLE_RATE
            raise VocaffectError(f"this encoder hears at most {seconds:g} s at once: set training.crop_s to less")
        heard = active_at(active, hop, hidden.shape[1], 2 * WHISPER_HOP, 0)
        bias = attention_bias(heard).to(hidden.dtype)
        vectors = [hidden + self.encoder.embed_positions.weight[: hidden.shape[1]]]
        for layer in self.encoder.layers:
            vectors.append(layer(vectors[-1], bias))
        return Encoded(tuple(vectors), heard[..., None])

    def _mel(self, samples: Tensor) -> Tensor:
        """Log mel energies as Whisper hears them, ``(batch, num_mels, num_frames)``; beyond the ends lie zeros."""
        power = self.spectrum.of_signal(F.pad(samples, (WHISPER_WIN // 2, WHISPER_WIN // 2 - 1))[:, None], WHISPER_HOP)
        log = torch.log10((power @ self.mel.filters).clamp(min=1e-10))
        loudest = log.amax((1, 2), keepdim=True)
        return (torch.maximum(log, loudest - 8) / 4 + 1).transpose(1, 2)


FAMILIES: Mapping[str, Any] = {
    "wav2vec2": WaveEncoder,
    "hubert": WaveEncoder,
    "wavlm": WaveEncoder,
    "whisper": WhisperEncoder,
}


def reach(strides: list[int], kernels: list[int]) -> tuple[int, int]:
    """Samples from frame to frame of convolutions upon each other, and samples that a frame has heard.

    >>> reach([5, 2, 2, 2, 2, 2, 2], [10, 3, 3, 3, 3, 2, 2])
    (320, 400)
    """
    stride, width = 1, 1
    for step, kernel in zip(strides, kernels, strict=True):
        width += (kernel - 1) * stride
        stride *= step
    return stride, width


def normalised(samples: Tensor, active: Tensor) -> Tensor:
    """Samples with mean 0 and variance 1 over what sounds; silence stays zero."""
    weight = active.repeat_interleave(samples.shape[1] // active.shape[1], dim=1).to(samples.dtype)
    count = weight.sum(1, keepdim=True).clamp(min=1)
    centred = (samples - (samples * weight).sum(1, keepdim=True) / count) * weight
    return centred * torch.rsqrt(centred.square().sum(1, keepdim=True) / count + 1e-7)
