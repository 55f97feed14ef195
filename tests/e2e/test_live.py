"""The whole path in a real browser: microphone, worklet, socket, recogniser, and what a person sees and hears of it."""

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from .conftest import VOICE_S, OpenPage, photograph, seconds, serve

WATCH = """
window.seen = [];
setInterval(() => {
  const panel = document.getElementById('panel-live');
  const meters = [...panel.querySelectorAll('li [role=meter]')];
  const word = panel.querySelector('[data-verdict]').innerText;
  const widths = meters.map((meter) => 100 * meter.firstChild.clientWidth / meter.clientWidth);
  const shown = [...widths, ...meters.map((meter) => Number(meter.ariaValueNow))];
  const entry = [word, Math.round(Math.max(...shown))];
  if (String(entry) !== String(window.seen.at(-1))) window.seen.push(entry);
  window.loudest = Math.max(window.loudest ?? 0, Number(panel.querySelector('[data-level]').dataset.level));
  window.latency = panel.querySelector('[data-latency]').dataset.latency || window.latency;
}, 15);
"""
ROWS = """
[...document.querySelectorAll('[role=tabpanel]:not([hidden]) tbody tr')]
  .map((row) => [...row.cells].map((cell) => cell.innerText.trim()))
"""
HUES = """
(() => {
  const canvas = document.querySelector('#panel-live canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 255) {
    colours.add((pixels[at] << 16) + (pixels[at + 1] << 8) + pixels[at + 2]);
  }
  return colours.size;
})()
"""


def test_a_voice_is_heard_shown_and_listed_and_silence_stays_silence(
    address: str, recording: Path, open_page: OpenPage
) -> None:
    listed = httpx.get(f"{address}/v1/recognizers").json()
    labels = listed["recognizers"][0]["labels"]
    page = open_page(address, recording)
    chosen = "document.querySelector('header select').value"
    assert page.evaluate(chosen) == listed["default"] == "lstm"
    page.show("file")
    assert page.evaluate(chosen) == listed["default_for_files"] == "accurate"
    page.show("live")
    assert page.evaluate(chosen) == "lstm"
    resting = page.evaluate("[...document.querySelectorAll('#panel-live li [role=meter]')].map((m) => m.ariaValueText)")
    assert resting == ["no emotion is claimed"] * len(labels)
    page.evaluate(WATCH)

    page.press("Start microphone")
    page.phase("live", "listening")
    page.wait("document.querySelector('#panel-live tbody tr')")  # the passage has ended
    page.wait("window.seen.at(-1)[0] === 'Silence'")
    photograph(page, "live")
    seen = page.evaluate("window.seen")
    page.press("Stop")
    page.phase("live", "done")

    words = [word for word, _ in seen]
    claims = {label.capitalize() for label in labels} | {"Uncertain"}
    spoken = [index for index, word in enumerate(words) if word in claims]
    assert spoken, words
    assert "Silence" in words[: spoken[0]]
    assert all(largest == 0 for word, largest in seen if word not in claims)
    assert all(largest > 0 for word, largest in seen if word in claims)
    assert page.evaluate("window.loudest") > 0.5
    assert 0 < float(page.evaluate("window.latency")) < 1000
    (row,) = page.evaluate(ROWS)
    assert seconds(row[1]) - seconds(row[0]) == pytest.approx(VOICE_S, abs=0.6)
    assert row[2].split(",")[0] in claims
    assert page.evaluate(HUES) > 100  # the heat-map of features has many shades, all else only a few colours
    assert re.search(r"sees: \d+ features", page.evaluate("document.querySelector('#panel-live').innerText"))
    page.wait("document.querySelector('#panel-live audio').duration > 0")
    assert page.evaluate("document.querySelector('#panel-live audio').duration") > VOICE_S
    assert page.log == []


def test_listening_goes_on_when_a_restarted_server_is_back(
    recording: Path, recognizers: list[str], open_page: OpenPage
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with ExitStack() as first:
        address = first.enter_context(serve(*recognizers, port=port))
        page = open_page(address, recording)
        page.press("Start microphone")
        page.phase("live", "listening")
        page.wait("document.querySelector('#panel-live [data-latency]').dataset.latency !== ''")
    page.phase("live", "reconnecting")
    assert "microphone stays on" in page.evaluate("document.querySelector('#panel-live [role=status]').innerText")
    photograph(page, "reconnecting")
    with serve(*recognizers, port=port):
        page.phase("live", "listening")
        page.wait("document.querySelector('#panel-live [data-latency]').dataset.latency !== ''")
        page.press("Stop")
        page.phase("live", "done")
    assert not page.evaluate("document.querySelector('#panel-live [role=alert]')")


def test_a_microphone_that_is_not_allowed_is_explained(address: str, recording: Path, open_page: OpenPage) -> None:
    page = open_page(address, recording, allowed=False)
    page.press("Start microphone")
    page.wait("document.querySelector('#panel-live [role=alert]')?.innerText.includes('blocked')")
    assert "allow it" in page.evaluate("document.querySelector('#panel-live [role=alert]').innerText")
    photograph(page, "denied")


def test_a_computer_without_a_microphone_is_told_so(address: str, open_page: OpenPage) -> None:
    page = open_page(address, None)
    page.press("Start microphone")
    page.wait("document.querySelector('#panel-live [role=alert]')?.innerText.includes('There is no microphone')")
    page.show("file")  # which works without one
    assert page.evaluate("document.querySelector('#panel-file button').ariaDisabled") == "false"
