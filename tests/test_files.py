"""Files are replaced whole or not at all."""

import errno
import os
import resource
from pathlib import Path

import pytest

from vocaffect.errors import VocaffectError
from vocaffect.files import atomic_path, write_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "one")
    write_text(tmp_path / "new" / "a.txt", "two")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "two"


@pytest.mark.parametrize("step", ["create", "fsync", "replace", "write"])
def test_a_full_disk_leaves_what_was_there(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    match step:
        case "create":
            monkeypatch.setattr(os, "open", full)
        case "fsync":
            monkeypatch.setattr(os, "fsync", full)
        case "replace":
            monkeypatch.setattr(os, "replace", full)
        case "write":
            resource.setrlimit(resource.RLIMIT_FSIZE, (3, hard))
    try:
        with pytest.raises(VocaffectError, match=r"a\.txt could not be written \((No space|File too large).*make room"):
            write_text(path, "after")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.txt": "before"}


def test_another_error_passes_and_leaves_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text(str(1 / 0))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.txt": "before"}
