"""Posteriors that teach: what probes of a speech encoder say about RAVDESS clips whose speakers they never heard.

For each fold of ravdess-emobox6 the clips of its training and validation speakers are shared out to five inner folds
by speaker. Probes of four inner folds speak about the fifth; the outer fold's test speakers take no part at all. A
probe is a logistic regression on the mean and deviation over time of a layer's output, less the speaker's own mean,
shrunk to the corpus' by the weight of five clips; the log posteriors of five layers are averaged, and one temperature
is fitted. What is known of a speaker here (all clips of theirs) is more than a recogniser knows who has just begun
to listen: it is a teacher's privilege.

    python configs/teachers/make.py --encoder encoder_model.onnx --data-root ~/corpora

The encoder is that of Moonshine base (MIT): `dist/model/base/quantized/encoder_model.onnx` in the npm package
@usefulsensors/moonshine-js 0.1.14.
"""

import argparse
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import rich
from numpy.typing import NDArray
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from vocaffect.audio import read_pcm
from vocaffect.corpora import prepare
from vocaffect.labels import EMOTIONS
from vocaffect.manifest import Manifest
from vocaffect.metrics import confusion, fit_temperature, uar
from vocaffect.pcm import from_pcm
from vocaffect.posteriors import Posteriors
from vocaffect.splits import make_split

PROTOCOL, NUM_FOLDS = "ravdess-emobox6", 6
LAYERS = (2, 3, 4, 5, 6)
INVERSE_PENALTY, PRIOR_CLIPS = 0.03, 5.0
SHA256 = "1dd9ab0a7f987113d30affcba5a068d11c8f90fa0223caa3e491ade431ad9751"

Floats = NDArray[np.floating[Any]]
Logs = dict[tuple[int, int], Floats]


def pooled(encoder: Path, manifest: Manifest) -> Floats:
    """Mean and deviation over time of each layer's output, ``(num_clips, num_layers, 2 * size)``."""
    names = [f"/layers.{layer - 1}/Add_1_output_0" for layer in LAYERS]
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.onnx"
        onnx.utils.extract_model(str(encoder), str(part), ["input_values"], names, check_model=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(part), options, providers=["CPUExecutionProvider"])
    rows = []
    for utterance in track(manifest.utterances, "hearing clips"):
        samples = from_pcm(read_pcm(manifest.audio_path(utterance)))
        outputs = session.run(names, {"input_values": samples[None]})
        rows.append([np.concatenate([output[0].mean(axis=0), output[0].std(axis=0)]) for output in outputs])
    return np.array(rows)


def less_the_speaker(vectors: Floats, speakers: NDArray[np.str_]) -> Floats:
    """Vectors less their speaker's mean, which is shrunk to the mean over speakers."""
    means = {name: vectors[speakers == name].mean(axis=0) for name in np.unique(speakers)}
    centre, result = np.mean([*means.values()], axis=0), vectors.copy()
    for name, mean in means.items():
        own, count = speakers == name, float((speakers == name).sum())
        result[own] -= (count * mean + PRIOR_CLIPS * centre) / (count + PRIOR_CLIPS)
    return result


def probes(train: Floats, targets: NDArray[np.int_], test: Floats) -> Floats:
    """The mean over layers of what their probes say about the test clips."""
    total = np.zeros((len(test), len(EMOTIONS)))
    for layer in range(len(LAYERS)):
        mean, deviation = train[:, layer].mean(axis=0), train[:, layer].std(axis=0) + 1e-6
        probe = LogisticRegression(C=INVERSE_PENALTY, max_iter=300, tol=1e-3)
        probe.fit((train[:, layer] - mean) / deviation, targets)
        total += probe.predict_log_proba((test[:, layer] - mean) / deviation) / len(LAYERS)
    return total


def across_folds(vectors: Floats, targets: NDArray[np.int_], test_of: list[NDArray[np.bool_]]) -> Logs:
    """For each two folds, what probes of the other four say about these two."""
    found: Logs = {}
    for one in range(NUM_FOLDS):
        for other in range(one + 1, NUM_FOLDS):
            left_out = test_of[one] | test_of[other]
            full = np.zeros((len(targets), len(EMOTIONS)))
            full[left_out] = probes(vectors[~left_out], targets[~left_out], vectors[left_out])
            found[one, other] = full
    return found


def main() -> None:
    """Hear the clips and write every teacher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    given = parser.parse_args()
    if hashlib.sha256(given.encoder.read_bytes()).hexdigest() != SHA256:
        parser.error(f"{given.encoder} is not the encoder that was used: its SHA-256 should be {SHA256}")
    manifest = prepare("ravdess", given.data_root)
    make(manifest, pooled(given.encoder, manifest))


def make(manifest: Manifest, heard: Floats) -> None:
    """Write a teacher of each fold, and one of all of RAVDESS."""
    targets, speakers = facts(manifest)
    vectors = less_the_speaker(heard, speakers)
    paths = np.array([utterance.path for utterance in manifest])
    test_of = [np.isin(paths, make_split(manifest, PROTOCOL, fold).test) for fold in range(1, NUM_FOLDS + 1)]
    logs = across_folds(vectors, targets, test_of)
    for fold, tested in enumerate(test_of):
        inner = {other: logs[min(fold, other), max(fold, other)] for other in range(NUM_FOLDS) if other != fold}
        said = np.sum([inner[other] * test_of[other][:, None] for other in inner], axis=0)
        write(f"{PROTOCOL}_fold_{fold + 1}", manifest.select((~tested).tolist()), said[~tested])
    alone = np.sum(
        [probes(vectors[~tested], targets[~tested], vectors) * tested[:, None] for tested in test_of], axis=0
    )
    write("ravdess_all", manifest, alone)
    write_leaky_control(manifest, heard)


def write_leaky_control(manifest: Manifest, heard: Floats) -> None:
    """Write the teacher of the training side of seed-random: each of ten parts, as probes of the other nine see it."""
    train = make_split(manifest, "seed-random", 1).train
    kept = np.isin([utterance.path for utterance in manifest], train)
    own = manifest.select(kept.tolist())
    targets, speakers = facts(own)
    vectors, said = less_the_speaker(heard[kept], speakers), np.zeros((len(own), len(EMOTIONS)))
    parts = np.random.default_rng(0).permutation(len(own)) % 10
    for part in range(10):
        rest = parts != part
        said[~rest] = probes(vectors[rest], targets[rest], vectors[~rest])
    write("seed-random", own, said)


def facts(manifest: Manifest) -> tuple[NDArray[np.int_], NDArray[np.str_]]:
    """The target and the speaker of each clip."""
    targets = np.array([EMOTIONS.index(utterance.emotion) for utterance in manifest])
    return targets, np.array([utterance.speaker for utterance in manifest])


def write(name: str, manifest: Manifest, logs: Floats) -> None:
    """Write the posteriors of clips, at the temperature that suits them, and how good they are."""
    targets, speakers = facts(manifest)
    temperature = float(fit_temperature(logs, targets))
    values = np.exp(logs / temperature)
    Posteriors(
        tuple(EMOTIONS),
        tuple(utterance.path for utterance in manifest),
        tuple(utterance.sha256 for utterance in manifest),
        (values / values.sum(axis=1, keepdims=True)).astype(np.float32),
        ("probes of Moonshine base",),
        frozenset(speakers),
    ).write(Path(__file__).parent / f"{name}.npz")
    score = uar(confusion(targets, values.argmax(axis=1), len(EMOTIONS)))
    rich.print(f"{name}: UAR {score:.1%} on clips that the probes never heard, temperature {temperature:.2f}")


if __name__ == "__main__":
    main()
