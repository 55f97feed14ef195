"""`vocaffect serve` as a process."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from vocaffect.errors import VocaffectError
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.run import listen, page_address
from vocaffect.server.settings import Settings, load_settings

COMMAND = [sys.executable, "-c", "from vocaffect.cli import main; main()", "serve"]


def test_it_says_where_it_is_answers_and_stops_on_ctrl_c(toy_bundle: Path) -> None:
    command = [*COMMAND, "--port", "0", "--recognizer", str(toy_bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split(" at ")[1].split()[0]
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}/v1/recognizers", timeout=20).json()["default"] == "toy-frame"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130, -signal.SIGINT)
        assert "Traceback" not in process.stderr.read()


def test_left_alone_it_hears_streams_with_one_and_files_with_another_that_is_shipped() -> None:
    with subprocess.Popen([*COMMAND, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[1].split()[0]
        lines = [process.stdout.readline() for _ in range(3)]
        listed = httpx.get(f"{address}/v1/recognizers", timeout=20).json()
        process.terminate()
    assert lines[0].startswith("  live: ")
    assert lines[0].endswith("default for streams\n")
    assert lines[1].startswith("  accurate: ")
    assert lines[1].endswith("default for files\n")
    assert re.match(
        r"  limits: \d+ streams with live or \d+ streams with accurate at once, 60 min each; clips", lines[2]
    )
    assert (listed["default"], listed["default_for_files"]) == ("live", "accurate")


def test_a_missing_bundle_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    command = [*COMMAND, "--port", "0", "--recognizer", str(tmp_path / "none.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no bundle at")


def test_a_taken_port_is_a_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(VocaffectError, match="choose another with --port"),
    ):
        listen(Settings(port=taken.getsockname()[1]))


def test_two_recognisers_of_one_name_are_refused(toy_bundle: Path) -> None:
    with pytest.raises(VocaffectError, match="two recognisers are called 'toy-frame'"):
        Catalogue.load([str(toy_bundle), str(toy_bundle)])


def test_settings_come_from_options_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCAFFECT_PORT", "9000")
    monkeypatch.setenv("VOCAFFECT_MAX_CLIP_S", "5")
    settings = load_settings({"port": 9001, "host": None})
    assert (settings.port, settings.max_clip_s, settings.host) == (9001, 5.0, "127.0.0.1")
    monkeypatch.setenv("VOCAFFECT_MAX_CLIP_S", "long")
    with pytest.raises(VocaffectError, match="max_clip_s"):
        load_settings({})


def test_the_address_is_one_a_browser_can_open() -> None:
    with listen(Settings(host="0.0.0.0", port=0)) as listener:
        assert page_address(Settings(host="0.0.0.0"), listener).startswith("http://127.0.0.1:")


def test_serving_never_imports_torch() -> None:
    code = "import sys, vocaffect.server.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
