"""Files in a real browser: the stepper, what is found, what is exported, corrected and compared."""

import base64
import csv
import io
import json
import re
import struct
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from vocaffect.cli import build_app

from .conftest import BEFORE_S, VOICE_S, OpenPage, Page, photograph

SHARES = "[...document.querySelectorAll('#panel-file ol li')].map((step) => Number(step.dataset.share))"
WATCH = f"""
window.shares = [];
new MutationObserver(() => window.shares.push({SHARES}))
  .observe(document.querySelector('#panel-file ol'), {{subtree: true, attributeFilter: ['data-share']}});
"""


def analyse(page: Page, path: Path, panel: str = "file") -> None:
    page.show(panel)
    page.choose_file(path, panel)
    page.phase(panel, "analysing")
    page.phase(panel, "done")


def segments_of(export: dict[str, object]) -> list[dict[str, object]]:
    segments = export["segments"]
    assert isinstance(segments, list)
    return segments


def test_a_file_goes_step_by_step_and_comes_out_as_text_and_picture(
    address: str, recording: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(address, None)
    page.evaluate(WATCH)
    analyse(page, recording)
    assert page.evaluate(SHARES) == [1, 1, 1, 1, 1]
    shares = np.array(page.evaluate("window.shares"))
    assert (np.diff(shares, axis=0) >= 0).all()  # no step ever goes back
    assert len({tuple(row) for row in shares}) > 3  # and they did not jump from nothing to all

    answer = httpx.post(f"{address}/v1/recognize", content=recording.read_bytes()).json()
    exported = json.loads(page.download("voice.json", "JSON"))
    assert answer["recognizer"] == exported["recognizer"] == "accurate"  # nobody named one: this is for files
    digests = {each["name"]: each["digest"] for each in httpx.get(f"{address}/v1/recognizers").json()["recognizers"]}
    assert exported["digest"] == digests["accurate"]
    for found, wanted in zip(segments_of(exported), answer["segments"], strict=True):
        assert (found["start_s"], found["end_s"]) == (wanted["start_s"], wanted["end_s"])
        assert found["label"] == wanted["label"]
        assert found["posterior"] == pytest.approx(wanted["posterior"], abs=1e-3)
    assert page.evaluate("document.querySelector('#panel-file [data-verdict]').dataset.verdict") == found["label"]

    (row,) = csv.DictReader(io.StringIO(page.download("voice.csv", "CSV").decode()))
    assert row["label"] == wanted["label"]
    start, end, label = page.download("voice.labels.txt", "Audacity labels").decode().split()
    assert (float(start), float(end), label) == (wanted["start_s"], wanted["end_s"], wanted["label"])
    png = page.download("voice.png", "PNG")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">I", png[16:20])[0] == 2400

    (tmp_path / "text.wav").write_text("this is no audio")
    page.choose_file(tmp_path / "text.wav")
    page.wait("document.querySelector('#panel-file [role=alert]')?.innerText.includes('not audio')")
    own = (address, address.replace("http", "ws"), f"blob:{address}", "data:")  # "data:" are the player's icons
    assert all(url.startswith(own) for url in page.requested), page.requested
    assert [entry for entry in page.log if "/v1/recognize" not in entry] == []  # Chromium logs the refusal


def test_a_dropped_and_a_pasted_file_are_heard_and_the_timeline_follows_the_player(
    address: str, recording: Path, open_page: OpenPage
) -> None:
    page = open_page(address, None)
    text = base64.b64encode(recording.read_bytes()).decode()
    page.evaluate(f"""
        window.parcel = (name) => {{
          const parcel = new DataTransfer();
          parcel.items.add(new File([Uint8Array.from(atob('{text}'), (c) => c.charCodeAt(0))], name));
          return parcel;
        }};
        dispatchEvent(new DragEvent('drop', {{dataTransfer: window.parcel('dropped.wav'), cancelable: true}}));
    """)
    page.phase("file", "done")
    assert "dropped.wav" in page.evaluate("document.querySelector('#panel-file').innerText")
    page.evaluate("dispatchEvent(new ClipboardEvent('paste', {clipboardData: window.parcel('pasted.wav')}))")
    page.wait("document.querySelector('#panel-file').innerText.includes('pasted.wav')")
    page.phase("file", "done")

    verdict = "document.querySelector('#panel-file .note').innerText"
    page.evaluate("document.querySelector('[aria-label=\"Play passage 1\"]').click()")
    page.wait(f"{verdict}.includes('likely at 0:0')")
    page.wait(
        "document.querySelector('#panel-file audio').paused && "
        "document.querySelector('#panel-file audio').currentTime > 1"
    )
    played_s = page.evaluate("document.querySelector('#panel-file audio').currentTime")
    assert played_s == pytest.approx(BEFORE_S + VOICE_S, abs=0.6)  # it stopped where the passage ends


