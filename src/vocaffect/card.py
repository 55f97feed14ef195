"""The card in a bundle: what a recogniser says about itself, validated field by field."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vocaffect.units import exact_div, seconds_to_samples

FORMAT_VERSION = 1
NO_DIGEST = "sha256:" + "0" * 64
"""What stands in a card until the bundle is sealed."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StateSpec(_Part):
    """One state tensor (batch, *shape); "segment" state is fresh in every segment, "stream" state lasts."""

    name: str = Field(min_length=1)
    shape: list[int]
    scope: Literal["segment", "stream"]


class Golden(_Part):
    """The posterior that `golden_signal(seconds)` must give, to within `tolerance`."""

    seconds: float = Field(gt=0, le=60)
    posterior: list[float]
    tolerance: float = Field(gt=0, lt=0.1)


class Licence(_Part):
    """Under which terms the weights, and the data they were learnt from, may be used."""

    weights: str
    data: str


class Card(_Part):
    """Everything a bundle says about itself; its fields stand in this order in the file, the digest last."""

    format_version: Literal[1]
    name: str = Field(min_length=1)
    labels: list[str] = Field(min_length=2)
    sample_rate: Literal[16_000]
    hop: int = Field(gt=0, le=1_600)
    latency_s: float = Field(ge=0)
    streaming: Literal["frame", "window"]
    window_s: float | None
    window_hop_s: float | None
    state: list[StateSpec]
    silence: dict[str, Any]
    normalisation: dict[str, Any]
    temperature: float = Field(gt=0)
    uncertain_below: float = Field(ge=0, lt=1)
    coverage: float = Field(gt=0, le=1)
    recipe: dict[str, Any]
    manifest_hash: str
    metrics: dict[str, Any]
    licence: Licence
    intended_use: str
    limits: str
    created: str
    golden: Golden
    digest: str = Field(default=NO_DIGEST, pattern=r"^sha256:[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from each other")
        if len(self.golden.posterior) != len(self.labels):
            raise ValueError("golden.posterior must have one number for each label")
        if self.streaming == "frame":
            if self.window_s is not None or self.window_hop_s is not None:
                raise ValueError("window_s and window_hop_s belong to streaming 'window' only")
            return self
        if not self.window_s or not self.window_hop_s or not 0 < self.window_hop_s <= self.window_s:
            raise ValueError("streaming 'window' needs 0 < window_hop_s <= window_s")
        exact_div(self.window_samples, self.hop)
        exact_div(self.window_hop_samples, self.hop)
        return self

    @property
    def window_samples(self) -> int:
        """The length of a window in samples; 0 for a frame model."""
        return seconds_to_samples(self.window_s or 0.0)

    @property
    def window_hop_samples(self) -> int:
        """How far one window lies behind the next, in samples; 0 for a frame model."""
        return seconds_to_samples(self.window_hop_s or 0.0)
