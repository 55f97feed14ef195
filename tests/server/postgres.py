"""A PostgreSQL server of one's own, on a socket in a temporary folder and nowhere else."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("initdb", "pg_ctl", "createdb")
NOBODY = "nobody"
"""It refuses to run for the system's administrator, so it runs for this user then."""


def is_here() -> bool:
    """Whether its programs can be found."""
    return all(map(shutil.which, NEEDED))


@contextmanager
def postgres() -> Iterator[str]:
    """Start it, and give the URL of an empty database."""
    user = NOBODY if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        log, data = folder / "log", folder / "data"

        def run(*command: str) -> None:
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)

        run("initdb", "--auth=trust", "--username=vocaffect", "--no-sync", f"--pgdata={data}")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run("pg_ctl", f"--pgdata={data}", f"--options={options}", f"--log={log}", "--wait", "start")
        try:
            run("createdb", f"--host={folder}", "--username=vocaffect", "vocaffect")
            yield f"postgresql+psycopg://vocaffect@/vocaffect?host={folder}"
        finally:
            run("pg_ctl", f"--pgdata={data}", "--mode=fast", "stop")
