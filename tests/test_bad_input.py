"""What people get wrong, at the command line: each a sentence with the cure, exit code 2, and nothing half-written."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocaffect.cli import main

Make = Callable[[Path], Path]


def wav(samples: object, rate: int = 16_000, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(samples), rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


TONE = 0.1 * np.sin(np.arange(16_000) * 0.05)

BAD_CLIPS: dict[str, tuple[bytes | None, str]] = {
    "missing file": (None, "there is no file"),
    "text named .wav": (b"this is a letter, not a recording\n" * 20, "cannot be read|not audio"),
    "empty file": (b"", "not audio that can be read"),
    "no samples": (wav(np.zeros(0)), "no samples|empty"),
    "one sample": (wav([0.5]), "one sample|too short|1 sample"),
    "not a number": (wav(np.full(16_000, np.nan), subtype="FLOAT"), "finite"),
    "nine channels": (wav(np.zeros((16_000, 9))), "channels"),
    "cut in its header": (wav(TONE)[:30], "cannot be read|not audio|empty|no samples"),
}
GOOD_CLIPS = {
    "8 bit": wav(TONE, subtype="PCM_U8"),
    "24 bit": wav(TONE, subtype="PCM_24"),
    "float": wav(TONE, subtype="FLOAT"),
    "192 kHz": wav(np.repeat(TONE, 12), 192_000),
    "six channels": wav(np.stack([TONE] * 6, axis=1)),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    code = ended.value.code
    return (0 if code is None else int(code)), captured.out, captured.err


@pytest.mark.parametrize("name", BAD_CLIPS)
def test_a_clip_that_cannot_be_used(
    name: str, toy_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD_CLIPS[name]
    clip = tmp_path / "clip.wav"
    if content is not None:
        clip.write_bytes(content)
    code, _, error = run(capsys, "recognize", clip, "--recognizer", toy_bundle)
    assert code == 2
    assert str(clip) in error
    assert any(part in error for part in message.split("|")), error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", GOOD_CLIPS)
def test_a_clip_that_is_merely_unusual(
    name: str, toy_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.wav").write_bytes(GOOD_CLIPS[name])
    code, output, _ = run(capsys, "recognize", tmp_path / "clip.wav", "--recognizer", toy_bundle, "--json")
    assert code == 0
    assert "duration_s" in output


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path


def flip(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("spoil", "message"), [(cut, "cut short"), (flip, "damaged")])
@pytest.mark.parametrize("command", [("recognize", "clip.wav", "--recognizer"), ("verify",)])
def test_a_bundle_that_is_not_whole(
    spoil: Make,
    message: str,
    command: tuple[str, ...],
    toy_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "clip.wav").write_bytes(wav(TONE))
    (tmp_path / "x.onnx").write_bytes(toy_bundle.read_bytes())
    spoiled = spoil(tmp_path / "x.onnx")
    code, _, error = run(capsys, *[tmp_path / part if "." in part else part for part in command], spoiled)
    assert code == 2
    assert message in error


def test_a_table_without_a_column_or_with_an_unknown_emotion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.wav").write_bytes(wav(TONE))
    table, manifest = tmp_path / "mine.csv", tmp_path / "manifest.csv"
    for text, message in (
        ("path,speaker\nclip.wav,ann\n", "emotion"),
        ("path,emotion,speaker\nclip.wav,hapy,ann\n", "did you mean 'happy'"),
    ):
        table.write_text(text)
        code, _, error = run(capsys, "data", "prepare", table, "--data-root", tmp_path, "-o", manifest)
        assert code == 2
        assert message in error
        assert not manifest.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {bach_size: 16}\n", "did you mean 'training.batch_size'"),
        ("frontend: {features: {mfc: {}}}\n", "did you mean 'mfcc'"),
        ("model: {name: lsmt}\n", "did you mean 'lstm'"),
        ("data: {protocol: ravdess-emobox}\n", "did you mean 'ravdess-emobox6'"),
        ("training: [\n", "not valid YAML"),
    ],
)
def test_a_recipe_that_is_wrong(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The speakers' clips are fine; nothing of a run is written before the recipe is known to be, too."""
    for emotion in ("happy", "sad"):
        for speaker in "abcde":
            folder = tmp_path / "clips" / emotion / speaker
            folder.mkdir(parents=True)
            (folder / "1.wav").write_bytes(wav(TONE * (1 + (10 * ord(speaker) + len(emotion)) / 5000)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text if "data:" in text else text + "data: {corpus: folder, protocol: speaker-kfold}\n")
    changes = ["--set", "data.corpus=folder"]
    arguments = ["--config", recipe, "--run-name", "x", "--runs-dir", tmp_path, "--data-root", tmp_path / "clips"]
    code, _, error = run(capsys, "train", *arguments, *changes)
    assert code == 2
    assert message in error
    assert not (tmp_path / "x").exists()


def test_no_such_recogniser_or_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip.wav").write_bytes(wav(TONE))
    code, _, error = run(capsys, "recognize", tmp_path / "clip.wav", "--recognizer", "lvie")
    assert code == 2
    assert "'lvie' is not known" in error
    code, _, error = run(capsys, "recognise", tmp_path / "clip.wav")
    assert code == 2
    assert "recognize" in error
