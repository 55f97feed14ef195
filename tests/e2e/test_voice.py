"""A recogniser that learns voices, on the server and on the device: shown, enrolled, kept when asked, forgotten."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vocaffect.bundle import write_bundle
from vocaffect.card import StateSpec
from vocaffect.golden import make_golden

from .conftest import OpenPage, Page, photograph, serve
from .test_device import go_on_device

SIZE, PRIOR = 14, 200.0
"""Twice a count and the sums of three labels; the toy counts frames in place of utterances."""

PANEL = "[...document.querySelectorAll('#panel-live section')].find((s) => s.innerText.startsWith('Your voice'))"
KNOWN = f"Number({PANEL}.querySelector('[role=meter]').ariaValueNow)"
STORED = "Object.keys(localStorage).filter((key) => key.startsWith('vocaffect-voice')).length"


@pytest.fixture(scope="module")
def address(toys: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    toy = toys("frame", lasting=True)
    state = [spec for spec in toy.card.state if spec.name != "voice"]
    state.append(StateSpec(name="voice", shape=[SIZE], scope="stream"))
    update = {"name": "toy-voices", "state": state, "normalisation": {"voice_prior": PRIOR}}
    card = toy.card.model_copy(update=update)
    model = learns(toy.model)
    path = tmp_path_factory.mktemp("voices") / "toy-voices.onnx"
    write_bundle(path, model, card.model_copy(update={"golden": make_golden(model, card)}))
    with serve("--recognizer", str(path)) as address:
        yield address


def learns(model: bytes) -> bytes:
    """The toy with its lasting count as the first of the numbers that a voice is known by."""
    parsed = onnx.load_from_string(model)
    graph = parsed.graph
    for node in graph.node:
        node.input[:] = ["first" if name == "state.voice" else name for name in node.input]
        node.output[:] = ["next_first" if name == "next_state.voice" else name for name in node.output]
    split = helper.make_node("Split", ["state.voice", "parts"], ["first", "rest"], axis=1)
    join = helper.make_node("Concat", ["next_first", "rest"], ["next_state.voice"], axis=1)
    nodes = [split, *graph.node, join]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array([1, SIZE - 1]), "parts"))
    for values in (graph.input, graph.output):
        kept = [value for value in values if not value.name.endswith("state.voice")]
        name = "state.voice" if values is graph.input else "next_state.voice"
        del values[:]
        values.extend([*kept, helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", SIZE])])
    return bytes(parsed.SerializeToString())


def test_a_voice_is_learned_kept_when_asked_and_forgotten(address: str, recording: Path, open_page: OpenPage) -> None:
    page = open_page(address, recording)
    assert not page.evaluate(PANEL)
    page.press("Start microphone")
    page.wait(f"{PANEL} && {KNOWN} > 40", 30)
    page.press("Forget my voice")
    page.wait(f"{KNOWN} === 0")
    page.press("Stop")
    page.phase("live", "done")

    go_on_device(page)
    listen(page)
    assert page.evaluate(KNOWN) == 0  # too early: nobody has spoken
    page.press("Read for ten seconds")
    page.wait(f"{PANEL}.innerText.includes('Read something aloud')")
    page.wait(f"{KNOWN} > 40", 30)
    page.wait(f"!{PANEL}.innerText.includes('Read something aloud')", 30)
    photograph(page, "voice")

    keep(page)
    known = page.evaluate(KNOWN)
    page.visit(address)
    page.wait(f"{PANEL} && {KNOWN} === {known}")
    page.press("Forget my voice")
    page.wait(f"!{PANEL} || {KNOWN} === 0")
    assert page.evaluate(STORED) == 0
    page.visit(address)
    assert not page.evaluate(PANEL)
    assert page.log == []


def listen(page: Page) -> None:
    page.press("Start microphone")
    page.wait("document.querySelector('#panel-live [data-latency]').dataset.latency !== ''")
    page.press("Stop")
    page.phase("live", "done")


def keep(page: Page) -> None:
    assert page.evaluate(STORED) == 0
    page.evaluate(f"{PANEL}.querySelector('input').click()")
    page.wait(f"{STORED} === 1")
