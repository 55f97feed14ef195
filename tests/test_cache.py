"""The cache gives back what was put in, or nothing: after damage, under many writers, with other settings."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vocaffect.cache import SUFFIX, Cache, clear, stored
from vocaffect.errors import VocaffectError

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = {"features": {"mfcc": {}}, "trim": None}
SOUND = "ab" * 32


def values(seed: int = 0, shape: tuple[int, int] = (20, 14)) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def entry(folder: Path) -> Path:
    (path,) = folder.glob(f"*/*/*{SUFFIX}")
    return path


def never() -> NDArray[np.float32]:
    raise AssertionError("it is there already")


def test_computed_once_and_found_by_others(tmp_path: Path) -> None:
    cache, other = Cache(tmp_path, SETTINGS), Cache(tmp_path, SETTINGS)
    np.testing.assert_array_equal(cache.get(SOUND, values), values())
    np.testing.assert_array_equal(other.get(SOUND, never), values())
    assert (cache.counts, other.counts) == ({"computed": 1}, {"found": 1})


def test_other_settings_and_other_sounds_are_other_entries(tmp_path: Path) -> None:
    Cache(tmp_path, SETTINGS).write(SOUND, values())
    assert Cache(tmp_path, SETTINGS | {"trim": -60}).read(SOUND) is None
    assert Cache(tmp_path, SETTINGS).read("cd" * 32) is None
    assert Cache(tmp_path, dict(reversed(SETTINGS.items()))).read(SOUND) is not None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_found_counted_and_mended(tmp_path: Path, data: st.DataObject) -> None:
    cache = Cache(tmp_path, SETTINGS)
    cache.write(SOUND, values())
    path, content = entry(tmp_path), bytearray(entry(tmp_path).read_bytes())
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "length")]
    else:
        content[data.draw(st.integers(0, len(content) - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    path.write_bytes(content)
    np.testing.assert_array_equal(cache.get(SOUND, values), values())
    assert cache.counts == {"computed": 1, "corrupted": 1}
    np.testing.assert_array_equal(cache.get(SOUND, never), values())


def test_what_lies_under_another_name_is_not_read(tmp_path: Path) -> None:
    """Whole as it is: under another clip's name, or that of other settings, it is the wrong file."""
    cache, other = Cache(tmp_path / "a", SETTINGS), Cache(tmp_path / "b", {"features": {}})
    cache.write(SOUND, values(0))
    right = entry(tmp_path / "a").read_bytes()
    other.write(SOUND, values(1))
    entry(tmp_path / "b").write_bytes(right)
    assert other.read(SOUND) is None
    entry(tmp_path / "a").unlink()
    cache.write("cd" * 32, values(2))
    entry(tmp_path / "a").write_bytes(right)
    assert cache.read("cd" * 32) is None


@pytest.mark.parametrize("vandal", [False, True])
def test_many_writers_at_once(vandal: bool) -> None:
    """The full count, 16 processes and 1,000 keys, is `python benchmarks/cache_writers.py`."""
    words = ["--processes", "4", "--keys", "40", *["--vandal"] * vandal]
    program = [sys.executable, str(ROOT / "benchmarks" / "cache_writers.py"), *words]
    told = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    assert told["wrong"] == 0
    assert told["found"] + told["computed"] == 4 * 2 * 40
    assert told["computed"] >= 40
    assert vandal or "corrupted" not in told


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(VocaffectError, match="could not be written"):
        Cache(tmp_path / "cache", SETTINGS).write(SOUND, values())


def test_what_it_holds_and_clearing_it(tmp_path: Path) -> None:
    for number in range(3):
        Cache(tmp_path, SETTINGS).write(f"{number:064x}", values())
    Cache(tmp_path, {"features": {}}).write(SOUND, values())
    (tmp_path / "notes.txt").write_text("mine")
    found = {len(each.settings): (each.num_clips, each.num_bytes > 1_000) for each in stored(tmp_path)}
    assert found == {2: (3, True), 1: (1, True)}
    assert clear(tmp_path) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert stored(tmp_path) == []
    for ask in (stored, clear):
        with pytest.raises(VocaffectError, match="there is no cache"):
            ask(tmp_path / "none")
