"""The messages about what a user has saved: docs/protocol.md explains them, web/ has their twin."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vocaffect.server.protocol import Message

MAX_LABELS, MAX_SEGMENTS = 64, 10_000

Label = Annotated[str, Field(max_length=40, pattern=r"^\w[\w -]*$")]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
ShortText = Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]


class SavedSegment(Message):
    """A segment as it is kept: what the recogniser said, and what the user says in its place."""

    index: int = Field(ge=0, le=MAX_SEGMENTS)
    start_s: float = Field(ge=0, le=86_400)
    end_s: float = Field(ge=0, le=86_400)
    label: Label
    posterior: list[float] = Field(max_length=MAX_LABELS)
    uncertain: bool = False
    corrected: Label | None = None


class Save(Message):
    """The body of `POST /v1/saved`: what the user wants to keep; audio follows on its own, with consent."""

    type: Literal["save"] = "save"
    name: Text
    recognizer: ShortText
    digest: str = Field(default="", pattern="^(sha256:[0-9a-f]{64})?$")
    labels: list[Label] = Field(min_length=1, max_length=MAX_LABELS)
    duration_s: float = Field(ge=0, le=86_400)
    segments: list[SavedSegment] = Field(max_length=MAX_SEGMENTS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for segment in self.segments:
            if not {segment.label, segment.corrected} <= {*self.labels, None}:
                raise ValueError(f"segment {segment.index} has a label that is not among the labels")
            if segment.end_s < segment.start_s:
                raise ValueError(f"segment {segment.index} ends before it begins")
        if len({segment.index for segment in self.segments}) < len(self.segments):
            raise ValueError("two segments have the same index")
        return self


class Saved(Message):
    """What is kept of one session; `has_audio` where the user consented to keep the sound as well."""

    type: Literal["saved"] = "saved"
    id: str
    created: str
    name: str
    recognizer: str
    digest: str
    labels: list[str]
    duration_s: float
    segments: list[SavedSegment]
    has_audio: bool


class SavedList(Message):
    """The answer of `GET /v1/saved`, the newest first; `next` is where the next page begins, if there is one."""

    type: Literal["saved_list"] = "saved_list"
    sessions: list[Saved]
    next: str | None


class Correction(Message):
    """The body of `PUT /v1/saved/{id}/segments/{index}`: the right label, or null to take a correction back."""

    type: Literal["correction"] = "correction"
    label: Label | None


class Deleted(Message):
    """The answer of both `DELETE`s: how many sessions are gone for good."""

    type: Literal["deleted"] = "deleted"
    count: int
