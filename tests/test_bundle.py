import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocaffect import bundle
from vocaffect.bundle import (
    Bundle,
    BundleError,
    Graph,
    golden_signal,
    load_bundle,
    read_card,
    resolve,
    seal,
    seal_fields,
    unseal,
    write_bundle,
)
from vocaffect.card import Card
from vocaffect.golden import golden_of, make_golden
from vocaffect.hops import one_hop
from vocaffect.utterance import softmax


@pytest.fixture(scope="module")
def sealed(toy_bundle: Path) -> bytes:
    return toy_bundle.read_bytes()


@pytest.fixture(scope="module")
def never_parsed(toy_bundle: Path) -> Callable[[bytes], str]:
    """Offers altered bytes to the loader and returns the refusal, made before onnxruntime is called."""
    path = toy_bundle.with_name("altered.onnx")

    def offer(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("was parsed"))
            with pytest.raises(BundleError) as refusal:
                load_bundle(path)
        return str(refusal.value)

    return offer


def reseal(toy: Any, **fields: Any) -> bytes:
    """A sealed bundle whose card has these fields instead, even where no valid card could have them."""
    return seal_fields(toy.model, {**toy.card.model_dump(), **fields})


def test_card_survives_and_the_model_still_runs(toy: Any, tmp_path: Path) -> None:
    path = toy.write(tmp_path / "x.onnx")
    card = read_card(path)
    assert card.model_copy(update={"digest": toy.card.digest}) == toy.card
    assert load_bundle(path).card == card
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert json.loads(model.metadata_props[0].value)["labels"] == toy.card.labels


def test_sealing_again_replaces_the_card(toy: Any) -> None:
    once = seal(toy.model, toy.card)
    other = toy.card.model_copy(update={"name": "other"})
    assert seal(once, other) == seal(toy.model, other)


def test_other_metadata_is_kept(toy: Any, tmp_path: Path) -> None:
    model = onnx.load_from_string(toy.model)
    onnx.helper.set_model_props(model, {"made_by": "somebody", "vocaffectation": "no"})
    write_bundle(tmp_path / "x.onnx", model.SerializeToString(), toy.card)
    kept = {entry.key for entry in onnx.load(tmp_path / "x.onnx").metadata_props}
    assert kept == {"made_by", "vocaffectation", "vocaffect"}


def test_every_flipped_bit_is_refused(sealed: bytes) -> None:
    altered = bytearray(sealed)
    for index in range(len(sealed)):
        for bit in range(8):
            altered[index] ^= 1 << bit
            with pytest.raises(BundleError, match="again"):
                unseal(bytes(altered))
            altered[index] = sealed[index]
    assert unseal(bytes(altered)).name == "toy-frame"


def test_every_cut_is_refused(sealed: bytes) -> None:
    for size in range(len(sealed)):
        with pytest.raises(BundleError, match="cut short"):
            unseal(sealed[:size])


@settings(deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_never_reaches_the_parser(
    sealed: bytes, never_parsed: Callable[[bytes], str], where: float, bit: int
) -> None:
    altered = bytearray(sealed)
    altered[int(where * len(sealed))] ^= 1 << bit
    never_parsed(bytes(altered))


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\x72", b"\x0a\x09vocaffect", b"\x12"]), max_size=6))
def test_any_bytes_are_refused_in_a_sentence(parts: list[bytes]) -> None:
    with pytest.raises(BundleError, match="again"):
        unseal(b"".join(parts))


@pytest.mark.parametrize("tail", [b"\0", b"x" * 100, b"\x72\x00"])
def test_added_bytes_are_refused(sealed: bytes, never_parsed: Callable[[bytes], str], tail: bytes) -> None:
    never_parsed(sealed + tail)


@pytest.mark.parametrize("data", [b"", b"RIFF....WAVE", b"hello there", b"\xff" * 50, bytes(50)])
def test_other_files_are_refused(never_parsed: Callable[[bytes], str], data: bytes) -> None:
    assert "altered.onnx" in never_parsed(data)


def test_a_model_without_a_card_is_refused(toy: Any, never_parsed: Callable[[bytes], str]) -> None:
    assert "no vocaffect bundle" in never_parsed(toy.model)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_unknown_format_version(toy: Any, never_parsed: Callable[[bytes], str], version: object) -> None:
    said = never_parsed(reseal(toy, format_version=version))
    assert f"format version {version}" in said
    assert "reads version 1" in said


@pytest.mark.parametrize("field", sorted(set(Card.model_fields) - {"format_version", "digest"}))
def test_a_missing_field_is_named(toy: Any, never_parsed: Callable[[bytes], str], field: str) -> None:
    fields = {name: value for name, value in toy.card.model_dump().items() if name != field}
    said = never_parsed(seal_fields(toy.model, fields))
    assert f"{field}: Field required" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", ["one"]),
        ("labels", ["a", "b", "a"]),
        ("labels", ["a", "b", "c", "d"]),
        ("hop", 0),
        ("sample_rate", 8000),
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("streaming", "sometimes"),
        ("window_s", -1.0),
        ("golden", {"seconds": 1e9, "posterior": [1, 0, 0], "tolerance": 1e-4}),
        ("golden", {"seconds": 1.0, "posterior": [1, 0, 0], "tolerance": 1.0}),
    ],
)
def test_impossible_values_are_refused(
    toy: Any, never_parsed: Callable[[bytes], str], field: str, value: object
) -> None:
    assert "is not valid" in never_parsed(reseal(toy, **{field: value}))


