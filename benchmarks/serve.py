"""Live streams on a server of this machine, the client beside it: cost of a chunk, streams in time, and overload.

    python benchmarks/serve.py                    all three
    python benchmarks/serve.py cost | streams | overload

Streams of the shipped `lstm` send 100 ms chunks of a signal that is speech four fifths of the time.

cost: processor time of the server for each chunk, computed together against computed one by one in the event loop
("inline", the same server but for that); both take the same streams, in turns.
streams: how many streams at once get 99 of 100 updates within 100 ms of the moment their chunk was due, by bisection.
overload: a server is offered three times the streams that it has found it can bear; how the rest are refused, what
becomes of those admitted, and how long afterwards a new stream is taken.
"""

import json
import sys
import time
import urllib.request

import numpy as np
from _server import Served, serving

from vocaffect.bundle import golden_signal
from vocaffect.load import Load, load

SIGNAL = golden_signal(10.0)
TOGETHER, ROUNDS = 20, 3
MOST, STEP = 480, 20
LATEST_S = 0.1
LSTM = ("--recognizer", "lstm")
INLINE = [sys.executable, __file__, "--inline", "serve", *LSTM, "--port", "0"]
FREE = {"max_streams": 4_000, "max_lag_s": 1_000}
"""Nobody is refused: the measurement itself tells what is too much."""


def serve_inline() -> None:
    """The same server, but every message is computed at once, alone, where it arrives."""
    from vocaffect.cli import main
    from vocaffect.server import engine
    from vocaffect.server.session import answer

    def submit(self: engine.Engine, live: engine.Live) -> None:
        while live.session.has_work:
            (answered,) = answer([live.session])
            live.say(*engine.written(answered))

    engine.Engine.submit = submit  # type: ignore[method-assign]
    main(sys.argv[2:])


def chunk_us(served: Served, streams: int) -> float:
    """Processor microseconds of the server for each chunk that it answers."""
    before = served.cpu_s()
    result = load(served.url, streams, 5.0, SIGNAL, ramp_s=0.5, warm_s=0.0)
    sent = streams * 10 * 5.25  # half a ramp on average, all of it paid for
    assert result.admitted == streams, result
    return 1e6 * (served.cpu_s() - before) / sent


def cost() -> None:
    with serving(*LSTM, **FREE) as together, serving(command=INLINE, **FREE) as inline:
        for served in (together, inline):
            chunk_us(served, 5)
        rounds = [(chunk_us(together, TOGETHER), chunk_us(inline, TOGETHER)) for _ in range(ROUNDS)]
        crowd = [chunk_us(together, 5 * TOGETHER) for _ in range(ROUNDS)]
    ratio = float(np.median([fast / slow for fast, slow in rounds]))
    crowded = float(np.median(crowd)) / float(np.median([slow for _, slow in rounds]))
    print("processor time of the server for a chunk of 100 ms, median of rounds")
    print(f"together, {TOGETHER} streams    {np.median([fast for fast, _ in rounds]):8.0f} us")
    print(f"together, {5 * TOGETHER} streams   {np.median(crowd):8.0f} us")
    print(f"inline,   {TOGETHER} streams    {np.median([slow for _, slow in rounds]):8.0f} us")
    print(f"ratio at {TOGETHER} streams     {ratio:8.2f}")
    print(f"ratio at {5 * TOGETHER} streams    {crowded:8.2f}        (target at most 0.5)")


def in_time(streams: int, workers: int) -> Load | None:
    """The load of so many streams, if they are answered in time."""
    with serving("--workers", str(workers), *LSTM, **FREE) as served:
        time.sleep(2 * (workers > 1))
        result = load(served.url, streams, 8.0, SIGNAL, ramp_s=3.0, warm_s=2.0)
    numbers = result.to_dict()
    print(
        f"  {streams:4} streams, {workers} process(es): p50 {numbers['p50_ms']}, p99 {numbers['p99_ms']} ms", flush=True
    )
    fine = result.admitted == streams and not result.lost and len(result.waits_s) == result.num_chunks
    return result if fine and result.quantile(0.99) < LATEST_S else None


def most_streams(workers: int) -> int:
    """The largest number of streams, in steps, that are all answered in time."""
    low, high = 0, MOST // STEP + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if in_time(middle * STEP, workers) else (low, middle)
    return low * STEP


def streams() -> None:
    one, two = most_streams(1), most_streams(2)
    print(f"streams with p99 below 100 ms: {one} on one process, {two} on two     (target 300)")


def overload() -> None:
    with serving(*LSTM) as served:
        with urllib.request.urlopen(f"{served.url}/readyz") as answer:
            sustained = json.load(answer)["max_streams"]
        alone = load(served.url, sustained, 5.0, SIGNAL)
        crowd = load(served.url, 3 * sustained, 5.0, SIGNAL)
        ended = time.monotonic()
        while load(served.url, 1, 1.0, SIGNAL, ramp_s=0.0, warm_s=0.0).admitted == 0:
            time.sleep(0.1)
        recovered_s = time.monotonic() - ended - 1.2
    refused_s = max(crowd.refused_after_s, default=0.0)
    print(f"offered {3 * sustained} streams where {sustained} are taken")
    print(f"refused                   {crowd.refused}, lost {crowd.lost}")
    print(f"refused after, at most    {1000 * refused_s:7.0f} ms     (target < 100)")
    print(f"p99 alone                 {1000 * alone.quantile(0.99):7.0f} ms")
    print(f"p99 of those admitted     {1000 * crowd.quantile(0.99):7.0f} ms     (target < 100)")
    print(f"a new stream is taken after {max(recovered_s, 0):5.1f} s      (target < 5)")


def main() -> None:
    parts = {"cost": cost, "streams": streams, "overload": overload}
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    serve_inline() if sys.argv[1:2] == ["--inline"] else main()
