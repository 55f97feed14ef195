"""A headless Chromium with a fake microphone, driven over the DevTools protocol by what is installed anyway.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Nothing but a Chromium is needed; where there
is none these tests are skipped.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import websockets.sync.client as ws

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)


class Page:
    """One tab: navigate, evaluate, wait, photograph."""

    def __init__(self, socket: ws.ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._session: str | None = None
        self.log: list[str] = []
        self.requested: list[str] = []

    @classmethod
    def open(cls, socket: ws.ClientConnection) -> Self:
        page = cls(socket)
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
            "(() => { const found = [...document.querySelectorAll('button')]"
            f".find((b) => b.innerText.trim() === {json.dumps(text)} && b.ariaDisabled !== 'true');"
            "found?.focus(); return !!found })()"
        )
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            self.call("Input.dispatchKeyEvent", type=kind, **key)

    def choose_file(self, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

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


OpenPage = Callable[[str, Path], Page]


@contextmanager
def chromium(profile: Path, microphone: Path) -> Iterator[ws.ClientConnection]:
    """A running Chromium whose microphone plays a file once."""
    binary = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("there is no Chromium; install one, or name it in CHROMIUM")
    capture = f"--use-file-for-fake-audio-capture={microphone}%noloop"
    process = subprocess.Popen(
        [binary, *FLAGS, capture, f"--user-data-dir={profile}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
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
    """`open_page(address, microphone)` is a tab at the address, in a browser that hears the file."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(address: str, microphone: Path) -> Page:
            page = Page.open(stack.enter_context(chromium(tmp_path / "profile", microphone)))
            page.look(1280, 900)
            page.call("Page.navigate", url=address)
            page.wait("document.querySelector('[role=meter]') !== null")
            return page

        yield start


@contextmanager
def serve(*arguments: str) -> Iterator[str]:
    """`vocaffect serve` as users start it, on a free port; yields the page's address."""
    command = [sys.executable, "-c", "from vocaffect.cli import main; main()", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert " at http://" in line, f"the server did not start: {line!r}"
            yield line.split(" at ")[1].split()[0]
        finally:
            process.terminate()
