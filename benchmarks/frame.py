"""One 10 ms frame, samples to posterior, one thread: the shipped recogniser against the same LSTM in eager torch.

    python benchmarks/frame.py [--recognizer lstm]

The peer is the same front end and an LSTM of the same size run in torch as they are, state carried along, as a backend
does that keeps to torch. Rounds alternate; the fastest of each counts, in CPU time, since whatever else the machine
does can only slow a round down.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from vocaffect.bundle import golden_signal
from vocaffect.features import FrontEnd
from vocaffect.models import Network, build_model
from vocaffect.recognizer import Recognizer
from vocaffect.utterance import fresh_state

ROUNDS, FRAMES = 15, 300


def ours(name: str) -> Callable[[np.ndarray], object]:
    recognizer = Recognizer.load(name, threads=1)
    state = {"now": fresh_state(recognizer.card)}

    def step(samples: np.ndarray) -> object:
        output = recognizer.run(samples, state["now"])
        state["now"] = output.state
        return output.posterior

    return step


def eager() -> Callable[[np.ndarray], object]:
    torch.manual_seed(0)
    network = Network(FrontEnd({"mfcc": {}}), build_model("lstm", num_features=13, num_labels=8)).eval()
    state = {"now": network.initial_state(1)}

    def step(samples: np.ndarray) -> object:
        with torch.inference_mode():
            output, state["now"] = network(torch.from_numpy(samples), state["now"])
            return torch.softmax(output.logits, dim=-1).numpy()

    return step


def seconds_per_frame(step: Callable[[np.ndarray], object], signal: np.ndarray) -> float:
    start = time.process_time()
    for frame in range(FRAMES):
        step(signal[None, frame * 160 : (frame + 1) * 160])
    return (time.process_time() - start) / FRAMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizer", default="lstm")
    torch.set_num_threads(1)
    signal = golden_signal(FRAMES / 100 + 0.01)
    one, other = ours(parser.parse_args().recognizer), eager()
    seconds_per_frame(one, signal), seconds_per_frame(other, signal)
    rounds = [(seconds_per_frame(one, signal), seconds_per_frame(other, signal)) for _ in range(ROUNDS)]
    our, their = (1e6 * min(column) for column in zip(*rounds, strict=True))
    print(
        f"one frame of 10 ms, samples to posterior, one thread, fastest of {ROUNDS} rounds of {FRAMES} frames, CPU time"
    )
    print(f"vocaffect (onnxruntime)  {our:7.0f} us")
    print(f"eager torch              {their:7.0f} us")
    print(f"ratio                    {their / our:7.1f}     (target 8)")


if __name__ == "__main__":
    main()
