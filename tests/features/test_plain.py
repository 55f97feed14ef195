"""Plain functions as features: what they hear, where their values land, and what is said when they misbehave."""

from collections.abc import Iterator
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.export import to_onnx
from vocaffect.features import FrontEnd, register_feature, registry
from vocaffect.models import Network, build_model

Params = dict[str, Any]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a test registers, it registers for itself."""
    known = dict(registry._REGISTRY)
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(known)


def values(frontend: FrontEnd, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(frontend(torch.from_numpy(np.atleast_2d(samples)))[0].features.numpy())


def noise(num_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)


def test_librosas_chroma_as_it_is_written_there() -> None:
    @register_feature("chroma_test")
    def build_chroma(wav: NDArray[np.float32], sr: int, params: Params) -> NDArray[np.float32]:
        return np.asarray(librosa.feature.chroma_stft(y=wav, sr=sr, **params))

    samples = noise(8_000)
    frontend = FrontEnd({"mfcc": {}, "chroma_test": {"hop_length": 160, "tuning": 0.0}})
    assert frontend.streaming == "window"
    theirs = librosa.feature.chroma_stft(y=samples, sr=16_000, hop_length=160, tuning=0.0)
    assert theirs.shape == (12, 51)
    np.testing.assert_array_equal(values(frontend, samples)[0, :, 13:], np.delete(theirs.T, 25, axis=0))


def test_values_land_where_they_were_in_time() -> None:
    """A function with a slow hop of its own: its column number at each frame."""

    @register_feature("columns_test")
    def columns(wav: NDArray[np.float32], sr: int, params: Params) -> NDArray[np.float32]:
        return np.arange(5, dtype=np.float32)[None]

    frontend = FrontEnd({"columns_test": {}})
    np.testing.assert_array_equal(values(frontend, noise(1_600))[0, :, 0], np.arange(10) // 2)


def test_it_never_hears_what_clips_are_filled_up_with() -> None:
    """Behind in a batch, in front in a window; and of silence there is nothing to ask."""

    @register_feature("length_test")
    def length(wav: NDArray[np.float32], sr: int, params: Params) -> NDArray[np.float32]:
        return np.array([len(wav), np.abs(wav).max()])

    frontend, clip = FrontEnd({"length_test": {}}), noise(3_200)
    rows = np.stack([np.pad(clip, (0, 1_600)), np.pad(clip, (1_600, 0)), np.zeros(4_800, np.float32)])
    behind, before, silent = values(frontend, rows)
    assert (behind[:20] == values(frontend, clip)[0]).all()
    assert (before[10:] == behind[:20]).all()
    assert (behind[0, 0], np.abs(behind[20:]).max(), np.abs(silent).max()) == (3_200, 0, 0)


def test_a_long_clip_is_heard_whole() -> None:
    register_feature("count_test")(lambda wav, sr, params: np.array([len(wav)]))
    samples = noise(240_000)
    assert (values(FrontEnd({"mfcc": {}, "count_test": {}}), samples)[0, :, 13] == 240_000).all()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.full((2, 3), np.nan), "no numbers: use numpy.nan_to_num"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\): return \(num_features, num_frames\)"),
        (np.zeros((2, 0)), r"shape \(2, 0\)"),
        ("words", "feature 'bad_test' failed on 16000 samples: ValueError"),
        (None, "feature 'bad_test'"),
    ],
)
def test_what_is_no_feature_is_refused_when_it_is_built(result: object, message: str) -> None:
    register_feature("bad_test")(lambda wav, sr, params: result)  # type: ignore[type-var]
    with pytest.raises(VocaffectError, match=message):
        FrontEnd({"bad_test": {}})


def test_a_width_that_changes_and_a_function_that_fails_midway() -> None:
    @register_feature("fickle_test")
    def fickle(wav: NDArray[np.float32], sr: int, params: Params) -> NDArray[np.float32]:
        if len(wav) < 1_000:
            raise IndexError("too short for me")
        return np.zeros((len(wav) // 1_600, 4), np.float32)

    frontend = FrontEnd({"fickle_test": {}})
    with pytest.raises(VocaffectError, match="the same for every clip"):
        values(frontend, noise(3_200))
    with pytest.raises(VocaffectError, match="'fickle_test' failed on 800 samples: IndexError: too short for me"):
        values(frontend, noise(800))


def test_no_graph_holds_one() -> None:
    register_feature("mean_test")(lambda wav, sr, params: np.array([wav.mean()]))
    frontend = FrontEnd({"mean_test": {}})
    network = Network(frontend, build_model("lstm", num_features=1, num_labels=2, hidden_size=4))
    assert network.streaming == "window"
    with pytest.raises(VocaffectError, match="'mean_test' is a plain function, which no file can hold"):
        to_onnx(network)


def test_only_features_and_functions_are_features() -> None:
    for thing in (int, 3):
        with pytest.raises(VocaffectError, match=r"no vocaffect\.features\.Feature"):
            register_feature("thing_test")(thing)  # type: ignore[type-var]