def test_an_unknown_field_is_refused(toy: Any, never_parsed: Callable[[bytes], str]) -> None:
    assert "extra: Extra inputs" in never_parsed(reseal(toy, extra=1))


def test_failing_golden_vector(toy: Any, tmp_path: Path) -> None:
    wrong = toy.card.golden.model_copy(update={"posterior": toy.card.golden.posterior[::-1]})
    path = tmp_path / "x.onnx"
    path.write_bytes(reseal(toy, golden=wrong.model_dump()))
    with pytest.raises(BundleError, match="fails its golden vector"):
        load_bundle(path)


def test_a_model_that_answers_nan_is_refused(toy: Any, tmp_path: Path) -> None:
    model = onnx.load_from_string(toy.model)
    head = next(tensor for tensor in model.graph.initializer if tensor.name == "head")
    head.CopyFrom(onnx.numpy_helper.from_array(np.full((4, 3), np.nan, np.float32), "head"))
    with pytest.raises(BundleError, match="golden"):
        write_bundle(tmp_path / "x.onnx", model.SerializeToString(), toy.card)


def test_graph_and_card_must_agree(toys: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"disagree about next_state\.voice, state\.voice"):
        write_bundle(tmp_path / "x.onnx", toys().model, toys(lasting=True).card)
    assert not list(tmp_path.iterdir())


def with_posterior(model: bytes, temperature: float) -> bytes:
    """The toy's graph with an output more."""
    graph = onnx.load_from_string(model)
    [logits] = [value for value in graph.graph.output if value.name == "logits"]
    posterior = onnx.ValueInfoProto()
    posterior.CopyFrom(logits)
    posterior.name = "posterior"
    graph.graph.output.append(posterior)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(temperature, np.float32), "temperature"))
    for kind, inputs, said in (
        ("Div", ["logits", "temperature"], "calibrated"),
        ("Softmax", ["calibrated"], "posterior"),
    ):
        graph.graph.node.append(onnx.helper.make_node(kind, inputs, [said]))
    return bytes(graph.SerializeToString())


