"""Plug-ins: files, or installed packages, that register features, models, corpora and losses of one's own.

A file is run as it is whenever something that names it is read: a recipe, or the folder of a run, which keeps a copy.
A package names modules under the entry point ``vocaffect.plugins``.
"""

import hashlib
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from vocaffect.errors import VocaffectError
from vocaffect.files import write_bytes
from vocaffect.registry import PLUGIN

GROUP = "vocaffect.plugins"
FOLDER = "plugins"
"""Where a run keeps copies of its plug-ins."""


def load_plugins(files: Mapping[str, str]) -> None:
    """Load the plug-ins of installed packages, then these files, each with its SHA-256 or ``""``.

    Raises:
        VocaffectError: if one of them is missing, is not the file of that hash, or raises.
    """
    load_installed()
    for path, sha256 in files.items():
        load_file(Path(path), sha256)


def load_installed() -> dict[str, str]:
    """Load the plug-ins of installed packages; returns each package's version by its name.

    Raises:
        VocaffectError: if one of them raises.
    """
    found = entry_points(group=GROUP)
    for point in found:
        try:
            point.load()
        except Exception as error:
            raise VocaffectError(
                f"the plug-in '{point.name}' of the package {_package(point)[0]} cannot be loaded "
                f"({type(error).__name__}: {error}): mend the package, or uninstall it"
            ) from error
    return dict(_package(point) for point in found)


def load_file(path: Path, sha256: str = "") -> ModuleType:
    """Run a plug-in's file.

    Raises:
        VocaffectError: if it is missing, has another hash, or raises.
    """
    content = _read(path)
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise VocaffectError(f"the plug-in {path} has changed since the run was started: put the original back")
    module = ModuleType(PLUGIN + path.stem)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
    except VocaffectError as error:
        raise VocaffectError(f"the plug-in {path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise VocaffectError(blame(error) or f"the plug-in {path} is no Python: {error}") from error
    return module


def keep_plugins(files: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Copy plug-ins into a run's folder; returns their paths relative to it, with their SHA-256.

    Raises:
        VocaffectError: if two of them have the same file name.
    """
    kept: dict[str, str] = {}
    for path in map(Path, files):
        name, content = f"{FOLDER}/{path.name}", _read(path)
        if name in kept:
            raise VocaffectError(f"two plug-ins are called {path.name}: rename one")
        kept[name] = hashlib.sha256(content).hexdigest()
        if path.resolve() != (folder / name).resolve():
            write_bytes(folder / name, content)
    return kept


def blame(error: BaseException) -> str | None:
    """A sentence about an error that came out of a plug-in's file; ``None`` for any other error."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name: str = frame.f_globals.get("__name__", "")
        if name.startswith(PLUGIN):
            where = f"{frame.f_globals.get('__file__')}, line {line}, in {frame.f_code.co_name}"
            return f"the plug-in raised {type(error).__name__}: {error} ({where}); mend it there"
    return None


def _package(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else (point.module, "unknown")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VocaffectError(
            f"the plug-in {path} cannot be read ({error.strerror}): paths are relative to the recipe"
        ) from error
