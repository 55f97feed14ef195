"""How long a live stream takes to make up its mind: the first stable decision after speech onset.

    VOCAFFECT_DATA=... python benchmarks/decision.py [lstm live accurate mine.onnx] [--corpus ravdess] [--clips 240]

Clips, drawn by a seed, go in chunks of 100 ms through the session that the server keeps for a socket. Times count from
where the clip grows loud (`vocaffect.decision.onset_s`) in sound heard, so they are the same on every machine; what
computing adds to them is shown apart. The shipped recognisers have learned from RAVDESS, all actors: of them the
times are measured there, not what they are worth; `--speakers` tests a fold's recogniser on those it never heard.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from vocaffect.audio import Samples, read_clip
from vocaffect.decision import TARGET_S, Settled, onset_s, settled, settling
from vocaffect.files import cache_folder
from vocaffect.manifest import Manifest, Utterance
from vocaffect.metrics import confusion, uar
from vocaffect.recognizer import Recognizer
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.protocol import Hello, Reply, Update
from vocaffect.server.session import Session, answer
from vocaffect.sources import read_clips
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

CHUNK, MAX_STREAM_S = seconds_to_samples(0.1), 600.0


def stream(recognizer: Recognizer, samples: Samples) -> tuple[list[Update], list[float]]:
    """Every update that a socket's client would get, and the seconds that each chunk took."""
    session = Session(Catalogue([recognizer]), MAX_STREAM_S)
    session.open(Hello(version=1, sample_rate=SAMPLE_RATE, format="float32"))
    updates, took = [], []
    for start in range(0, len(samples), CHUNK):
        session.binary(samples[start : start + CHUNK].astype("<f4").tobytes())
        begun = time.perf_counter()
        updates += told(session)
        took.append(time.perf_counter() - begun)
    session.text('{"type": "end"}')
    return updates + told(session), took


def told(session: Session) -> list[Update]:
    replies: list[Reply] | Exception = answer([session])[0]
    if isinstance(replies, Exception):
        raise replies
    return [reply for reply in replies if isinstance(reply, Update)]


def measure(recognizer: Recognizer, manifest: Manifest, clips: list[Utterance]) -> dict[str, Any]:
    found: list[Settled | None] = []
    whole, took = [], list[float]()
    for clip in clips:
        samples = read_clip(manifest.audio_path(clip)).samples
        updates, times = stream(recognizer, samples)
        found.append(settled(updates, onset_s(samples)))
        whole.append(recognizer.recognize(samples).label)
        took += times
    labels = recognizer.labels
    known = [(labels.index(c.emotion), labels.index(s.label)) for c, s in zip(clips, found, strict=True) if s]
    targets, said = np.array(known).T
    result = {**settling(found, whole), "uar": uar(confusion(targets, said, len(labels)))}
    return {**result, "chunk_ms": {"median": 1000 * np.median(took), "p99": 1000 * np.quantile(took, 0.99)}}


def report(name: str, found: dict[str, Any]) -> None:
    def both(measured: dict[str, float | None]) -> str:
        shown = ["never" if value is None else f"{value:.2f}" for value in measured.values()]
        return f"{shown[0]:>7} {shown[1]:>7}"

    print(f"{name}: {found['num_clips']} clips, {found['settled']:.1%} settled on a label")
    print(f"  first label, s (median, p90)          {both(found['first_s'])}")
    print(f"  stable decision, s (median, p90)      {both(found['settled_s'])}   (target: median <= {TARGET_S:g})")
    print(f"  within {TARGET_S:g} s                            {found['within_1_s']:7.1%}")
    print(f"  stable label is the whole clip's      {found['as_whole']:7.1%}")
    print(f"  UAR of the stable labels              {found['uar']:7.1%}")
    print(f"  computing a chunk, ms (median, p99)   {both(found['chunk_ms'])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recognizers", nargs="*", default=["lstm", "live", "accurate"])
    parser.add_argument("--data-root", default=os.environ.get("VOCAFFECT_DATA"))
    parser.add_argument("--corpus", default="ravdess")
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speakers", default="", help="only these, with commas: ravdess-01,ravdess-11")
    given = parser.parse_args()
    if given.data_root is None:
        print("needs real speech: set VOCAFFECT_DATA")
        return
    manifest = read_clips(given.corpus, Path(given.data_root), partial=True, cache=cache_folder())
    speakers = [name for name in given.speakers.split(",") if name]
    among = [each for each in manifest.utterances if not speakers or each.speaker in speakers]
    drawn = np.random.default_rng(given.seed).permutation(len(among))[: given.clips]
    clips = [among[index] for index in sorted(drawn)]
    late = False
    for name in given.recognizers:
        found = measure(Recognizer.load(name), manifest, clips)
        report(name, found)
        late |= (found["settled_s"]["median"] or np.inf) > TARGET_S
    sys.exit(late)


if __name__ == "__main__":
    main()
