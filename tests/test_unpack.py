"""Archives that were made to do harm: each is refused, and nothing of it stays."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vocaffect.corpora.unpack import UnpackError, unpacked

LIMIT = 1 << 20


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


FILES = {f"Actor_{n:02}/clip.wav": np.random.default_rng(n).bytes(3000) for n in range(3)}
GOOD = zip_of(FILES)


def link_zip() -> bytes:
    info = zipfile.ZipInfo("happy/link.wav")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def lying_bomb() -> bytes:
    """40 MB of zeros whose headers say that they are 10 bytes."""
    content = bytearray(zip_of({"zeros.wav": bytes(40_000_000)}))
    size = struct.pack("<I", 40_000_000)
    while (at := content.find(size)) >= 0:
        content[at : at + 4] = struct.pack("<I", 10)
    return bytes(content)


def encrypted() -> bytes:
    content = bytearray(zip_of({"a.wav": b"x"}))
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


HOSTILE = {
    "slip": (zip_of({"../evil.wav": b"x"}), "leads out"),
    "deep slip": (zip_of({"happy/../../evil.wav": b"x"}), "leads out"),
    "absolute": (zip_of({"/tmp/vocaffect-evil.wav": b"x"}), "leads out"),
    "drive": (zip_of({"C:/evil.wav": b"x"}), "leads out"),
    "backslash": (zip_of({"..\\evil.wav": b"x"}), "leads out"),
    "link": (link_zip(), "link"),
    "bomb": (zip_of({"zeros.wav": bytes(40_000_000)}), "unpacks to more"),
    "many small": (zip_of({f"{n}.wav": bytes(30_000) for n in range(100)}), "unpacks to more"),
    "lying bomb": (lying_bomb(), "damaged|unpacks to more"),
    "same name": (zip_of({"a.wav": b"x", "A.wav": b"y"}), "twice"),
    "file and folder": (zip_of({"a": b"x", "a/b.wav": b"y"}), "cannot be unpacked"),
    "encrypted": (encrypted(), "encrypted"),
    "cut zip": (GOOD[:-30], "damaged"),
    "no zip inside": (b"PK\x03\x04" + bytes(200), "damaged"),
    "bad data": (GOOD[:60] + bytes(40) + GOOD[100:], "damaged"),
}


def write(folder: Path, content: bytes) -> Path:
    (folder / "inner").mkdir()
    (folder / "inner" / "archive.zip").write_bytes(content)
    return folder / "inner" / "archive.zip"


def test_everything_comes_out_once_and_can_be_kept(tmp_path: Path) -> None:
    archive = write(tmp_path, GOOD)
    with unpacked(archive, archive.parent, LIMIT) as folder:
        folder.rename(tmp_path / "kept")
    found = {path.relative_to(tmp_path / "kept").as_posix(): path.read_bytes() for path in tmp_path.rglob("*.wav")}
    assert found == FILES
    assert [path.name for path in archive.parent.iterdir()] == ["archive.zip"]


def test_what_is_not_kept_is_removed(tmp_path: Path) -> None:
    archive = write(tmp_path, GOOD)
    with unpacked(archive, archive.parent, LIMIT) as folder:
        assert len(list(folder.rglob("*.wav"))) == 3
    assert [path.name for path in archive.parent.iterdir()] == ["archive.zip"]


def test_the_limit_is_exact(tmp_path: Path) -> None:
    archive = write(tmp_path, GOOD)
    with unpacked(archive, archive.parent, 9000):
        pass
    with pytest.raises(UnpackError, match="unpacks to more"), unpacked(archive, archive.parent, 8999):
        pass


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    content, sentence = HOSTILE[name]
    archive = write(tmp_path, content)
    with pytest.raises(UnpackError, match=sentence), unpacked(archive, archive.parent, LIMIT):
        pytest.fail("it was unpacked")
    assert [path.name for path in archive.parent.iterdir()] == ["archive.zip"]
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert not Path("/tmp/vocaffect-evil.wav").exists()
