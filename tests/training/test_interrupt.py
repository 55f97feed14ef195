"""Ctrl-C in the middle of training, as a user presses it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vocaffect.recipe import Recipe
from vocaffect.training import checkpoint
from vocaffect.training.stopping import SIGNALS, signals_kept

COMMAND = [sys.executable, "-m", "vocaffect.cli", "train"]


def test_the_first_signal_is_remembered_and_a_second_ctrl_c_ends_at_once() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    notes: list[str] = []
    with signals_kept(notes.append) as came:
        assert came() == 0
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert came() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert len(notes) == 1
    assert "ends at once" in notes[0]


def test_in_another_thread_signals_are_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with signals_kept(pytest.fail) as came:
            seen.append((signal.getsignal(signal.SIGTERM), came()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, 0)]


def test_ctrl_c_leaves_a_run_that_resume_goes_on_with(
    small: Callable[..., Recipe], corpus: Path, tmp_path: Path
) -> None:
    small("training.max_epochs=400", "training.early_stopping_patience=400", "training.workers=1").write(
        tmp_path / "recipe.yaml"
    )
    options = ["--config", tmp_path / "recipe.yaml", "--runs-dir", tmp_path, "--data-root", corpus]
    command = [*COMMAND, *map(str, options), "--run-name", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 2) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output

    progress = checkpoint.load(checkpoint.resumable(tmp_path / "run")[0])[1]["progress"]
    reached = progress["epoch"]
    assert reached >= 2
    where = f"in epoch {reached + 1} after batch {progress['step']}" if progress["step"] else f"after epoch {reached}"
    assert f"stopped by SIGINT {where}" in output
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace("max_epochs: 400", f"max_epochs: {reached + 1}"))
    subprocess.run([*command, "--resume"], check=True, capture_output=True, env=environment)
    epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
    assert epochs == list(range(1, reached + 2))
    assert (tmp_path / "run" / "model.onnx").is_file()
