"""A headless Chromium with a fake microphone, driven over the DevTools protocol by what is installed anyway.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Nothing but a Chromium is needed; where there
is none these tests are skipped.
"""

import base64
import itertools
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
import soundfile
import websockets.sync.client as ws

from vocaffect.server.page import STATIC

if not (STATIC / "index.html").is_file():
    pytest.skip("the page is not built; run `python hatch_build.py`", allow_module_level=True)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)

OPEN = "[role=tabpanel]:not([hidden])"
BEFORE_S, VOICE_S, AFTER_S = 1.5, 2.0, 2.5


class Page:
    """One tab: navigate, evaluate, wait, photograph."""

    def __init__(self, socket: ws.ClientConnection, downloads: Path) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._downloads = downloads
        self._session: str | None = None
        self.log: list[str] = []
        self.requested: list[str] = []

    @classmethod
    def open(cls, socket: ws.ClientConnection, downloads: Path) -> Self:
        page = cls(socket, downloads)
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        page._session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        return page

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.log.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Runtime.exceptionThrown":
                self.log.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.log.append(json.dumps(params["args"]))
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requested.append(params["url"])

    def visit(self, address: str) -> None:
        """Go to an address and wait until the page knows its recognisers."""
        self.call("Page.navigate", url=address)
        self.wait("document.querySelector('[role=meter][aria-labelledby$=\"-0\"]') !== null")

    def deny_microphone(self, address: str) -> None:
        self.call("Browser.setPermission", permission={"name": "microphone"}, setting="denied", origin=address)

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str, limit_s: float = 20) -> None:
        deadline = time.monotonic() + limit_s
        while not self.evaluate(f"!!({expression})"):
            state = self.evaluate("document.body.innerText") if time.monotonic() > deadline else None
            assert state is None, f"never true: {expression}\n{state}\n{self.log}"
            time.sleep(0.03)

    def press(self, text: str) -> None:
        """Press the button of this name with a real key, as a keyboard user would."""
        self.wait(
            f"(() => {{ const found = [...document.querySelectorAll('{OPEN} button, header button')]"
            f".find((b) => b.innerText.trim() === {json.dumps(text)} && b.ariaDisabled !== 'true');"
            "found?.focus(); return !!found })()"
        )
        self.key("Enter", 13, "\r")

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press and release one key where the focus is."""
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            key = {"key": name, "code": name, "windowsVirtualKeyCode": code, "text": text}
            self.call("Input.dispatchKeyEvent", type=kind, **key)

    def show(self, name: str) -> None:
        """Choose a view by its tab, and wait for its panel."""
        self.evaluate(f"document.getElementById('tab-{name}').click()")
        self.wait(f"!document.getElementById('panel-{name}').hidden")

    def choose_file(self, path: Path, panel: str = "file") -> None:
        """Pick a file in one of the views."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=f"#panel-{panel} input[type=file]")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def select(self, name: str, value: str) -> None:
        """Choose an option of the select with this accessible name in the view that is open."""
        self.evaluate(
            f"(() => {{ const named = [...document.querySelectorAll('{OPEN} select, header select')]"
            f".find((s) => (s.ariaLabel ?? s.labels[0]?.innerText.split('\\n')[0].trim()) === {json.dumps(name)});"
            f"named.value = {json.dumps(value)}; named.dispatchEvent(new Event('change', {{bubbles: true}})) }})()"
        )

    def phase(self, panel: str, wanted: str, limit_s: float = 20) -> None:
        """Wait until what a view records is in this phase."""
        self.wait(f"document.querySelector('#panel-{panel} [data-phase]').dataset.phase === '{wanted}'", limit_s)

    def download(self, name: str, press: str) -> bytes:
        """Press a button and return the file that it gives."""
        path = self._downloads / name
        self.press(press)
        deadline = time.monotonic() + 20
        while not (path.is_file() and path.stat().st_size):  # the name is taken before anything is written
            assert time.monotonic() < deadline, f"{name} was not downloaded"
            self.evaluate("0")
            time.sleep(0.03)
        data = path.read_bytes()
        path.unlink()
        return data

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def photograph(self, path: Path) -> None:
        time.sleep(0.3)
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


