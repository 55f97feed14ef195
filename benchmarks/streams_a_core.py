"""How many live streams a core carries: one frame recogniser against another, samples to logits, on one thread.

    python benchmarks/streams_a_core.py [live] [--peer lstm]

Streams are stepped together in batches, 96 ms of samples at a time as they come off the wire, rounded to whole hops.
Rounds alternate; the fastest of each counts, in CPU time.
"""

import argparse
import time

import numpy as np

from vocaffect.bundle import golden_signal
from vocaffect.recognizer import Recognizer
from vocaffect.units import SAMPLE_RATE
from vocaffect.utterance import fresh_state

CHUNK_S, ROUNDS, BATCHES = 0.096, 5, (1, 8, 32)


def cost(recognizer: Recognizer, batch: int) -> float:
    """CPU seconds for a second of one stream."""
    hop = recognizer.card.hop
    size = round(CHUNK_S * SAMPLE_RATE / hop) * hop
    samples = np.tile(golden_signal(size / SAMPLE_RATE)[None, :size], (batch, 1))
    state, steps = fresh_state(recognizer.card, batch), max(2, 32 // batch)
    start = time.process_time()
    for _ in range(steps):
        state = recognizer.run(samples, state).state
    return (time.process_time() - start) / (steps * batch * size / SAMPLE_RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizer", nargs="?", default="live")
    parser.add_argument("--peer", default="lstm")
    given = parser.parse_args()
    both = [Recognizer.load(name, threads=1) for name in (given.recognizer, given.peer)]
    for batch in BATCHES:
        rounds = [[cost(recognizer, batch) for recognizer in both] for _ in range(ROUNDS)]
        own, peer = np.min(rounds, axis=0)
        print(
            f"{batch:3} streams together: {1 / own:.0f} a core and {1 / peer:.0f} of the peer, "
            f"{1000 * own:.1f} and {1000 * peer:.1f} ms of CPU a second, ratio {own / peer:.2f}"
        )


if __name__ == "__main__":
    main()
