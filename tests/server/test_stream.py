import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets.sync.client as ws
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from vocaffect.server import protocol, refusals
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.protocol import Reply
from vocaffect.server.session import Phase, Session, answer

Samples = NDArray[np.float32]
Connect = Callable[..., ClientConnection]
HELLO = {"type": "hello", "version": 1, "sample_rate": 16_000, "format": "int16"}


def pcm(samples: Samples) -> bytes:
    return np.round(samples * 32_767).astype("<i2").tobytes()


def send(session: Session, data: str | bytes) -> list[Reply]:
    """All replies to one message, computed at once."""
    replies: list[Reply] = []
    if isinstance(data, bytes):
        session.binary(data)
    elif (reply := session.text(data)) is not None:
        replies.append(reply)
    while session.has_work:
        (answers,) = answer([session])
        if isinstance(answers, Exception):
            raise answers
        replies += answers
    return replies


def converse(catalogue: Catalogue, data: bytes, cuts: list[int], **hello: Any) -> list[Reply]:
    """All replies to a stream of `data`, sent in pieces."""
    session = Session(catalogue, max_stream_s=60)
    replies = send(session, json.dumps({**HELLO, **hello}))
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        replies += send(session, data[start:end])
    replies += send(session, '{"type":"end"}')
    assert session.phase is Phase.OVER
    return replies


@pytest.fixture(scope="module")
def whole(catalogue: Catalogue, speech: Samples) -> list[Reply]:
    return converse(catalogue, pcm(speech), [])


def test_a_conversation_tells_speech_from_silence(whole: list[Reply], speech: Samples) -> None:
    ready, *rest, summary = whole
    assert isinstance(ready, protocol.Ready)
    assert isinstance(summary, protocol.Summary)
    updates = [reply for reply in rest if isinstance(reply, protocol.Update)]
    segments = [reply for reply in rest if isinstance(reply, protocol.Segment)]
    assert summary.segments == segments
    assert len(segments) == 1
    assert summary.duration_s == pytest.approx(len(speech) / 16_000, abs=1e-3)
    assert summary.speech_s == pytest.approx(segments[0].end_s - segments[0].start_s, abs=2e-3)
    assert {update.speech for update in updates} == {True, False}
    for update in updates:
        assert update.speech or (update.posterior, update.label, update.segment) == (None, None, None)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 10**6), max_size=12))
def test_replies_do_not_depend_on_how_the_bytes_are_cut(
    catalogue: Catalogue, speech: Samples, whole: list[Reply], cuts: list[int]
) -> None:
    assert converse(catalogue, pcm(speech), cuts) == whole


def test_float32_says_the_same_as_int16(catalogue: Catalogue, speech: Samples, whole: list[Reply]) -> None:
    rounded = np.round(speech * 32_767) / 32_768
    assert converse(catalogue, rounded.astype("<f4").tobytes(), [], format="float32") == whole


def test_another_rate_finds_the_same_segment(catalogue: Catalogue, speech: Samples, whole: list[Reply]) -> None:
    import soxr

    data = pcm(np.clip(soxr.resample(speech, 16_000, 48_000), -1, 1))
    summaries = [r[-1] for r in (converse(catalogue, data, [7, 1_001], sample_rate=48_000), whole)]
    ours, theirs = (summary.segments for summary in summaries if isinstance(summary, protocol.Summary))
    assert [s.label for s in ours] == [s.label for s in theirs]
    assert ours[0].start_s == pytest.approx(theirs[0].start_s, abs=0.1)


def test_an_empty_stream_has_an_empty_summary(catalogue: Catalogue) -> None:
    empty = protocol.Summary(recognizer="toy-frame", duration_s=0, speech_s=0, segments=[])
    assert converse(catalogue, b"", [])[1:] == [empty]


def test_fewer_updates_say_the_same_at_their_moments(catalogue: Catalogue, speech: Samples, whole: list[Reply]) -> None:
    seldom = converse(catalogue, pcm(speech), [1_001, 70_001], interval_s=0.5)
    told = [reply for reply in seldom if isinstance(reply, protocol.Update)]
    assert len(told) <= len(speech) / 8_000 + 2  # one for each half second, one at the segment's end, one at the end
    assert [reply for reply in whole if reply in told] == told
    assert seldom[-1] == whole[-1]


