import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner, Result

from vocaffect.bundle import golden_signal
from vocaffect.cli import recognize as room
from vocaffect.errors import VocaffectError
from vocaffect.recognizer import Recognizer

MAIN = [sys.executable, "-c", "import sys; sys.argv[0] = 'vocaffect'; from vocaffect.cli import main; main()"]
LABELS = ["neutral", "happy", "sad"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices, one silence and one text that is no audio, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "deep").mkdir()
    voice = np.concatenate([golden_signal(1.5), np.zeros(11_200, np.float32)])
    sf.write(folder / "a.wav", voice, 16_000)
    sf.write(folder / "deep" / "b.FLAC", np.concatenate([voice, voice]), 16_000, format="FLAC")
    sf.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "text.wav").write_text("not audio")
    (folder / "notes.txt").write_text("no clip")
    return folder


def call(*arguments: object) -> Result:
    app = typer.Typer()
    room.register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], terminal_width=100)


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*MAIN, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_one_clip_is_shown_with_bars(toy_bundle: Path, clips: Path) -> None:
    result = call("recognize", clips / "a.wav", "-r", toy_bundle)
    found = Recognizer.load(toy_bundle).recognize(clips / "a.wav")
    assert result.exit_code == 0
    head, blank, *bars = result.stdout.splitlines()
    assert found.label is not None
    assert found.posterior is not None
    assert head.split() == [found.label, f"{found.posterior.max():.2f}", "2.2", "s", str(clips / "a.wav")]
    assert blank == ""
    assert [bar.split()[0] for bar in bars] == LABELS
    assert [bar.split()[-1] for bar in bars] == [f"{p:.2f}" for p in found.posterior]


def test_spans_are_listed_where_there_are_several(toy_bundle: Path, clips: Path) -> None:
    lines = call("recognize", clips / "deep" / "b.FLAC", "-r", toy_bundle).stdout.splitlines()
    assert len(lines) == 2 + 3 + 1 + 2
    assert lines[-2].lstrip().startswith("0:00.0 - 0:01.")


def test_silence_is_shown_as_silence(toy_bundle: Path, clips: Path) -> None:
    result = call("recognize", clips / "silent.wav", "-r", toy_bundle)
    assert result.stdout.split() == ["silence", "1.0", "s", str(clips / "silent.wav")]


def test_json_is_one_object_a_line(toy_bundle: Path, clips: Path) -> None:
    result = call("recognize", clips / "a.wav", clips / "silent.wav", "--json", "-r", toy_bundle)
    voice, silence = map(json.loads, result.stdout.splitlines())
    recognizer = Recognizer.load(toy_bundle)
    assert voice == {"file": str(clips / "a.wav"), **recognizer.recognize(clips / "a.wav").to_dict()}
    assert silence["label"] is silence["posterior"] is None


def test_csv_is_a_table(toy_bundle: Path, clips: Path) -> None:
    result = call("recognize", clips / "a.wav", clips / "silent.wav", "--csv", "-r", toy_bundle)
    voice, silence = csv.DictReader(io.StringIO(result.stdout))
    found = Recognizer.load(toy_bundle).recognize(clips / "a.wav").to_dict()
    assert {name: float(voice[name]) for name in LABELS} == found["posterior"]
    assert voice["label"] == found["label"]
    assert silence == dict.fromkeys(["label", *LABELS], "") | {
        "file": str(clips / "silent.wav"),
        "duration_s": "1.0",
    }


def test_folders_and_patterns(toy_bundle: Path, clips: Path) -> None:
    def files(*arguments: object) -> list[str]:
        lines = call("recognize", *arguments, "--json", "-r", toy_bundle).stdout.splitlines()
        return [str(Path(json.loads(line)["file"]).relative_to(clips)) for line in lines]

    assert files(clips) == ["a.wav", "deep/b.FLAC", "silent.wav"]
    assert files(clips / "*.wav") == ["a.wav", "silent.wav"]
    assert files(clips / "**" / "*.FLAC") == ["deep/b.FLAC"]
    assert files(clips / "**") == ["a.wav", "deep/b.FLAC", "silent.wav"]
    assert files(clips / "d*") == ["deep/b.FLAC"]


