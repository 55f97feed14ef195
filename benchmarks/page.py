"""What the page weighs before recognisers are loaded into it, and how soon it can be used.

    python benchmarks/page.py

Weight: the bytes of the first load as the server sends them to a browser that takes gzip, against the 150 kB that the
page is allowed and the 67 kB that React alone weighs (react and react-dom 19, minified, gzip). Time: from navigation to
the moment at which "Start microphone" can be pressed, in Chromium over loopback with an empty cache; median of the
loads. It needs a built page and a Chromium.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.e2e.conftest import Page, chromium, serve

LOADS = 7
ALLOWED, REACT = 150_000, 67_000
READY = "document.querySelector('#panel-live button.main')?.ariaDisabled === 'false'"
WATCH = f"""
new MutationObserver((_, observer) => {{
  if (!({READY})) return;
  window.ready = performance.now();
  observer.disconnect();
}}).observe(document, {{subtree: true, childList: true, attributes: true}});
"""


def main() -> None:
    """Load the page anew some times and print what was measured."""
    with serve() as address, tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "p", None) as browser:
        page = Page.open(browser, Path(folder))
        page.call("Network.setCacheDisabled", cacheDisabled=True)
        page.call("Network.setBypassServiceWorker", bypass=True)
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        times = []
        for _ in range(LOADS):
            page.requested.clear()
            page.visit(address)
            page.wait("window.ready")
            times.append(page.evaluate("window.ready"))
        urls = sorted({url for url in page.requested if url.startswith(f"{address}/")})
        weight = sum(compressed(url) for url in urls if "/v1/" not in url)
    print(f"first load: {len(urls)} requests, {weight / 1000:.1f} kB compressed")
    print(f"  {weight / ALLOWED:.2f} of the {ALLOWED // 1000} kB allowed, {weight / REACT:.2f} of React alone")
    print(f"can be used after {statistics.median(times):.0f} ms (fastest {min(times):.0f}, slowest {max(times):.0f})")


def compressed(url: str) -> int:
    """The bytes of a body on the wire."""
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        return sum(len(chunk) for chunk in answer.iter_raw())


if __name__ == "__main__":
    main()
