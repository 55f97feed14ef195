"""Ctrl-C in the middle of training, as a user presses it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vocaffect.recipe import Recipe
from vocaffect.training import checkpoint

COMMAND = [sys.executable, "-c", "from vocaffect.cli import main; main()", "train"]


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
    assert "stopped by SIGINT" in output
    assert "Traceback" not in output

    reached = checkpoint.load(checkpoint.resumable(tmp_path / "run")[0])[1]["progress"]["epoch"]
    assert reached >= 2
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace("max_epochs: 400", f"max_epochs: {reached + 1}"))
    subprocess.run([*command, "--resume"], check=True, capture_output=True, env=environment)
    epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
    assert epochs == list(range(1, reached + 2))
    assert (tmp_path / "run" / "model.onnx").is_file()