@pytest.mark.parametrize("kind", ["frame", "window"])
def test_a_graph_may_compute_the_posterior_or_leave_it(toys: Any, tmp_path: Path, kind: str) -> None:
    toy = toys(kind)
    old = load_bundle(toy.write(tmp_path / "old.onnx"))
    write_bundle(tmp_path / "new.onnx", with_posterior(toy.model, toy.card.temperature), toy.card)
    new = load_bundle(tmp_path / "new.onnx")
    assert (old.graph.says_posterior, new.graph.says_posterior) == (False, True)
    signal = golden_signal(1.0)[None]
    for ours, theirs in zip(new.run(signal)[:4], old.run(signal)[:4], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_posterior_at_another_temperature_is_refused(toy: Any, tmp_path: Path) -> None:
    other = with_posterior(toy.model, 1.01 * toy.card.temperature)
    kept = toy.card.model_copy(update={"golden": make_golden(other, toy.card)})
    with pytest.raises(BundleError, match="disagree about the temperature"):
        write_bundle(tmp_path / "x.onnx", other, kept)


def test_a_hop_is_run_alone_only_if_that_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit: one of a hop's constants is moved by less than what shows in a posterior."""

    def other(model: bytes) -> bytes:
        step = onnx.load_from_string(one_hop(model) or b"")
        [bias] = [tensor for tensor in step.graph.initializer if tensor.name.endswith("fc.bias")]
        moved = onnx.numpy_helper.to_array(bias) + np.float32(1e-6)
        bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
        return bytes(step.SerializeToString())

    assert load_bundle(resolve("lstm")).hop is not None
    monkeypatch.setattr(bundle, "one_hop", other)
    assert load_bundle(resolve("lstm")).hop is None


def test_a_graph_that_onnxruntime_does_not_know(toy: Any, tmp_path: Path) -> None:
    model = onnx.load_from_string(toy.model)
    model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(BundleError, match="pip install -U onnxruntime"):
        write_bundle(tmp_path / "x.onnx", model.SerializeToString(), toy.card)


def test_a_refused_write_leaves_the_old_file(toys: Any, toy_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(toy_bundle.read_bytes())
    with pytest.raises(BundleError):
        write_bundle(path, toys().model, toys("window").card)
    assert path.read_bytes() == toy_bundle.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_a_golden_vector_is_one_that_the_last_bits_of_a_signal_do_not_move(toys: Any, tmp_path: Path) -> None:
    class Rounded:
        """Steps as they come of rounded activations, whose place the last bits decide; at 1.5 s they are small."""

        def run(self, wanted: Any, feed: dict[str, Any]) -> list[Any]:
            samples = feed["samples"]
            step = 0.02 if samples.shape[1] == 24_000 else 2.0
            sums = samples.astype(np.float64).sum(axis=1)
            logits = np.zeros((len(samples), samples.shape[1] // toy.card.hop, 3), np.float32)
            logits[..., 0] = step * (np.floor(1e9 * sums) % 2)[:, None]
            posterior = softmax(logits, toy.card.temperature)
            return [logits, posterior, logits, logits[..., 0], *(feed[f"state.{name}"] for name in names)]

        def get_outputs(self) -> list[Any]:
            return [SimpleNamespace(name="posterior")]

    toy = toys("frame")
    names = [spec.name for spec in toy.card.state]
    found = golden_of(Bundle(toy.card, Graph(Rounded(), names), None), 1e-4)
    assert found.seconds == 1.5
    assert found.tolerance == pytest.approx(4 * 0.02 * 2 / 9 / toy.card.temperature, rel=0.05)
    steady = golden_of(load_bundle(toy.write(tmp_path / "x.onnx")), 1e-4)
    assert (steady.seconds, steady.tolerance) == (1.0, 1e-4)


def test_golden_signal_is_the_same_everywhere() -> None:
    signal = golden_signal(1.0)
    assert signal.dtype == np.float32
    assert signal.shape == (16_000,)
    assert 0.1 < np.abs(signal).max() < 1
    assert np.abs(signal[13_000:]).max() < 0.01
    np.testing.assert_allclose(signal[[100, 1600, 5000, 9999]], GOLDEN_SAMPLES, atol=1e-7)


def test_names_that_do_not_resolve(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle at .*missing\.onnx; .*vocaffect export"):
        resolve(tmp_path / "missing.onnx")
    with pytest.raises(BundleError, match="recogniser 'liev' is not known"):
        resolve("liev")
    with pytest.raises(BundleError, match=r"cannot read the bundle .*check the path"):
        read_card(tmp_path)


def test_shipped_names_resolve(toy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "BUNDLES", toy_bundle.parent)
    assert resolve("toy") == toy_bundle
    with pytest.raises(BundleError, match="did you mean 'toy'"):
        resolve("tou")
    toy_bundle.with_name("live.onnx").write_bytes(toy_bundle.read_bytes())
    assert resolve("default").name == resolve("live").name == "live.onnx"


GOLDEN_SAMPLES = [0.0029557710, -0.1331656575, 0.0195334144, 0.0473280251]
