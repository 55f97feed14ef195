"""Recognising inside the page: the same numbers as the server's, no sound on the wire, no server needed afterwards."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .conftest import OpenPage, Page, photograph, serve
from .test_file import analyse

TOLERANCE = 1e-3
SWITCH = "document.querySelector('[role=switch]')"


def exported(page: Page, recording: Path) -> dict[str, Any]:
    analyse(page, recording)
    result: dict[str, Any] = json.loads(page.download("voice.json", "JSON"))
    return result


def go_on_device(page: Page) -> None:
    page.evaluate(f"{SWITCH}.click()")
    page.wait("document.querySelector('[data-device=ready]')", 60)


def test_the_device_computes_what_the_server_computes_and_sends_no_sound(
    address: str, recording: Path, open_page: OpenPage
) -> None:
    page = open_page(address, None)
    page.show("file")
    names = page.evaluate("[...document.querySelectorAll('header option')].map((option) => option.value)")
    served = {}
    for name in names:
        page.select("Recogniser", name)
        served[name] = exported(page, recording)
    page.requested.clear()
    go_on_device(page)
    for name in names:
        page.select("Recogniser", name)
        page.wait("document.querySelector('[data-device=ready]')", 60)
        here = exported(page, recording)
        assert here["place"] == "device"
        assert_same(here, served[name])
    assert page.log == []
    assert not [url for url in page.requested if url.startswith("ws") or url.endswith("/v1/recognize")]
    photograph(page, "device")


def assert_same(here: dict[str, Any], there: dict[str, Any]) -> None:
    assert here["digest"] == there["digest"]
    assert len(here["updates"]) == len(there["updates"]) > 50
    for ours, theirs in zip(
        [*here["updates"], *here["segments"]], [*there["updates"], *there["segments"]], strict=True
    ):
        assert ours.keys() == theirs.keys()
        for key in ours:
            if key in ("posterior", "raw_posterior") and theirs[key] is not None:
                assert ours[key] == pytest.approx(theirs[key], abs=TOLERANCE)
            elif isinstance(theirs[key], int | float):  # JavaScript writes 3.0 as 3
                assert ours[key] == pytest.approx(theirs[key], abs=0.06 if key == "level_db" else TOLERANCE)
            elif key != "label" or sure(theirs["posterior"]):
                assert ours[key] == theirs[key], key


def sure(posterior: list[float] | None) -> bool:
    """Whether the likeliest label stays so when every probability moves by this much."""
    first, second = sorted(posterior or [0.0, 1.0])[:-3:-1]
    return first - second > 2 * TOLERANCE


def test_after_the_first_load_no_server_is_needed(recording: Path, recognizers: list[str], open_page: OpenPage) -> None:
    with ExitStack() as server:
        address = server.enter_context(serve(*recognizers))
        page = open_page(address, None)
        page.wait("navigator.serviceWorker.controller !== null")
        go_on_device(page)
        page.show("file")  # for which another recogniser is loaded
        page.wait("document.querySelector('[data-device=loading]')")
        page.wait("document.querySelector('[data-device=ready]')", 60)
    page.visit(address)  # nobody answers there any more
    go_on_device(page)
    assert len(exported(page, recording)["segments"]) == 1
    page.evaluate(f"{SWITCH}.click()")
    page.choose_file(recording)
    page.wait("document.querySelector('#panel-file [role=alert]')?.innerText.includes('does not answer')")