def test_what_the_browser_cannot_decode_the_server_does(
    address: str, recording: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    samples, rate = soundfile.read(recording)
    soundfile.write(tmp_path / "voice.aiff", samples, rate)
    page = open_page(address, None)
    analyse(page, tmp_path / "voice.aiff")
    assert page.evaluate(SHARES) == [1, 1, 1, 1, 1]
    assert page.evaluate("document.querySelectorAll('#panel-file tbody tr').length") == 1
    text = page.evaluate("document.querySelector('#panel-file').innerText")
    assert "the recogniser hears as it is" in text
    assert "24 mel bands" in text
    page.select("Recogniser", "lstm")
    analyse(page, tmp_path / "voice.aiff")
    assert re.search(r"sees: \d+ features", page.evaluate("document.querySelector('#panel-file').innerText"))


def test_corrections_become_a_manifest_that_training_takes(
    address: str, recording: Path, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(address, None)
    analyse(page, recording)
    heard = json.loads(page.download("voice.json", "JSON"))["segments"][0]
    right = next(label for label in ("calm", "sad") if label != heard["label"])
    page.select("Right label of passage 1", right)
    assert page.evaluate("document.getElementById('tab-correct').innerText").startswith("Correct1")
    assert json.loads(page.download("voice.json", "JSON"))["segments"][0]["corrected"] == right

    page.show("correct")
    photograph(page, "correct")
    (row,) = csv.DictReader(io.StringIO(page.download("corrections.csv", "Download the table (CSV)").decode()))
    assert (row["emotion"], row["source"]) == (right, "voice.wav")
    page.evaluate("document.querySelector('#panel-correct input[type=checkbox]').click()")
    archive = page.download("corrections.zip", "Download sound and table (zip)")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert files.testzip() is None
        files.extractall(tmp_path)
    clip, rate = soundfile.read(tmp_path / row["path"])
    assert len(clip) / rate == pytest.approx(heard["end_s"] - heard["start_s"] + 0.2, abs=1e-3)
    prepare = ["data", "prepare", str(tmp_path / "corrections.csv"), "--data-root", str(tmp_path)]
    result = CliRunner().invoke(build_app(), [*prepare, "-o", str(tmp_path / "manifest.csv")])
    assert result.exit_code == 0, result.output
    assert f",{right}," in (tmp_path / "manifest.csv").read_text()


def test_two_recognisers_hear_the_same_file(address: str, recording: Path, open_page: OpenPage) -> None:
    page = open_page(address, None)
    analyse(page, recording, "compare")
    sides = "[...document.querySelectorAll('#panel-compare .sides section[aria-label^=Recogniser]')]"
    labels = page.evaluate(f"{sides}.map((side) => side.querySelectorAll('li').length)")
    assert labels == [8, 3]  # the shipped recogniser beside a toy
    words = page.evaluate(f"{sides}.map((side) => side.querySelector('[data-verdict]').dataset.verdict)")
    assert all(words)
    photograph(page, "compare")
    assert page.log == []


def test_what_is_saved_can_be_corrected_fetched_and_forgotten(
    address: str, recording: Path, open_page: OpenPage
) -> None:
    page = open_page(address, None)
    analyse(page, recording)
    page.evaluate("document.querySelector('[aria-label=Save] input').click()")
    page.press("Save on the server")
    page.wait("document.querySelector('[aria-label=Save] [role=status]')?.innerText.includes('with its sound')")
    page.evaluate("document.querySelector('#panel-file button[aria-pressed]').click()")  # it was recognised rightly

    page.show("correct")
    listed = "document.querySelector('#panel-correct section')"
    page.wait(f"{listed}.innerText.includes('with its sound')")
    photograph(page, "saved")
    saved = json.loads(page.evaluate("fetch('/v1/saved').then((answer) => answer.text())"))["sessions"]
    (segment,) = saved[0]["segments"]
    assert segment["corrected"] == segment["label"]
    clips = page.evaluate(
        f"fetch({listed}.querySelector('a[href$=\"/saved/export\"]').href).then((answer) => answer.blob())"
        ".then((blob) => blob.size)"
    )
    assert clips > 16_000  # the passage's sound is in it

    page.press("Delete everything")
    page.wait(f"{listed}.innerText.includes('Nothing of yours is kept')")
    assert page.evaluate("fetch('/v1/saved').then((answer) => answer.json()).then((list) => list.sessions.length)") == 0
    assert page.log == []
