"""Pretrained speech encoders: built with random weights from a description, then given what was learned elsewhere."""

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vocaffect.encoders.base import Encoded, Encoder
from vocaffect.encoders.low_rank import merged, plain_name, with_low_rank
from vocaffect.encoders.moonshine import Moonshine
from vocaffect.encoders.store import KNOWN, EncoderError, locate

__all__ = [
    "Encoded",
    "Encoder",
    "EncoderError",
    "Moonshine",
    "build_encoder",
    "load_pretrained",
    "merged",
    "with_low_rank",
]

Description = str | Mapping[str, Any]
"""The name of an encoder, or ``model_type`` with the keys of a configuration."""


def build_encoder(described: Description, depth: int | None = None) -> Encoder:
    """An encoder with random weights, of its lowest ``depth`` layers.

    >>> build_encoder({"model_type": "moonshine", "hidden_size": 16, "num_heads": 2}, depth=3).num_layers
    3

    Raises:
        EncoderError: if it is an encoder of the hub that is not here.
        VocaffectError: if there is no such kind of encoder.
    """
    known = isinstance(described, str) and described in KNOWN
    options = {"model_type": "moonshine"} if known else _configuration(described)
    model_type = options.pop("model_type", "")
    if model_type == "moonshine":
        return Moonshine(**(options | ({"num_layers": depth} if depth else {})))
    from vocaffect.encoders.hugging_face import build_hugging_face

    return build_hugging_face(model_type, depth, **options)


def load_pretrained(encoder: Encoder, name: str) -> None:
    """Give an encoder, built by `build_encoder` from the same name, its pretrained weights.

    Raises:
        EncoderError: if they are not here or do not fit.
    """
    place = locate(name)
    weights = _known_weights(place) if name in KNOWN else _hub_weights(place)
    own = {plain: key for key in encoder.state_dict() if (plain := plain_name(key)) is not None}
    missing = [key for key in own if key not in weights and not key.startswith(("spectrum.", "mel."))]
    if missing:
        raise EncoderError(f"{place} lacks {missing[0]} and {len(missing) - 1} more: it is not the encoder {name}")
    encoder.load_state_dict({own[key]: weights[key] for key in own if key in weights}, strict=False)


def _configuration(described: Description) -> dict[str, Any]:
    if not isinstance(described, str):
        return dict(described)
    place = locate(described)
    options: dict[str, Any] = json.loads((place / "config.json").read_text(encoding="utf-8"))
    prepared = place / "preprocessor_config.json"
    if prepared.is_file():
        options["do_normalize"] = json.loads(prepared.read_text(encoding="utf-8")).get("do_normalize", False)
    return _moonshine_options(options) if options.get("model_type") == "moonshine" else options


def _moonshine_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of transformers in the words of `Moonshine`."""
    rotary = config.get("rope_parameters") or {}
    return {
        "model_type": "moonshine",
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["intermediate_size"],
        "num_layers": config["encoder_num_hidden_layers"],
        "num_heads": config["encoder_num_attention_heads"],
        "rotary_share": rotary.get("partial_rotary_factor", config.get("partial_rotary_factor", 0.9)),
        "rotary_base": rotary.get("rope_theta", config.get("rope_theta", 10_000.0)),
    }


def _known_weights(place: Any) -> dict[str, Tensor]:
    from vocaffect.encoders.moonshine_file import read_moonshine

    return read_moonshine(place)


def _hub_weights(place: Any) -> dict[str, Tensor]:
    """All weights of a repository, without the prefix that Moonshine's encoder has there."""
    from transformers import AutoModel

    weights: dict[str, Tensor] = AutoModel.from_pretrained(place, local_files_only=True).state_dict()
    return {**weights, **{key.removeprefix("encoder."): value for key, value in weights.items()}}
