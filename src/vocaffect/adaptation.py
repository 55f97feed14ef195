"""What knowing the voice gives: the answers of a test side again, each heard after others of the same voice.

What a recogniser thinks of a clip does not depend on the clips before it; only what is subtracted does. So each clip is
heard once, and its logits go through `vocaffect.models.voice.Voice` in as many orders as are wanted, which is what the
exported recogniser computes where it is given the voice of the clip before (a test proves it).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vocaffect.metrics import bootstrap, confusion, confusions_by, uar
from vocaffect.models.voice import Voice

Ints = npt.NDArray[np.int64]
ORDERS = 20
HEARD = ((1, 1), (2, 3), (4, 6), (7, 10), (11, 20), (21, 10_000))
"""How many clips of the voice have been heard, the present one included."""
SKEWED_LENGTH, WARM_UP, TURN = 40, 5, 20


@dataclass(frozen=True)
class Side:
    """A fold's test clips: logits before any voice is allowed for ``(n, num_labels)``, targets, voices, what allows."""

    fold: int
    logits: npt.NDArray[np.float32]
    targets: Ints
    speakers: npt.NDArray[np.str_]
    voice: Voice

    def said(self, sessions: Ints) -> Ints:
        """What is recognised in sessions of clips, ``(num_sessions, length)``."""
        with torch.inference_mode():
            return np.asarray(self.voice.through(torch.from_numpy(self.logits[sessions])).argmax(-1).numpy())

    def of(self, speaker: str) -> Ints:
        """The clips of a speaker."""
        return np.flatnonzero(self.speakers == speaker)


def adaptation(sides: Sequence[Side], num_labels: int, seed: int = 0) -> dict[str, Any]:
    """UAR cold and adapted, by clips heard, and in sessions that are skewed: means over folds, intervals over speakers.

    Adapted: the clips of each test speaker in `ORDERS` random orders, the voice carried from one to the next. Skewed:
    four clips of five neutral, one emotion only, and another speaker's clips before; what a test side cannot show, as
    one with a single speaker, is left out.
    """
    rows = {name: [_rows(side, draw, seed, skip) for side in sides] for name, (draw, skip) in _SESSIONS.items()}

    def measured(parts: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
        joined = np.concatenate(parts)
        folds, speakers, targets, said = joined["fold"], joined["speaker"], joined["target"], joined["said"]
        return bootstrap(uar, confusions_by(targets, said, speakers, folds, num_labels), seed=seed)._asdict()

    heard = [
        {
            "from": low,
            "to": high,
            **measured([part[(part["heard"] >= low) & (part["heard"] <= high)] for part in found]),
        }
        for low, high in HEARD
        if (found := [part for part in rows["adapted"] if (part["heard"] >= low).any()])
    ]
    return {
        "orders": ORDERS,
        "cold": measured(rows["cold"]),
        "adapted": measured(rows["adapted"]),
        "by_heard": heard,
        "skewed": {
            name: measured(rows[name])
            for name in ("mostly_neutral", "one_emotion", "another_speaker")
            if all(map(len, rows[name]))
        },
        "per_fold": {
            str(side.fold): {
                name: float(uar(confusion(part["target"], part["said"], num_labels)))
                for name, part in (("cold", rows["cold"][at]), ("adapted", rows["adapted"][at]))
            }
            for at, side in enumerate(sides)
        },
    }


def _rows(side: Side, draw: Callable[[Side, str, np.random.Generator], Ints], seed: int, skip: int) -> npt.NDArray[Any]:
    """A row for each clip of each session that counts: fold, speaker, target, what was said, how many were heard."""
    fields = [("fold", int), ("speaker", "U64"), ("target", int), ("said", int), ("heard", int)]
    rng, parts = np.random.default_rng([seed, side.fold]), [np.zeros(0, fields)]
    for speaker in np.unique(side.speakers):
        sessions = draw(side, str(speaker), rng)
        if not sessions.size:
            continue
        said, counted = side.said(sessions)[:, skip:], sessions[:, skip:]
        part = np.zeros(counted.shape, fields)
        part["fold"], part["speaker"], part["target"] = side.fold, speaker, side.targets[counted]
        part["said"], part["heard"] = said, np.arange(skip + 1, skip + 1 + counted.shape[1])
        parts.append(part.reshape(-1))
    return np.concatenate(parts)


def _cold(side: Side, speaker: str, rng: np.random.Generator) -> Ints:
    return side.of(speaker)[:, None]


def _in_any_order(side: Side, speaker: str, rng: np.random.Generator) -> Ints:
    return np.stack([rng.permutation(side.of(speaker)) for _ in range(ORDERS)])


def _mostly_neutral(side: Side, speaker: str, rng: np.random.Generator) -> Ints:
    """Four clips of five of the first label, which is neutral; the others of the other labels."""
    own = side.of(speaker)
    neutral, others = own[side.targets[own] == 0], own[side.targets[own] != 0]
    if not len(neutral) or not len(others):
        return np.zeros((0, 0), np.int64)
    shape = (ORDERS, SKEWED_LENGTH)
    return np.where(rng.random(shape) < 0.8, rng.choice(neutral, shape), rng.choice(others, shape))


def _one_emotion(side: Side, speaker: str, rng: np.random.Generator) -> Ints:
    own = side.of(speaker)
    shape = (4, SKEWED_LENGTH // 2)
    return np.concatenate(
        [rng.choice(own[side.targets[own] == label], shape) for label in np.unique(side.targets[own])]
    )


def _another_speaker(side: Side, speaker: str, rng: np.random.Generator) -> Ints:
    own, others = side.of(speaker), np.unique(side.speakers[side.speakers != speaker])
    if not len(others):
        return np.zeros((0, 0), np.int64)
    length = min(TURN, len(own))
    return np.stack(
        [
            np.concatenate([rng.choice(side.of(str(rng.choice(others))), TURN), rng.permutation(own)[:length]])
            for _ in range(ORDERS)
        ]
    )


_SESSIONS: dict[str, tuple[Callable[[Side, str, np.random.Generator], Ints], int]] = {
    "cold": (_cold, 0),
    "adapted": (_in_any_order, 0),
    "mostly_neutral": (_mostly_neutral, WARM_UP),
    "one_emotion": (_one_emotion, WARM_UP),
    "another_speaker": (_another_speaker, TURN),
}
"""How sessions are drawn, and how many of their clips do not count: those heard before the skew can tell."""
