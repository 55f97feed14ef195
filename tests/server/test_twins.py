"""The file that the page's own streams are tested against is what Python decides today."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "web" / "twins_from_python.py"


def test_the_twins_file_is_what_python_decides() -> None:
    script = runpy.run_path(str(SCRIPT))
    kept = json.loads(script["TARGET"].read_text(encoding="utf-8"))
    assert_same(kept, json.loads(json.dumps(script["render"]())), "twins.json")


def assert_same(kept: Any, now: Any, where: str) -> None:
    """Numbers may differ in the last digit that is kept, as processors do."""
    cure = f"{where} has changed; run `python web/{SCRIPT.name}`"
    if isinstance(kept, dict):
        assert kept.keys() == now.keys(), cure
        for key in kept:
            assert_same(kept[key], now[key], f"{where}.{key}")
    elif isinstance(kept, list):
        assert len(kept) == len(now), cure
        for index, (old, new) in enumerate(zip(kept, now, strict=True)):
            assert_same(old, new, f"{where}[{index}]")
    elif isinstance(kept, float):
        assert now == pytest.approx(kept, abs=2e-5), cure
    else:
        assert kept == now, cure
