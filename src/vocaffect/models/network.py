"""The whole signal path as one module: samples and state in, logits and state out."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd, FrontEndOutput, FrontEndState
from vocaffect.models.registry import Model
from vocaffect.models.voice import Voice, VoiceState
from vocaffect.units import samples_to_seconds


class NetworkState(NamedTuple):
    """The front end's state and the model's; whether an utterance has begun, and the voice, where that is heeded.

    ``voice`` lasts from utterance to utterance, all else is fresh in each; see `vocaffect.models.voice.Voice`.
    """

    frontend: FrontEndState
    model: tuple[Any, ...]
    begun: tuple[Tensor, ...] = ()
    voice: VoiceState | tuple[()] = ()


class NetworkOutput(NamedTuple):
    """What a frame gives: the running decision, the features behind it, and whether anything sounded.

    ``logits (batch, num_frames, num_labels)``, ``features (batch, num_frames, num_features)``,
    ``active (batch, num_frames, 1)``.
    """

    logits: Tensor
    features: Tensor
    active: Tensor


class Network(nn.Module):
    """A front end, a model, and what allows for the voice; what training fits, and what an exported bundle holds.

    ``offset (num_labels,)`` is added to the model's logits, if there is one.

    Raises:
        VocaffectError: if the model hears the waveform, or hops of one length, and the front end gives something else.
    """

    offset: Tensor | None

    def __init__(self, frontend: FrontEnd, model: Model, voice: Voice | None = None) -> None:
        super().__init__()
        if model.hears == "waveform" and not frontend.is_waveform:
            raise VocaffectError(
                "this model hears the waveform: set frontend.features to {waveform: {}}, frontend.win_s to "
                "frontend.hop_s, and frontend.deltas to 0"
            )
        if model.hears == "raw" and frontend.standardise:
            raise VocaffectError("this model standardises features itself: set frontend.standardise to false")
        if model.hop not in (None, frontend.hop):
            seconds = f"{samples_to_seconds(model.hop or 0):g}"
            raise VocaffectError(f"this model hears in hops of {seconds} s: set frontend.win_s and hop_s to {seconds}")
        self.frontend, self.model, self.voice = frontend, model, voice
        self.register_buffer("offset", None, persistent=False)

    @property
    def streaming(self) -> Literal["frame", "window"]:
        """``window`` where the model or a feature must see a whole window."""
        return "window" if "window" in (self.frontend.streaming, self.model.streaming) else "frame"

    def initial_state(self, batch: int) -> NetworkState:
        """All zeros."""
        fresh = NetworkState(self.frontend.initial_state(batch), self.model.initial_state(batch))
        if self.voice is None:
            return fresh
        return fresh._replace(begun=(torch.zeros(batch, 1),), voice=self.voice.initial_state(batch))

    def shift(self, offset: Tensor) -> None:
        """Add so much to logits from now on, ``(num_labels,)``; what is known of voices is told among those."""
        self.offset = offset if self.offset is None else self.offset + offset
        if self.voice is not None:
            self.voice.centre += offset

    def measure(self, clips: Iterable[Tensor]) -> None:
        """Let the model measure the training clips, each as `heard` takes it, without the batch."""
        self.model.measure(self.heard(clip[None].to(self.frontend.mean))[0] for clip in clips)

    def heard(
        self, samples: Tensor, state: FrontEndState | None = None, clips: Tensor | None = None
    ) -> tuple[FrontEndOutput, FrontEndState]:
        """What the front end says; what a model's stem has said of clips, with four dimensions, passes it by."""
        if samples.dim() == 4:
            return FrontEndOutput(samples, samples.new_ones(*samples.shape[:2], 1)), self.frontend.initial_state(1)
        heard: tuple[FrontEndOutput, FrontEndState] = self.frontend(samples, state, clips)
        return heard

    def forward(self, samples: Tensor, state: NetworkState | None = None) -> tuple[NetworkOutput, NetworkState]:
        """Samples ``(batch, num_samples)`` in [-1, 1] at 16 kHz to a `NetworkOutput` and the next state."""
        if state is None:
            state = NetworkState(*(_on(part, samples) for part in self.initial_state(samples.shape[0])))
        (features, active), frontend = self.heard(samples, state.frontend)
        logits, model = self.model(features, active, state.model or None)
        if self.offset is not None:
            logits = logits + self.offset
        following = NetworkState(frontend, model)
        if self.voice is not None and isinstance(state.voice, VoiceState):
            logits, begun, voice = self.voice(logits, *state.begun, state.voice)
            following = following._replace(begun=(begun,), voice=voice)
        return NetworkOutput(logits, features, active), following


def _on(state: Any, like: Tensor) -> Any:
    from vocaffect.state import refill, walk

    return refill(state, {name: tensor.to(like) for name, tensor in walk(state)})
