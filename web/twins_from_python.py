"""Writes `tests/twins.json`: what Python decides about generated sound, for the tests of its TypeScript twins.

Run `python web/twins_from_python.py` after a change of `vocaffect.stream`, `utterance` or `voice_activity`; a test
holds the file against them. The networks are formulas here, so that the file says everything about what is around them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.bundle import read_card, resolve
from vocaffect.card import Card, StateSpec
from vocaffect.stream import Stream, StreamOptions, Update
from vocaffect.utterance import Output, Work, softmax
from vocaffect.voice_activity import Heard, Hearing, VoiceActivity, VoiceOptions

TARGET = Path(__file__).parent / "tests" / "twins.json"
LABELS = ["neutral", "happy", "sad"]
SHOWN = {"labels", "hop", "streaming", "window_s", "window_hop_s", "state", "normalisation", "uncertain_below"}
"""What a stream must know of a card."""

PIECE = 6_400
"""The loudness of the generated sound changes after so many samples."""

AMPLITUDES = {
    "speech and pauses": [0, 0, 0.5, 0.5, 0.5, 0, 0.5, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0],
    "speech to the end": [0, 0.05, 0.5, 0.05, 0.5, 0.5, 0, 0, 0, 0.5],
    "a segment that grows too long": [0.5] * 9,
    "silence": [0, 0.05, 0, 0],
}


def render() -> dict[str, Any]:
    """The content of the file."""
    return {
        "voice": [_voice(seed) for seed in range(4)],
        "streams": [
            _stream(kind, name, options)
            for kind in ("frame", "voices", "window")
            for name in AMPLITUDES
            for options in ({}, {"max_segment_s": 1.1, "smoothing_s": 0.0, "pre_roll_s": 0.05})
        ],
    }


def _voice(seed: int) -> dict[str, Any]:
    """Probabilities that linger, as speech does, and what the state machine makes of them."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.25, 400))
    probabilities = np.round(0.5 + 0.6 * np.sin(walk) + rng.normal(0, 0.1, 400), 3).clip(0, 1)
    levels = np.round(rng.uniform(-60, -10, 400), 2)
    machine, states = VoiceActivity(VoiceOptions()), []
    for probability, level in zip(probabilities, levels, strict=True):
        machine.step(float(probability), float(level))
        states.append([machine.phase.name.lower(), machine.started, machine.ended, machine.spoken_until])
    machine.finish(400 * 512)
    return {
        "probabilities": probabilities.tolist(),
        "levels": levels.tolist(),
        "states": states,
        "ended": machine.ended,
    }


def generated(amplitudes: list[float]) -> NDArray[np.float32]:
    """Noise (num_samples,) from Lehmer's generator (Park and Miller 1988, multiplier 48271), louder and quieter."""
    state, samples = 1, []
    for amplitude in amplitudes:
        for _ in range(PIECE):
            state = state * 48_271 % 2_147_483_647
            samples.append(amplitude * (2 * state / 2_147_483_647 - 1))
    return np.array(samples, np.float32)


def _card(kind: str) -> Card:
    """A card of our own, whatever the shipped recogniser is like."""
    frame = {"hop": 160, "streaming": "frame", "window_s": None, "window_hop_s": None}
    window = {"hop": 160, "streaming": "window", "window_s": 0.75, "window_hop_s": 0.25, "state": []}
    voice = StateSpec(name="voice", shape=[2 + 4 * len(LABELS)], scope="stream")
    normalisation = {"voice_prior": 90.0} if kind == "voices" else {}
    return read_card(resolve("live")).model_copy(
        update={
            "labels": LABELS,
            "temperature": 1.3,
            "uncertain_below": 0.36,
            "normalisation": normalisation,
            "state": [StateSpec(name="sum", shape=[1], scope="segment"), voice],
            **(window if kind == "window" else frame),
        }
    )


def _stream(kind: str, name: str, options: dict[str, float]) -> dict[str, Any]:
    card = _card(kind)

    def advance(streams: list[Stream]) -> list[list[Update]]:
        work, answer = streams[0].ready(), None
        while True:
            try:
                request = work.send(answer)  # type: ignore[arg-type]  # None starts it
            except StopIteration as stop:
                return [stop.value]
            answer = _hear(request) if isinstance(request, Hearing) else _run(card, request)

    stream = Stream(card, StreamOptions(**options), advance)
    updates = [*stream.push(generated(AMPLITUDES[name])), *stream.finish()]
    return {
        "name": f"{name}, {kind}",
        "amplitudes": AMPLITUDES[name],
        "options": options,
        "card": card.model_dump(mode="json", include=SHOWN),
        "temperature": card.temperature,
        "updates": [_update(update) for update in updates],
    }


def _hear(hearing: Hearing) -> Heard:
    loudness = float(np.sqrt(np.mean(np.square(hearing.samples, dtype=np.float64))))
    return Heard(min(1.0, 4 * loudness), hearing.memory)


def _run(card: Card, work: Work) -> Output:
    """Per frame two features, mean magnitude and mean; the running sums are the state and drive the logits."""
    frames = work.samples.astype(np.float64).reshape(len(work.samples), -1, card.hop)
    features = np.stack([np.abs(frames).mean(axis=2), frames.mean(axis=2)], axis=2)
    loud = features[..., 0]
    if card.streaming == "window":
        logits = np.stack([loud.mean(axis=1), 0.3 - loud.mean(axis=1), loud[:, -1]], axis=1)
        state = {}
    else:
        sums = work.state["sum"] + np.cumsum(loud, axis=1)
        voices = work.state["voice"][:, :1] + np.cumsum(loud, axis=1)
        voice = np.concatenate([voices[:, -1:], work.state["voice"][:, 1:]], axis=1)
        logits = np.stack([0.02 * sums, 0.3 - 0.01 * voices, loud], axis=2)
        state = {"sum": sums[:, -1:].astype(np.float32), "voice": voice.astype(np.float32)}
    said = logits.astype(np.float32), softmax(logits.astype(np.float32), card.temperature)
    return Output(*said, features.astype(np.float32), np.ones(loud.shape, np.float32), state)


def _update(update: Update) -> list[Any]:
    """One update as a row, in the order in which `row` in twins.test.ts has them."""
    ended = update.ended
    features = update.features
    return [
        round(update.time_s, 4),
        update.speech,
        round(update.speech_probability, 5),
        update.level_db,
        _rounded(update.posterior),
        _rounded(update.raw_posterior),
        update.label,
        update.uncertain,
        None if update.voice_known is None else round(update.voice_known, 5),
        update.segment,
        update.segment_start_s,
        [len(features), round(update.features_end_s, 4), _rounded(features[-1]) if len(features) else None],
        ended
        and [
            ended.index,
            round(ended.start_s, 4),
            round(ended.end_s, 4),
            ended.label,
            ended.uncertain,
            _rounded(ended.posterior),
        ],
    ]


def _rounded(values: NDArray[np.float32] | None) -> list[float] | None:
    return None if values is None else [round(float(value), 5) for value in values]


if __name__ == "__main__":
    TARGET.write_text(json.dumps(render(), separators=(",", ":")).replace('],["', '],\n["') + "\n", encoding="utf-8")
