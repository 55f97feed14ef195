"""What is known of a voice on the wire: told after each segment, sent again in another conversation, forgotten."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vocaffect.recognizer import Recognizer
from vocaffect.server import protocol, refusals
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.session import Session, answer

HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "int16"}


@pytest.fixture
def catalogue(voice_bundle: Path) -> Catalogue:
    return Catalogue([Recognizer.load(voice_bundle)])


def heard(session: Session, samples: NDArray[np.float32]) -> list[protocol.Reply]:
    """All that is answered to some samples."""
    session.binary((samples * 32_767).astype("<i2").tobytes())
    return computed(session)


def computed(session: Session) -> list[protocol.Reply]:
    replies: list[protocol.Reply] = []
    while session.has_work:
        [found] = answer([session])
        assert isinstance(found, list), found
        replies += found
    return replies


def known(replies: list[protocol.Reply]) -> list[protocol.Known]:
    return [reply for reply in replies if isinstance(reply, protocol.Known)]


def passages(speech: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return np.tile(np.concatenate([speech, np.zeros(24_000, np.float32)]), count)


def test_each_segment_makes_the_voice_better_known(catalogue: Catalogue, speech: NDArray[np.float32]) -> None:
    session = Session(catalogue, max_stream_s=600)
    session.text(json.dumps(HELLO))
    told = known(heard(session, passages(speech, 3)))
    assert len(told) >= 3
    assert [each.known for each in told] == sorted(each.known for each in told)
    assert told[0].known == pytest.approx(1 / 6, abs=1e-3)

    again = Session(catalogue, max_stream_s=600)
    again.text(json.dumps({**HELLO, "voice": told[-1].profile}))
    assert known(heard(again, passages(speech, 1)))[0].known > told[-1].known


def test_a_new_voice_is_not_taken_for_the_one_before(catalogue: Catalogue, speech: NDArray[np.float32]) -> None:
    session = Session(catalogue, max_stream_s=600)
    session.text(json.dumps(HELLO))
    assert known(heard(session, passages(speech, 2)))
    session.text(json.dumps({"type": "voice", "profile": None}))
    assert known(heard(session, passages(speech, 1)))[0].known == pytest.approx(1 / 6, abs=1e-3)


@pytest.mark.parametrize(
    "profile", ["", "{}", "[1]", '{"format": "vocaffect-voice-1", "recognizer": "a", "digest": "b"}']
)
def test_what_is_no_profile_is_refused(catalogue: Catalogue, profile: str) -> None:
    with pytest.raises(refusals.ProtocolError, match="voice"):
        Session(catalogue, max_stream_s=600).text(json.dumps({**HELLO, "voice": profile}))
    session = Session(catalogue, max_stream_s=600)
    session.text(json.dumps(HELLO))
    session.text(json.dumps({"type": "voice", "profile": profile}))
    [refused] = answer([session])
    assert isinstance(refused, refusals.ProtocolError)
