"""A window of 4 s, one thread: the encoder of `accurate` against the whole of Moonshine base, both in eight bits.

    python benchmarks/encoder.py [--encoder encoder_model.onnx] [--layers 5] [--recognizer FILE]

The peer is Moonshine's own ONNX file with all eight layers, which `vocaffect encoders fetch moonshine-base` gets;
without it nothing can be compared. Ours is a window from samples to posterior, layers up to the one named; with weights
drawn by lot where no bundle is named, which changes no time. Rounds alternate; the fastest of each counts, in CPU time.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from vocaffect.bundle import golden_signal
from vocaffect.encoders.store import place_of
from vocaffect.export import to_onnx
from vocaffect.features import FrontEnd
from vocaffect.models import Network, build_model
from vocaffect.models.eight_bits import in_eight_bits

ROUNDS, WINDOW_S, RATE = 15, 4.0, 16_000
MOONSHINE = {"model_type": "moonshine"}


def drawn(layers: int) -> bytes:
    """The recogniser of configs/accurate.yaml, with weights drawn by lot."""
    torch.manual_seed(0)
    frontend = FrontEnd({"waveform": {}}, win_s=0.010, level_prior_s=None)
    heard = {"layers": list(range(2, layers + 1)), "mix": "concatenated"}
    model = build_model("encoder", num_features=160, num_labels=8, encoder=MOONSHINE, **heard)
    return to_onnx(in_eight_bits(Network(frontend, model)), int(WINDOW_S * RATE))


def runner(model: bytes | str, samples: np.ndarray) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    first, *states = session.get_inputs()
    feed = {first.name: samples, **{each.name: np.zeros((1, each.shape[1]), np.float32) for each in states}}
    return lambda: session.run(None, feed)


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, default=place_of("moonshine-base"))
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--recognizer", type=Path)
    given = parser.parse_args()
    if not given.encoder.is_file():
        print(f"left out: there is no {given.encoder}, get it by `vocaffect encoders fetch moonshine-base`")
        return
    samples = golden_signal(WINDOW_S)[None]
    one = runner(str(given.recognizer) if given.recognizer else drawn(given.layers), samples)
    other = runner(str(given.encoder), samples)
    one(), other()
    rounds = [(milliseconds(one), milliseconds(other)) for _ in range(ROUNDS)]
    our, their = (min(column) for column in zip(*rounds, strict=True))
    print(f"a window of {WINDOW_S:g} s, one thread, fastest of {ROUNDS} rounds, CPU time")
    print(f"ours, up to layer {given.layers}        {our:6.1f} ms")
    print(f"the whole encoder           {their:6.1f} ms")
    print(f"share                       {our / their:6.2f}     (target 0.6)")


if __name__ == "__main__":
    main()
