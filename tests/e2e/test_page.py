"""The page as such: whoever uses it, on whatever screen, and how much of it has to be loaded."""

import gzip
import json
from pathlib import Path

import httpx
import pytest

from vocaffect.server.page import STATIC

from .conftest import OpenPage, photograph

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("live", "file", "compare", "correct", "about")
MAX_COMPRESSED = 150_000
CUT_OFF = """
[...document.querySelectorAll('[role=tabpanel]:not([hidden]) *')]
  .filter((e) => getComputedStyle(e).overflowX !== 'visible' && !e.matches('.hidden'))
  .filter((e) => e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.outerHTML.slice(0, 80))
"""
"""Elements of the open view that hold more than they show across."""


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed; run `python hatch_build.py check`")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_cut_off_at_any_width(
    address: str, recording: Path, open_page: OpenPage, dark: bool
) -> None:
    page = open_page(address, None)
    page.evaluate(AXE.read_text())
    for view in ("file", "compare"):
        page.show(view)
        page.choose_file(recording, view)
        page.phase(view, "done")
    page.show("file")
    page.select("Right label of passage 1", "calm")
    page.select("Right label of passage 1", "surprised")  # the longest word
    for view in VIEWS:
        page.show(view)
        for width in (390, 768, 1440):
            page.look(width, 900, dark=dark)
            # A phone makes its window as wide as what is on the page, so innerWidth says nothing.
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)
            assert page.evaluate(CUT_OFF) == [], (view, width)
            photograph(page, f"{view}-{width}-{'dark' if dark else 'light'}")
            if width == (1440 if dark else 390):
                found = page.evaluate("axe.run().then(({violations}) => JSON.stringify(violations))")
                assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in json.loads(found)] == [], (view, width)
    assert page.log == []


def test_the_keyboard_alone_reaches_every_view(address: str, open_page: OpenPage) -> None:
    page = open_page(address, None)
    page.evaluate("document.getElementById('tab-live').focus()")
    for view in (*VIEWS[1:], VIEWS[0]):
        page.key("ArrowRight", 39)
        page.wait(f"!document.getElementById('panel-{view}').hidden")
        assert page.evaluate("document.activeElement.id") == f"tab-{view}"
    page.key("Tab", 9)
    assert page.evaluate("document.activeElement.closest('header, [role=tabpanel]:not([hidden])') !== null")


def test_little_is_loaded_before_recognising_on_the_device(address: str, open_page: OpenPage) -> None:
    page = open_page(address, None)
    page.wait("navigator.serviceWorker.controller !== null")
    urls = {url for url in page.requested if url.startswith(address)}
    assert any(url.endswith(".js") for url in urls)
    assert not any(url.endswith((".wasm", "/bundle")) for url in urls)
    bodies = [httpx.get(url).content for url in urls]
    kept = (STATIC / "service_worker.js").read_text()
    first = json.loads(kept.split("const FILES = ")[1].split(";\n")[0])
    bodies += [httpx.get(address + name).content for name in first if address + name not in urls]
    assert sum(len(gzip.compress(body)) for body in bodies) <= MAX_COMPRESSED
