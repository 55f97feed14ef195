"""The database of what users save: SQLite in a file that only its owner can read, or PostgreSQL by URL."""

import os
from pathlib import Path
from typing import Any

import platformdirs
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from vocaffect.errors import VocaffectError

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATING = 20_261_126
"""The number under which servers that start together take turns to migrate a PostgreSQL database."""


def default_url() -> str:
    """SQLite, in the user's own data folder."""
    return f"sqlite:///{platformdirs.user_data_path('vocaffect', appauthor=False) / 'saved.db'}"


class Database:
    """A database that is opened, and brought to the newest form, when it is first needed."""

    def __init__(self, url: str) -> None:
        try:
            self._url = make_url(url)
        except ArgumentError as error:
            raise VocaffectError(
                f"'{url}' is no database: write sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
            ) from error
        self._engine: Engine | None = None

    @property
    def exists(self) -> bool:
        """Whether anything can have been saved yet: SQLite's file is made by the first save."""
        return self._engine is not None or not self._is_file or Path(self._url.database or "").exists()

    @property
    def _is_file(self) -> bool:
        return self._url.get_backend_name() == "sqlite" and self._url.database not in (None, "", ":memory:")

    @property
    def engine(self) -> Engine:
        """The open database, in its newest form.

        Raises:
            VocaffectError: if it cannot be opened.
        """
        if self._engine is None:
            try:
                engine = self._open()
                with engine.begin() as connection:
                    migrate(connection)
            except (SQLAlchemyError, NoSuchModuleError, ImportError, OSError) as error:
                where = self._url.render_as_string(hide_password=True)
                raise VocaffectError(f"the database {where} cannot be opened ({error}); check its address") from error
            self._engine = engine
        return self._engine

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        if self._is_file:
            file = Path(self._url.database or "")
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        engine = create_engine(self._url, pool_pre_ping=True)
        if self._url.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
        return engine


def migrate(connection: Connection, to: str = "head") -> None:
    """Bring the tables to a revision, the newest by default; one server at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATING})"))
    script = ScriptDirectory(str(MIGRATIONS))

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs(to, revision)

    with EnvironmentContext(Config(), script, fn=steps, destination_rev=to) as context:
        context.configure(connection=connection)
        context.run_migrations()


def _prepare_sqlite(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "secure_delete = ON", "busy_timeout = 5000"):
        connection.execute(f"PRAGMA {pragma}")
