"""`vocaffect recognize one.wav`, whole process, against a script in librosa and torch that does the same.

    python benchmarks/one_file.py

CPU seconds (user and system) of each process from start to end, as the operating system counts them; the two take
turns, and the ratio is the median over rounds. Ours is asked for `lstm`, an LSTM too. The script loads the clip,
computes 13 MFCCs with librosa, and runs an LSTM of the same size in torch; its weights are random, which costs as much.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from vocaffect.bundle import golden_signal

ROUNDS = 5
PEER = """
import sys
import librosa
import torch
samples, rate = librosa.load(sys.argv[1], sr=16000)
features = librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=13, n_fft=400, hop_length=160)
lstm, head = torch.nn.LSTM(13, 256, 2, batch_first=True), torch.nn.Linear(256, 8)
with torch.no_grad():
    hidden, _ = lstm(torch.from_numpy(features.T[None]))
    print(torch.softmax(head(hidden[:, -1]), -1))
"""


def cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wav, script = Path(folder, "one.wav"), Path(folder, "peer.py")
        soundfile.write(wav, np.tile(golden_signal(2.0), 2), 16_000)
        script.write_text(PEER)
        ours = [str(Path(sys.executable).with_name("vocaffect")), "recognize", str(wav), "--recognizer", "lstm"]
        theirs = [sys.executable, str(script), str(wav)]
        cpu_seconds(ours), cpu_seconds(theirs)
        rounds = [(cpu_seconds(ours), cpu_seconds(theirs)) for _ in range(ROUNDS)]
    our, their = (float(np.median(column)) for column in zip(*rounds, strict=True))
    ratio = float(np.median([fast / slow for fast, slow in rounds]))
    print(f"recognise one file of 4 s, whole process, CPU seconds, median of {ROUNDS} rounds")
    print(f"vocaffect recognize  {our:6.2f} s")
    print(f"librosa + torch      {their:6.2f} s")
    print(f"ratio                {ratio:6.2f}     (target at most 0.25)")


if __name__ == "__main__":
    main()
