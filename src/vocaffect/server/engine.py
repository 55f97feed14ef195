"""Computing for all live streams together: sockets hand their sessions in, one batch at a time steps them all.

The event loop only moves messages. Each recogniser has a `Batcher`: whenever sessions have something to compute, and
no more often than every `batch_interval_s`, one call in the recogniser's own thread computes a turn of all of them. A
session whose client does not read is left out until it does, so queues stay short in both directions.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from vocaffect.errors import VocaffectError
from vocaffect.recognizer import Recognizer
from vocaffect.server.metrics import Metrics
from vocaffect.server.protocol import Reply
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.session import TURN_S, Phase, Session, answer
from vocaffect.server.settings import Settings
from vocaffect.server.tokens import is_loopback

MAX_BEHIND = 8
"""Of the sessions that have more than one turn waiting, as files have, no more than this share a turn."""

WHOLE = 1 + 1e-9
"""What all shares may come to, and the rounding of their sum."""

_log = logging.getLogger(__name__)

Answer = tuple[list[str], Exception | None]


class Live:
    """One conversation while its socket is open: the session, what is to be sent, and why it must stop."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session = session
        self.outbox: deque[str] = deque()
        self.failure: Exception | None = None
        self.since = 0.0
        self.recognizer: str | None = None
        """What computes for it, once that is agreed and it is admitted."""
        self._settings = settings
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def crowded(self) -> bool:
        """Whether the client must read before more is computed for it."""
        return len(self.outbox) >= self._settings.max_unread_messages

    @property
    def waits_s(self) -> float:
        """Seconds of audio that have come and are not yet computed."""
        return self.session.waiting_s

    def say(self, replies: Sequence[str], failure: Exception | None = None) -> None:
        """Put replies in the outbox; a failure is told after them, and ends the conversation."""
        self.outbox.extend(replies)
        self.failure = self.failure or failure
        self._news.set()
        self._room.set()

    async def next(self) -> str | None:
        """The next message for the client; None once everything has been sent and the conversation is over.

        Raises:
            Exception: the failure that ends it, after everything before it.
        """
        while not self.outbox:
            if self.failure is not None:
                raise self.failure
            if self.session.phase is Phase.OVER:
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self.outbox.popleft()

    async def room(self) -> None:
        """Wait until the client may send more: it has read, and what it sent has been computed."""
        while self.crowded or self.waits_s > self._settings.max_waiting_s:
            self._room.clear()
            await self._room.wait()


class Batcher:
    """One recogniser and the sessions that wait for it."""

    def __init__(self, recognizer: Recognizer, settings: Settings, metrics: Metrics) -> None:
        self.lag_s = 0.0
        """How long chunks have waited of late, a running mean."""
        self._name = recognizer.card.name
        self._settings, self._metrics = settings, metrics
        self._due: dict[Live, None] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"batch-{self._name}")

    def submit(self, live: Live) -> None:
        """Compute for this session soon, if it has something to compute and its client reads."""
        if live.failure is None and live.session.has_work and not live.crowded and live not in self._due:
            live.since = time.monotonic()
            self._due[live] = None
            self._wake.set()

    def leave(self, live: Live) -> None:
        """Its client has gone."""
        self._due.pop(live, None)

    async def run(self) -> None:
        """Compute until cancelled."""
        loop = asyncio.get_running_loop()
        begun = 0.0
        while True:
            if not self._due:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            self._idle.clear()
            await asyncio.sleep(max(0.0, begun + self._settings.batch_interval_s - loop.time()))
            begun = loop.time()
            lives = self._take()
            try:
                answers = await loop.run_in_executor(self._thread, _compute, [live.session for live in lives])
            except Exception as error:
                _log.exception("a batch of %d streams failed", len(lives))
                answers = [([], error)] * len(lives)
            self._measure(lives, loop.time() - begun)
            for live, (replies, failure) in zip(lives, answers, strict=True):
                live.say(replies, failure)
                self.submit(live)

    async def drained(self) -> None:
        """Wait until nothing is left to compute."""
        while self._due or not self._idle.is_set():
            await self._idle.wait()
            await asyncio.sleep(0)

    def close(self) -> None:
        """Stop the thread, once it has finished what it is at."""
        self._thread.shutdown(wait=False)

    def _take(self) -> list[Live]:
        """Who is computed for in this turn: all who keep up, and some of those who are behind, in turns."""
        lives, behind = [], 0
        for live in list(self._due):
            if live.waits_s > TURN_S:
                behind += 1
                if behind > MAX_BEHIND:
                    continue
            lives.append(live)
            del self._due[live]
        return lives

    def _measure(self, lives: list[Live], busy_s: float) -> None:
        if not lives:
            return
        now = time.monotonic()
        waited = max(now - live.since for live in lives)
        self.lag_s += 0.1 * (waited - self.lag_s)
        self._metrics.batch(self._name, len(lives), busy_s, waited)