def test_a_name_that_looks_like_a_pattern_is_a_name_first(toy_bundle: Path, clips: Path, tmp_path: Path) -> None:
    odd = tmp_path / "take[1].wav"
    odd.write_bytes((clips / "a.wav").read_bytes())
    assert call("recognize", odd, "-r", toy_bundle).exit_code == 0
    assert str(odd) in call("recognize", tmp_path / "*.wav", "-r", toy_bundle).stdout


def test_bad_files_are_reported_and_the_rest_is_answered(toy_bundle: Path, clips: Path) -> None:
    result = call(
        "recognize", clips / "missing.wav", clips, clips / "*.mp3", clips / "a.wav", "--json", "-r", toy_bundle
    )
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 4
    complaints = result.stderr.splitlines()
    assert len(complaints) == 3
    assert all(line.startswith("error: ") for line in complaints)
    assert "there are no audio files in" in complaints[0]
    assert "missing.wav" in complaints[1]
    assert "text.wav" in complaints[2]


def test_json_and_csv_exclude_each_other(toy_bundle: Path, clips: Path) -> None:
    result = call("recognize", clips / "a.wav", "--json", "--csv", "-r", toy_bundle)
    assert isinstance(result.exception, VocaffectError)


@pytest.mark.parametrize("damage", ["cut", "bit"])
def test_a_damaged_bundle_is_one_sentence_and_exit_code_2(
    toy_bundle: Path, clips: Path, tmp_path: Path, damage: str
) -> None:
    data = bytearray(toy_bundle.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 1
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data[:-1] if damage == "cut" else data)
    result = run("recognize", clips / "a.wav", "-r", path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {path} is ")
    assert result.stderr.endswith("copy it again or export it again\n")
    assert result.stderr.count("\n") == 1


def test_the_process_imports_nothing_heavy(toy_bundle: Path, clips: Path) -> None:
    code = (
        "import sys; sys.argv[0] = 'vocaffect'\nfrom vocaffect.cli import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'pyarrow', 'fastapi', 'av', 'rich', 'librosa', 'scipy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    for arguments in (["recognize", clips / "a.wav"], ["listen", "--file", clips / "a.wav"]):
        command = [sys.executable, "-c", code, *map(str, arguments), "-r", str(toy_bundle)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (result.returncode, result.stderr) == (0, "")


def test_listening_to_a_file_prints_its_spans(toy_bundle: Path, clips: Path) -> None:
    path = clips / "deep" / "b.FLAC"
    expected = Recognizer.load(toy_bundle).recognize(path)
    result = call("listen", "--file", path, "--json", "-r", toy_bundle)
    assert [json.loads(line) for line in result.stdout.splitlines()] == expected.to_dict()["segments"]
    plain = call("listen", "--file", path, "-r", toy_bundle).stdout.splitlines()
    assert [line.split("\t")[2] for line in plain] == [segment.label for segment in expected.segments]


def test_listening_in_real_time_takes_as_long_as_the_file(toy_bundle: Path, clips: Path) -> None:
    begun = time.monotonic()
    assert call("listen", "--file", clips / "silent.wav", "--realtime", "-r", toy_bundle).exit_code == 0
    assert 0.9 < time.monotonic() - begun < 5


def test_realtime_goes_with_a_file(toy_bundle: Path) -> None:
    result = call("listen", "--realtime", "-r", toy_bundle)
    assert "--realtime goes with --file" in str(result.exception)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT between processes")
def test_interrupting_ends_the_segment_and_exits_cleanly(toy_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sf.write(path, np.concatenate([golden_signal(1.25), np.zeros(16_000), golden_signal(30)]), 16_000)
    command = [*MAIN, "listen", "--file", str(path), "--realtime", "--json", "-r", str(toy_bundle)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    (second,) = map(json.loads, out.splitlines())
    assert first["end_s"] < second["start_s"] < second["end_s"] < 10
