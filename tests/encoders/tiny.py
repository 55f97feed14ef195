"""Descriptions of encoders small enough to be built, run and exported in tests."""

from typing import Any

_WAVE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
TINY: dict[str, dict[str, Any]] = {
    "moonshine": {"hidden_size": 16, "intermediate_size": 32, "num_layers": 2, "num_heads": 2},
    "wav2vec2": {**_WAVE, "do_normalize": True},
    "hubert": _WAVE,
    "wavlm": {**_WAVE, "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    "whisper": {
        "d_model": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "max_source_positions": 60,
        "num_mel_bins": 20,
    },
}
TINY = {model_type: {"model_type": model_type, **options} for model_type, options in TINY.items()}
