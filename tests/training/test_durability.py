"""What training survives, in small numbers; `python benchmarks/durability.py` tries the large ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "durability.py"


@pytest.mark.skipif(sys.platform != "linux", reason="the script forks, and limits files as Linux does")
def test_the_laws_of_durability() -> None:
    counts = ["--workers", "0", "2", "--kills", "3", "--damage", "60", "--every", "5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, SCRIPT, *counts], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count(" of ") >= 5