@pytest.mark.parametrize("kind", ["frame", "window"])
@pytest.mark.parametrize("interval_s", [0.1, 0.3])
def test_features_come_once_and_without_gaps(
    toys: Callable[..., Any], tmp_path: Path, speech: Samples, kind: str, interval_s: float
) -> None:
    toy = toys(kind)
    catalogue = Catalogue.load([str(toy.write(tmp_path / "toy.onnx"))])
    replies = converse(catalogue, pcm(speech), [5_000, 33_333], features=True, interval_s=interval_s)
    (segment,) = [reply for reply in replies if isinstance(reply, protocol.Segment)]
    seen = [reply.features for reply in replies if isinstance(reply, protocol.Update) and reply.features]
    assert seen[0].start_s == pytest.approx(segment.start_s)
    for before, after in itertools.pairwise(seen):
        assert after.start_s == pytest.approx(before.start_s + len(before.values) * before.frame_s)
    end_s = seen[-1].start_s + len(seen[-1].values) * seen[-1].frame_s
    assert segment.end_s - 0.25 < end_s < segment.end_s + 0.7
    values = np.concatenate([features.values for features in seen])
    at = round(segment.start_s * 16_000)
    _, expected = toy.features(np.round(speech * 32_767)[at : at + 160 * len(values)] / 32_768)
    np.testing.assert_allclose(values, expected, atol=1e-3)


def test_ping_is_answered_at_once_and_flush_after_all_that_is_due(catalogue: Catalogue, speech: Samples) -> None:
    session = Session(catalogue, max_stream_s=60)
    send(session, json.dumps({**HELLO, "interval_s": 1.0}))
    session.binary(pcm(speech[:7_000]))
    assert session.text('{"type":"ping","id":3}') == protocol.Pong(id=3, num_samples=0)
    *updates, flushed = send(session, '{"type":"flush","id":4}')
    assert flushed == protocol.Flushed(id=4, num_samples=6_400)
    assert [update.num_samples for update in updates if isinstance(update, protocol.Update)] == [6_400]
    assert session.text('{"type":"ping"}') == protocol.Pong(id=0, num_samples=6_400)


def test_nothing_may_follow_the_end(catalogue: Catalogue) -> None:
    session = Session(catalogue, max_stream_s=60)
    session.text(json.dumps(HELLO))
    session.text('{"type":"end"}')
    with pytest.raises(refusals.ProtocolError, match="after 'end'"):
        session.binary(b"\0\0")
    with pytest.raises(refusals.ProtocolError, match="wait for the summary"):
        session.text('{"type":"end"}')


def test_what_is_sent_in_one_go_is_computed_in_turns(catalogue: Catalogue, speech: Samples) -> None:
    session = Session(catalogue, max_stream_s=60)
    session.text(json.dumps(HELLO))
    session.binary(pcm(speech))
    turns = []
    while session.has_work:
        (replies,) = answer([session])
        assert isinstance(replies, list)
        turns.append(sum(isinstance(reply, protocol.Update) for reply in replies))
    assert max(turns) == 4
    assert sum(turns) == len(speech) // 1_600
    assert session.waiting_s == 0


def test_bad_audio_of_one_session_leaves_the_others_alone(catalogue: Catalogue) -> None:
    good, bad = (Session(catalogue, max_stream_s=60) for _ in range(2))
    for session in (good, bad):
        session.text(json.dumps({**HELLO, "format": "float32"}))
    good.binary(bytes(6_400))
    bad.binary(np.full(1_600, np.inf, "<f4").tobytes())
    fine, refused = answer([good, bad])
    assert isinstance(fine, list)
    assert [type(reply) for reply in fine] == [protocol.Update]
    assert isinstance(refused, refusals.ProtocolError)
    assert refused.code == "bad_audio"


REFUSED: dict[str, tuple[list[str | bytes], str]] = {
    "audio first": ([b"\0\0"], "bad_message"),
    "end first": (['{"type":"end"}'], "bad_message"),
    "ping first": (['{"type":"ping"}'], "bad_message"),
    "two hellos": ([json.dumps(HELLO), json.dumps(HELLO)], "bad_message"),
    "no JSON": (["hello"], "bad_message"),
    "next version": ([json.dumps({**HELLO, "version": 2})], "unsupported_version"),
    "unknown recogniser": ([json.dumps({**HELLO, "recognizer": "toy"})], "unknown_recognizer"),
    "no numbers": (
        [json.dumps({**HELLO, "format": "float32"}), np.array([np.nan], "<f4").tobytes()],
        "bad_audio",
    ),
}


