"""What the documents show is true: commands and programs run, outputs are what is printed, links lead somewhere."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer

from vocaffect.bundle import shipped_names
from vocaffect.cli import build_app

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PAGES = (
    "README.md",
    "docs/quickstart.md",
    "docs/streaming.md",
    "docs/bundle.md",
    "docs/comparing.md",
    "docs/encoders.md",
    "docs/extending.md",
    "docs/training.md",
)
BEFORE = {"docs/extending.md": tuple(f"docs/adding-a-{part}.md" for part in ("feature", "model", "corpus", "loss"))}
"""What a page takes up where others leave off."""
BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)(?P<target>[^)#\s]+)")
SHELL = {"|", ">"}


@dataclass(frozen=True)
class Block:
    """One fenced block; `note` is a comment right above it, such as `not run: trains` or `needs: emodb/x.flac`."""

    document: str
    line: int
    kind: str
    text: str
    note: str

    def commands(self) -> Iterator[tuple[list[str], list[str]]]:
        """Each command of a console block, and the output that is shown for it."""
        for part in re.split(r"^\$ ", self.text, flags=re.M)[1:] if self.kind == "console" else ():
            command, *output = part.rstrip().splitlines()
            yield shlex.split(command), [line.rstrip() for line in output]


def read_blocks(document: Path) -> list[Block]:
    text, name = document.read_text(encoding="utf-8"), document.relative_to(ROOT).as_posix()
    return [
        Block(name, text[: m.start("text")].count("\n") + 1, m["kind"], m["text"], m["note"] or "")
        for m in BLOCK.finditer(text)
    ]


BLOCKS = [block for document in DOCUMENTS for block in read_blocks(document)]
COMMANDS = sorted({shlex.join(words) for block in BLOCKS for words, _ in block.commands()})
REAL = [block for block in BLOCKS if block.note.startswith("needs: ")]


@cache
def command_line() -> Any:
    return typer.main.get_command(build_app())


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("vocaffect ")])
def test_every_command_shown_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in SHELL), len(words))]
    parser = command_line()
    while words and words[0] in getattr(parser, "commands", {}):
        parser = parser.commands[words.pop(0)]
    if hasattr(parser, "commands"):
        assert parser.invoke_without_command, words
        assert words[0].startswith("-")
    with pytest.raises(typer.Exit) if "--help" in words else nullcontext():
        parser.make_context(parser.name, words)


def test_every_make_target_shown_exists() -> None:
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    shown = set(re.findall(r"(?:`|\$ )make (\w+)", text))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"serve", "test", "lint", "bench", "docs"} <= shown & targets
    assert shown <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for match in LINK.finditer(document.read_text(encoding="utf-8")):
        assert (document.parent / match["target"]).exists(), match["target"]


def test_every_page_can_be_reached() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"} <= set(index)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page: str, tmp_path: Path) -> None:
    if not shipped_names() and page not in ("docs/extending.md", "docs/training.md"):
        pytest.skip("no recogniser is shipped yet, so a page that uses it cannot run")
    record(tmp_path)
    for block in (block for block in BLOCKS if block.document in (*BEFORE.get(page, ()), page) and not block.note):
        run(block, tmp_path)


@pytest.mark.parametrize("block", REAL, ids=lambda block: f"{block.document}:{block.line}")
def test_what_is_shown_of_real_speech_is_what_is_printed(block: Block, tmp_path: Path) -> None:
    data = Path(os.environ.get("VOCAFFECT_DATA", "data"))
    for name in block.note.removeprefix("needs: ").split():
        if not (data / name).is_file() or not shipped_names():
            pytest.skip(f"there is no {name} below the folder that VOCAFFECT_DATA names, or no shipped recogniser")
        shutil.copy(data / name, tmp_path)
    assert all(output for _, output in block.commands())
    run(block, tmp_path)


def record(folder: Path) -> None:
    """`clip.wav` with a voice in it, and `clips/` with a few by six speakers, all from a formula."""
    speech = runpy.run_path(str(ROOT / "tests" / "server" / "voice.py"))["speech"]
    soundfile.write(folder / "clip.wav", speech(), 16_000)
    (folder / "clips").mkdir()
    rng = np.random.default_rng(0)
    for speaker in ("anna", "ben", "cem", "dora", "eve", "finn"):
        for emotion in ("angry", "happy", "sad"):
            voice = rng.uniform(0.3, 1) * speech(0.1, rng.uniform(0.6, 1.0), 0.1)
            noisy = voice + rng.normal(0, 0.003, len(voice))
            soundfile.write(folder / "clips" / f"{speaker}_{emotion}_1.wav", noisy, 16_000)


def run(block: Block, folder: Path) -> None:
    """Run a block in a folder: a console block's commands, a program, or a file that its first line names."""
    if named := re.match(r"# (\w+\.(?:py|yaml))\n", block.text):
        (folder / named[1]).write_text(block.text, encoding="utf-8")
    elif block.kind == "python":
        run_command(["python", "-W", "error", "-c", block.text], folder)
    for words, output in block.commands():
        printed = run_command(words, folder)
        assert not output or [line.rstrip() for line in printed.splitlines()] == output


def run_command(words: list[str], folder: Path) -> str:
    match words:
        case ["python", *rest]:
            command = [sys.executable, *rest]
        case ["vocaffect", *rest]:
            command = [sys.executable, "-c", "from vocaffect.cli import main; main()", *rest]
        case _:
            raise AssertionError(f"cannot run {words}; mark its block with <!-- not run: why -->")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOCAFFECT_")}
    environment["COLUMNS"] = "120"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout
