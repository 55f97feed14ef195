"""A client that may do anything at any time: whatever it does, a session answers by the protocol or refuses by it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from vocaffect.bundle import golden_signal
from vocaffect.server import protocol, refusals, session
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.refusals import ProtocolError

EXAMPLES, STEPS = 260, 50

VOICE = golden_signal(4.0)
JUNK = st.one_of(
    st.text(max_size=40),
    st.sampled_from(['{"type":', "null", "[]", '{"type":"hello"}', '{"type":"end","x":1}', '{"type":"ping","id":-1}']),
    st.dictionaries(
        st.sampled_from(["type", "version", "sample_rate", "format", "id", "recognizer"]),
        st.one_of(
            st.none(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["hello", "end", "ping"])
        ),
    ).map(lambda fields: json.dumps(fields)),
)


class Client(RuleBasedStateMachine):
    """One conversation, and a second one of somebody honest that is computed in the same turns."""

    catalogue: Catalogue
    steps = 0
    hello: dict[str, Any]

    @initialize()
    def begin(self) -> None:
        self.honest = session.Session(self.catalogue, max_stream_s=36_000)
        self.honest.text('{"type":"hello","version":1,"sample_rate":16000,"format":"int16"}')
        self.honest_updates = self.honest_sent = 0
        self.over = True

    @precondition(lambda self: self.over)
    @rule(
        sample_rate=st.sampled_from([8_000, 16_000, 44_100]),
        coded=st.sampled_from(["int16", "float32"]),
        interval_s=st.sampled_from([0.1, 0.25, 1.0]),
        features=st.booleans(),
        politely=st.sampled_from([True, True, True, False]),
    )
    def connect(self, sample_rate: int, coded: str, interval_s: float, features: bool, politely: bool) -> None:
        self.session = session.Session(self.catalogue, max_stream_s=8)
        self.hello = {
            "type": "hello",
            "version": 1,
            "sample_rate": sample_rate,
            "format": coded,
            "interval_s": interval_s,
            "features": features,
        }
        self.width = 2 if coded == "int16" else 4
        self.over, self.seen, self.flushes = False, 0, list[int]()
        if politely:
            self.say_hello({})

    def attempt(self, call: Any, *arguments: Any) -> Any:
        """A refusal is the protocol's answer, and the last one."""
        try:
            return call(*arguments)
        except ProtocolError as error:
            self.refused(error)
            return None

    def refused(self, error: Exception) -> None:
        """The end, with a sentence and a code of the protocol."""
        assert isinstance(error, ProtocolError)
        assert error.code in refusals.STATUS
        assert len(error.message) > 10
        self.over = True

    @precondition(lambda self: not self.over)
    @rule(change=st.sampled_from([{}, {}, {}, {}, {"version": 2}, {"recognizer": "nobody"}]))
    def say_hello(self, change: dict[str, Any]) -> None:
        waiting = self.session.phase is session.Phase.WAITING
        reply = self.attempt(self.session.text, json.dumps({**self.hello, **change}))
        assert isinstance(reply, protocol.Ready) == (waiting and not change)

    @precondition(lambda self: not self.over)
    @rule(seconds=st.floats(0, 1.5), odd=st.integers(0, 3), at=st.integers(0, 40_000))
    def send_audio(self, seconds: float, odd: int, at: int) -> None:
        size = round(seconds * self.hello["sample_rate"]) * self.width + odd
        coded = (np.roll(VOICE, at) * (32_767 if self.width == 2 else 1)).astype("<i2" if self.width == 2 else "<f4")
        self.attempt(self.session.binary, coded.tobytes()[:size])

    @precondition(lambda self: not self.over)
    @rule(data=st.binary(max_size=64))
    def send_noise(self, data: bytes) -> None:
        self.attempt(self.session.binary, data)

    @precondition(lambda self: not self.over)
    @rule(text=JUNK)
    def send_junk(self, text: str) -> None:
        self.attempt(self.session.text, text)

    @precondition(lambda self: not self.over)
    @rule(number=st.integers(0, 2**53))
    def ping(self, number: int) -> None:
        reply = self.attempt(self.session.text, json.dumps({"type": "ping", "id": number}))
        assert reply is None or (isinstance(reply, protocol.Pong) and reply.id == number)

    @precondition(lambda self: not self.over)
    @rule(number=st.integers(0, 9))
    def flush(self, number: int) -> None:
        self.attempt(self.session.text, json.dumps({"type": "flush", "id": number}))
        if not self.over:
            self.flushes.append(number)

    @precondition(lambda self: not self.over)
    @rule()
    def end(self) -> None:
        self.attempt(self.session.text, '{"type":"end"}')

    @rule(size=st.integers(0, 6_000))
    def honest_audio(self, size: int) -> None:
        self.honest.binary(bytes(size))
        self.honest_sent += size

    @rule()
    def compute(self) -> None:
        due = [self.honest] if self.over else [self.session, self.honest]
        due = [each for each in due if each.has_work]
        for each, answered in zip(due, session.answer(due), strict=True):
            if each is self.honest:
                assert isinstance(answered, list)
                self.honest_updates += len(answered)
            elif isinstance(answered, Exception):
                self.refused(answered)
            else:
                self._hear(answered)

    def _hear(self, replies: list[protocol.Reply]) -> None:
        for reply in replies:
            assert protocol.parse_server(reply.model_dump_json()) == reply
            match reply:
                case protocol.Update(num_samples=position):
                    assert position >= self.seen
                    self.seen = position
                    assert reply.speech == (reply.segment is not None) == (reply.segment_start_s is not None)
                case protocol.Flushed(id=number):
                    assert self.flushes.pop(0) == number
                case protocol.Summary():
                    self.over = True
                    assert not self.session.has_work

    @invariant()
    def count(self) -> None:
        Client.steps += 1

    @invariant()
    def nobody_waits_for_what_has_been_computed(self) -> None:
        if hasattr(self, "honest") and not self.honest.has_work:
            assert self.honest_updates == self.honest_sent // 3_200
            assert self.honest.waiting_s == 0


@pytest.mark.timeout(300)
def test_ten_thousand_steps_find_nothing_that_is_not_in_the_protocol(catalogue: Catalogue) -> None:
    Client.catalogue = catalogue
    run_state_machine_as_test(
        Client,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Client.steps >= 10_000