@pytest.mark.parametrize(("messages", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_out_of_turn_ends_with_a_typed_error(
    address: str, connect: Connect, messages: list[str | bytes], code: refusals.ErrorCode
) -> None:
    with connect(address) as socket:
        for message in messages:
            socket.send(message)
        *_, last = list(_until_closed(socket))
        assert (last["type"], last["code"]) == ("error", code)
        assert socket.close_code == refusals.STATUS[code][1]


def test_a_socket_carries_the_whole_conversation(
    address: str, connect: Connect, speech: Samples, whole: list[Reply]
) -> None:
    data = pcm(speech)
    with connect(address) as socket:
        socket.send(json.dumps(HELLO))
        for start in range(0, len(data), 3_333):
            socket.send(data[start : start + 3_333])
        socket.send('{"type":"end"}')
        received = list(_until_closed(socket))
        assert received == [reply.model_dump() for reply in whole]
        assert socket.close_code == 1000


def test_the_hello_may_stand_in_the_address(address: str, speech: Samples, whole: list[Reply]) -> None:
    url = address.replace("http", "ws") + "/v1/stream?version=1&sample_rate=16000&format=int16"
    with ws.connect(url) as socket:
        socket.send(pcm(speech))
        socket.send('{"type":"end"}')
        assert list(_until_closed(socket)) == [reply.model_dump() for reply in whole]
    with ws.connect(f"{url}&sample_rate=1") as socket:
        assert next(_until_closed(socket))["code"] == "bad_message"


def test_streams_at_the_same_time_do_not_mix(
    address: str, connect: Connect, speech: Samples, whole: list[Reply]
) -> None:
    def talk(size: int) -> list[dict[str, Any]]:
        data = pcm(speech)
        with connect(address) as socket:
            socket.send(json.dumps(HELLO))
            for start in range(0, len(data), size):
                socket.send(data[start : start + size])
            socket.send('{"type":"end"}')
            return list(_until_closed(socket))

    with ThreadPoolExecutor(4) as pool:
        for received in pool.map(talk, (1_001, 1_600, 3_200, 8_000)):
            assert received == [reply.model_dump() for reply in whole]


def test_streams_beyond_the_limit_are_told_to_come_back(start_server: Callable[..., str], connect: Connect) -> None:
    address = start_server(max_streams=1)
    with connect(address) as first:
        first.send(json.dumps(HELLO))
        assert json.loads(first.recv())["type"] == "ready"
        with connect(address) as second:
            assert next(_until_closed(second))["code"] == "busy"
    _eventually_ready(connect, address)


def test_a_stream_may_not_last_for_ever(start_server: Callable[..., str], connect: Connect) -> None:
    with connect(start_server(max_stream_s=1)) as socket:
        socket.send(json.dumps(HELLO))
        socket.send(bytes(32_002))
        assert [message.get("code") for message in _until_closed(socket)][-1] == "too_long"


@pytest.mark.parametrize("messages", [[], [json.dumps(HELLO)]], ids=["no hello", "no audio"])
def test_a_silent_client_is_let_go(start_server: Callable[..., str], connect: Connect, messages: list[str]) -> None:
    with connect(start_server(hello_timeout_s=0.2, idle_timeout_s=0.2)) as socket:
        for message in messages:
            socket.send(message)
        assert list(_until_closed(socket))[-1]["code"] == "timeout"


def test_a_giant_message_is_not_read(start_server: Callable[..., str], connect: Connect) -> None:
    with connect(start_server(max_message_bytes=1_000)) as socket:
        socket.send(json.dumps(HELLO))
        socket.send(bytes(2_000))
        list(_until_closed(socket))
        assert socket.close_code == 1009


def _until_closed(socket: ClientConnection) -> Iterator[dict[str, Any]]:
    try:
        while True:
            yield json.loads(socket.recv(timeout=10))
    except ConnectionClosed:
        return


def _eventually_ready(connect: Connect, address: str) -> None:
    for _ in range(100):
        with connect(address) as socket:
            socket.send(json.dumps(HELLO))
            if next(_until_closed(socket))["type"] == "ready":
                return
    raise AssertionError("the place of a closed stream was never given to another")


def test_what_the_card_doubts_is_said_to_be_uncertain(
    toys: Callable[..., Any], tmp_path: Path, speech: Samples, whole: list[Reply]
) -> None:
    toy = toys("frame")
    doubtful = replace(toy, card=toy.card.model_copy(update={"uncertain_below": 0.999}))
    replies = converse(Catalogue.load([str(doubtful.write(tmp_path / "toy.onnx"))]), pcm(speech), [])
    for ours, certain in zip(replies, whole, strict=True):
        if isinstance(ours, protocol.Segment | protocol.Update) and isinstance(certain, type(ours)):
            assert ours.uncertain == (ours.posterior is not None)
            assert not certain.uncertain
            assert ours.posterior == certain.posterior