class OpenPage(Protocol):
    """Opens a tab at an address, in a browser of its own."""

    def __call__(self, address: str, microphone: Path | None, *, allowed: bool = True) -> Page: ...


@contextmanager
def chromium(profile: Path, microphone: Path | None, *, allowed: bool = True) -> Iterator[ws.ClientConnection]:
    """A running Chromium whose microphone plays a file once; or has none, or whose user does not allow it."""
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("there is no Chromium; install one, or name it in CHROMIUM")
    flags = [*FLAGS, f"--user-data-dir={profile}"]
    if microphone is not None:
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    if allowed:
        flags.append("--use-fake-ui-for-media-stream")
    process = subprocess.Popen([binary, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port, path = _devtools(profile, process)
        with ws.connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None) as socket:
            yield socket
    finally:
        process.terminate()
        process.wait(10)


def _devtools(profile: Path, process: subprocess.Popen[bytes]) -> list[str]:
    file = profile / "DevToolsActivePort"
    for _ in range(600):
        assert process.poll() is None, "Chromium did not start"
        if file.is_file() and len(lines := file.read_text().split()) == 2:
            return lines
        time.sleep(0.05)
    raise AssertionError("Chromium opened no debugging port")


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[OpenPage]:
    """Pages whose browsers are closed after the test; a microphone that is not allowed is denied by the user."""
    with ExitStack() as stack:
        profiles = (tmp_path / f"profile-{number}" for number in itertools.count())

        def start(address: str, microphone: Path | None, *, allowed: bool = True) -> Page:
            browser = stack.enter_context(chromium(next(profiles), microphone, allowed=allowed))
            page = Page.open(browser, tmp_path / "downloads")
            if not allowed:
                page.deny_microphone(address)
            page.look(1280, 900)
            page.visit(address)
            return page

        yield start


@contextmanager
def serve(*arguments: str, port: int = 0) -> Iterator[str]:
    """`vocaffect serve` as users start it, on a free port; yields the page's address."""
    options = ["--port", str(port), *arguments]
    command = [sys.executable, "-c", "from vocaffect.cli import main; main()", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert " at http://" in line, f"the server did not start: {line!r}"
            yield line.split(" at ")[1].split()[0]
        finally:
            process.terminate()


@pytest.fixture(scope="session", autouse=True)
def _own_database(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is saved here is not saved among what whoever runs the tests has saved."""
    os.environ["VOCAFFECT_DATABASE"] = f"sqlite:///{tmp_path_factory.mktemp('saved') / 'saved.db'}"


@pytest.fixture(scope="session")
def recognizers(toys: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of `serve`: a shipped recogniser with features to show, toys of other kinds, the other shipped ones."""
    folder = tmp_path_factory.mktemp("toys")
    made = [doubting(toys("frame", lasting=True)), toys("window", window_s=0.75)]
    bundles = [str(toy.write(folder / f"{toy.card.name}.onnx")) for toy in made]
    return [part for bundle in ("lstm", *bundles, "live", "accurate") for part in ("--recognizer", bundle)]


def doubting(toy: Any) -> Any:
    """The toy with a card that would rather not say below a probability that it often stays under."""
    return replace(toy, card=toy.card.model_copy(update={"uncertain_below": 0.4}))


@pytest.fixture(scope="session")
def address(recognizers: list[str]) -> Iterator[str]:
    """A running server."""
    with serve(*recognizers) as address:
        yield address


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice from a formula between silences."""
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    speech = runpy.run_path(str(Path(__file__).parents[1] / "server" / "voice.py"))["speech"]
    soundfile.write(path, speech(BEFORE_S, VOICE_S, AFTER_S), 16_000, subtype="PCM_16")
    return path


def photograph(page: Page, name: str) -> None:
    """Keep a picture where VOCAFFECT_SCREENSHOTS names a folder, for a person to look at."""
    if folder := os.environ.get("VOCAFFECT_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.photograph(Path(folder) / f"{name}.png")


def seconds(clock: str) -> float:
    """Seconds of a time as the page writes it, "1:02.5"."""
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + float(rest)
