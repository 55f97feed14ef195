"""The whole path in a real browser: microphone, worklet, socket, recogniser, and what a person sees."""

import os
import runpy
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile

from vocaffect.bundle import shipped_names
from vocaffect.server.page import STATIC

from .conftest import OpenPage, Page, serve

pytestmark = pytest.mark.skipif(
    not (STATIC / "index.html").is_file(), reason="the page is not built; run `python hatch_build.py`"
)

BEFORE_S, VOICE_S, AFTER_S = 1.5, 2.0, 2.5

WATCH = """
window.seen = [];
setInterval(() => {
  const meters = [...document.querySelectorAll('[role=meter]')];
  const word = document.querySelector('[data-verdict]').innerText;
  const widths = meters.map((meter) => 100 * meter.firstChild.clientWidth / meter.clientWidth);
  const shown = [...widths, ...meters.map((meter) => Number(meter.ariaValueNow))];
  const entry = [word, Math.round(Math.max(...shown))];
  if (String(entry) !== String(window.seen.at(-1))) window.seen.push(entry);
}, 15);
"""
PHASE = "document.querySelector('[data-phase]').dataset.phase"
ROWS = "[...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
INKED = """
(() => {
  const canvas = document.querySelector('canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] === 255) {
    colours.add((pixels[at] << 16) + (pixels[at + 1] << 8) + pixels[at + 2]);
  }
  return colours.size;
})()
"""


@pytest.fixture(scope="module")
def address(toy_bundle: Path) -> Iterator[str]:
    """A server with the recogniser that is shipped, or while none is, with a toy."""
    with serve(*([] if shipped_names() else ["--recognizer", str(toy_bundle)])) as address:
        yield address


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    speech = runpy.run_path(str(Path(__file__).parents[1] / "server" / "voice.py"))["speech"]
    soundfile.write(path, speech(BEFORE_S, VOICE_S, AFTER_S), 16_000, subtype="PCM_16")
    return path


def test_a_voice_is_heard_shown_and_listed_and_silence_stays_silence(
    address: str, recording: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    labels = httpx.get(f"{address}/v1/recognizers").json()["recognizers"][0]["labels"]
    page = open_page(address, recording)
    assert page.evaluate("[...document.querySelectorAll('[role=meter]')].map((m) => m.ariaValueText)") == [
        "no emotion is claimed"
    ] * len(labels)
    page.evaluate(WATCH)

    page.press("Start microphone")
    page.wait(f"{PHASE} === 'listening'")
    page.wait("document.querySelector('tbody tr')")  # the passage has ended
    page.wait("document.querySelector('[data-verdict]').innerText === 'Silence'")
    page.press("Stop")
    page.wait(f"{PHASE} === 'done'")

    seen = page.evaluate("window.seen")
    words = [word for word, _ in seen]
    emotions = {label.capitalize() for label in labels}
    spoken = [index for index, word in enumerate(words) if word in emotions]
    assert spoken, words
    assert "Silence" in words[: spoken[0]]
    assert "Silence" in words[spoken[-1] :]
    assert all(largest == 0 for word, largest in seen if word not in emotions)
    assert all(largest > 0 for word, largest in seen if word in emotions)
    (row,) = page.evaluate(ROWS)
    assert seconds(row[1]) - seconds(row[0]) == pytest.approx(VOICE_S, abs=0.6)
    assert row[2] in emotions
    assert page.evaluate(INKED) > len(labels)
    photograph(page, "live")

    page.choose_file(recording)
    page.wait("document.querySelector('audio') && !document.querySelector('[role=alert]')")
    answer = httpx.post(f"{address}/v1/recognize", content=recording.read_bytes()).json()
    assert page.evaluate("document.querySelector('[data-verdict]').dataset.verdict") == answer["label"]
    (row,) = page.evaluate(ROWS)
    assert seconds(row[0]) == pytest.approx(answer["segments"][0]["start_s"], abs=0.051)
    assert row[2] == answer["segments"][0]["label"].capitalize()

    (tmp_path / "text.wav").write_text("this is no audio")
    page.choose_file(tmp_path / "text.wav")
    page.wait("document.querySelector('[role=alert]')?.innerText.includes('not audio')")

    own = (address, address.replace("http", "ws"), f"blob:{address}", "data:")
    assert all(url.startswith(own) for url in page.requested), page.requested
    assert [entry for entry in page.log if "/v1/recognize" not in entry] == []  # Chromium logs the refusal


def test_nothing_is_cut_off_at_any_width(address: str, recording: Path, open_page: OpenPage) -> None:
    page = open_page(address, recording)
    page.choose_file(recording)
    page.wait("document.querySelector('audio')")
    for width in (390, 768, 1024, 1440):
        for dark in (False, True):
            page.look(width, 900, dark=dark)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            photograph(page, f"file-{width}-{'dark' if dark else 'light'}")
    assert page.log == []


def seconds(clock: str) -> float:
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + float(rest)


def photograph(page: Page, name: str) -> None:
    """Keep a picture where VOCAFFECT_SCREENSHOTS names a folder, for a person to look at."""
    if folder := os.environ.get("VOCAFFECT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.photograph(Path(folder) / f"{name}.png")