class Engine:
    """The batchers of all recognisers, and who may join them.

    A stream takes the share of the server that it would have among as many of its recogniser alone as the server bears.
    """

    def __init__(self, recognizers: Sequence[Recognizer], settings: Settings, metrics: Metrics) -> None:
        self.closing = False
        self.max_streams = settings.max_streams or 1
        self._settings, self._metrics = settings, metrics
        self._batchers = {each.card.name: Batcher(each, settings, metrics) for each in recognizers}
        self._lives: set[Live] = set()
        self._addresses: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to compute; to be called where the event loop runs."""
        self._tasks = [asyncio.create_task(batcher.run()) for batcher in self._batchers.values()]

    @property
    def num_streams(self) -> int:
        """How many sockets are open."""
        return len(self._lives)

    @contextmanager
    def joined(self, session: Session, address: str) -> Iterator[Live]:
        """A place among the live streams, for as long as the block lasts.

        Raises:
            ProtocolError: if the server can compute for nobody more or is about to stop, or if too many come
                from this address.
        """
        if refusal := self.refusal():
            raise refusal
        limited = self._settings.limit_loopback or not is_loopback(address)
        if limited and self._addresses[address] >= self._settings.max_streams_per_address:
            raise ProtocolError("too_many", "too many streams from this address; close one first")
        live = Live(session, self._settings)
        self._lives.add(live)
        self._addresses[address] += 1
        self._metrics.streams.inc()
        try:
            yield live
        finally:
            self._lives.discard(live)
            self._addresses[address] -= 1
            self._addresses += Counter()  # forgets those who have none left
            self._metrics.streams.dec()
            if session.phase is not Phase.WAITING:
                self._batcher(session).leave(live)

    def admit(self, live: Live) -> None:
        """Let a stream be computed, now that its recogniser is known.

        Raises:
            ProtocolError: if that recogniser cannot compute for it.
        """
        name = live.session.audio.recognizer.card.name
        if refusal := self.refusal(name, besides=live):
            raise refusal
        live.recognizer = name

    def refusal(self, recognizer: str | None = None, besides: Live | None = None) -> ProtocolError | None:
        """Why another stream of this recogniser, or of any, would not be taken, if so."""
        if self.closing:
            return ProtocolError("closing", "the server is about to stop; connect again in a moment")
        others = [live.recognizer for live in self._lives if live is not besides]
        taken = sum(map(self._share, others))
        for name in self._batchers if recognizer is None else [recognizer]:
            late = name in others and self._batchers[name].lag_s > self._settings.max_lag_s
            if taken + self._share(name) <= WHOLE and not late:
                return None
        return ProtocolError("busy", f"the server computes for {len(others)} streams, no more; try again later")

    def submit(self, live: Live) -> None:
        """Something has come for this session."""
        self._batcher(live.session).submit(live)

    async def drain(self) -> None:
        """Take nobody new, compute what has come, tell everybody, and wait until they have been told."""
        self.closing = True
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                for batcher in self._batchers.values():
                    await batcher.drained()
                for live in list(self._lives):
                    live.say([], ProtocolError("closing", "the server is about to stop; connect again in a moment"))
                while self._lives:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            _log.warning("%d streams were cut off", len(self._lives))

    async def stop(self) -> None:
        """End all tasks and threads."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for batcher in self._batchers.values():
            batcher.close()

    def _share(self, recognizer: str | None) -> float:
        """Of what the server can compute, what a stream takes; as little as any while its recogniser is not known."""
        return 1 / self._settings.streams_each.get(recognizer or "", self.max_streams)

    def _batcher(self, session: Session) -> Batcher:
        return self._batchers[session.audio.recognizer.card.name]


def _compute(sessions: list[Session]) -> list[Answer]:
    return [written(each) for each in answer(sessions)]


def written(replies: list[Reply] | Exception) -> Answer:
    """Replies as they are sent, or why there are none."""
    if isinstance(replies, Exception):
        return [], replies
    return [reply.model_dump_json() for reply in replies], None


def told(error: Exception) -> ProtocolError:
    """What a client is told about a failure."""
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, VocaffectError):
        return ProtocolError("bad_audio", str(error))
    return ProtocolError("internal", "the server failed; its log says why")
