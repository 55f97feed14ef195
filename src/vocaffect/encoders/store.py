"""Where pretrained encoders lie on this machine, how they get there, and how we know that they are what we mean."""

import hashlib
import json
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from vocaffect import __version__
from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.files import atomic_path, write_text

VARIABLE = "VOCAFFECT_ENCODERS"
PATTERNS = ("config.json", "preprocessor_config.json", "*.safetensors", "pytorch_model*.bin")
"""What of a repository on the hub is fetched."""
RECORD = "encoder.json"
"""Beside a repository's files: which revision they are, and the hash of each."""
TIMEOUT_S = 30.0

Progress = Callable[[int, int], None]


class EncoderError(VocaffectError):
    """An encoder is not here, or not what it should be; the message says what to do."""


@dataclass(frozen=True)
class Known:
    """An encoder whose one file is known to the byte, and where a public archive holds it."""

    file: str
    sha256: str
    url: str
    member: str
    licence: str
    about: str


KNOWN = {
    "moonshine-base": Known(
        "moonshine-base.onnx",
        "1dd9ab0a7f987113d30affcba5a068d11c8f90fa0223caa3e491ade431ad9751",
        "https://registry.npmjs.org/@usefulsensors/moonshine-js/-/moonshine-js-0.1.14.tgz",
        "package/dist/model/base/quantized/encoder_model.onnx",
        "MIT",
        "English speech recognition, 8 layers of 416, 20 M parameters in 8 bits",
    )
}


def folder() -> Path:
    """Where encoders are kept: ``$VOCAFFECT_ENCODERS``, or ``~/.cache/vocaffect/encoders``."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "vocaffect" / "encoders"


def place_of(name: str) -> Path:
    """Where an encoder lies, or would lie: a file, or for ``owner/name`` on the hub a folder.

    Raises:
        EncoderError: if the name is neither known nor one that the hub could have.
    """
    if name in KNOWN:
        return folder() / KNOWN[name].file
    owner, slash, repository = name.partition("/")
    if not (slash and owner and repository) or "/" in repository or ".." in name:
        raise EncoderError(f"{unknown_name('encoder', name, KNOWN)}, and on the hub owner/name")
    return folder() / f"{owner}--{repository}"


def locate(name: str) -> Path:
    """Where an encoder lies, once its bytes are known to be right.

    Raises:
        EncoderError: if it is missing or altered; the message says where to get it.
    """
    place = place_of(name)
    if not place.exists():
        raise EncoderError(f"the encoder {name} is not here: {_cure(name)}")
    expected = {place: KNOWN[name].sha256} if name in KNOWN else _recorded(place)
    for path, digest in expected.items():
        if not path.is_file() or sha256(path) != digest:
            raise EncoderError(f"{path} is missing or not what was fetched: {_cure(name)}")
    return place


def fetch(
    name: str, source: Path | None = None, *, revision: str | None = None, progress: Progress = lambda done, all_: None
) -> Path:
    """Bring an encoder here, unless it is; all or nothing.

    Args:
        name: known by name, or ``owner/name`` on the Hugging Face hub.
        source: a file that the user has; its hash must be right.
        revision: of a repository on the hub; the newest where not given.
        progress: hears (bytes here, bytes in all).

    Raises:
        EncoderError: if it cannot be had, or is not what it should be.
    """
    place = place_of(name)
    if place.exists() and source is None:
        return locate(name)
    folder().mkdir(parents=True, exist_ok=True)
    if name not in KNOWN:
        return _fetch_repository(name, place, source, revision)
    with TemporaryDirectory(dir=folder()) as temporary:
        file = source or _download(KNOWN[name], Path(temporary), progress)
        if not file.is_file():
            raise EncoderError(f"there is no file {file}: {_cure(name)}")
        if sha256(file) != KNOWN[name].sha256:
            raise EncoderError(f"{file} is not the encoder {name}: {_cure(name)}")
        with atomic_path(place) as fresh:
            shutil.copyfile(file, fresh)
    return place


def sha256(path: Path) -> str:
    """The hash of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def here() -> list[str]:
    """The names of the encoders on this machine, sorted, known ones and those of the hub."""
    known = [name for name in KNOWN if place_of(name).is_file()]
    return sorted([*known, *(path.parent.name.replace("--", "/", 1) for path in folder().glob(f"*/{RECORD}"))])


def _download(known: Known, temporary: Path, progress: Progress) -> Path:
    request = urllib.request.Request(known.url, headers={"User-Agent": f"vocaffect/{__version__}"})
    archive, done = temporary / "archive.tgz", 0
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, archive.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(1 << 16):
                done += file.write(chunk)
                progress(done, total)
        with tarfile.open(archive) as packed, (temporary / known.file).open("wb") as file:
            member = packed.extractfile(known.member)
            assert member is not None
            shutil.copyfileobj(member, file)
    except (OSError, tarfile.TarError, KeyError, urllib.error.URLError) as error:
        raise EncoderError(
            f"{known.url} gave no encoder ({error}): fetch it in another way and pass --from FILE"
        ) from None
    return temporary / known.file


def _fetch_repository(name: str, place: Path, source: Path | None, revision: str | None) -> Path:
    """A repository's files, beside a record of their hashes."""
    with TemporaryDirectory(dir=folder()) as temporary:
        fresh = Path(temporary) / "fresh"
        if source is not None:
            if not (source / "config.json").is_file():
                raise EncoderError(f"{source} holds no config.json: give a folder with an encoder of transformers")
            shutil.copytree(source, fresh, ignore=shutil.ignore_patterns(".*"))
        else:
            _download_repository(name, fresh, revision)
        files = {path.name: sha256(path) for path in sorted(fresh.iterdir()) if path.is_file()}
        write_text(fresh / RECORD, json.dumps({"name": name, "revision": revision, "sha256": files}, indent=1) + "\n")
        if place.exists():
            shutil.rmtree(place)
        fresh.rename(place)
    return place


def _download_repository(name: str, fresh: Path, revision: str | None) -> None:
    from vocaffect.encoders.hugging_face import require_transformers

    require_transformers()
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, revision=revision, local_dir=fresh, allow_patterns=list(PATTERNS))
    except Exception as error:  # the library's errors for a missing repository, network and disk share no base
        raise EncoderError(f"the hub gave no {name} ({error}): check the name, or pass --from FOLDER") from None
    shutil.rmtree(fresh / ".cache", ignore_errors=True)


def _recorded(place: Path) -> dict[Path, str]:
    try:
        files = json.loads((place / RECORD).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError):
        return {place / RECORD: ""}
    return {place / name: digest for name, digest in files.items()}


def _cure(name: str) -> str:
    command = f"fetch it with 'vocaffect encoders fetch {name}'"
    if name not in KNOWN:
        return f"{command}, or from a folder with --from"
    known = KNOWN[name]
    return f"{command}, or with --from FILE, which is {known.member} of {known.url} (sha256 {known.sha256})"
