"""What a server may be told: where it listens, what it serves, and how much of anything it accepts."""

from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vocaffect.errors import VocaffectError


class Settings(BaseSettings):
    """Limits and addresses; each can be set by an environment variable such as `VOCAFFECT_MAX_CLIP_S`."""

    model_config = SettingsConfigDict(env_prefix="VOCAFFECT_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    recognizers: tuple[str, ...] = Field(default=("default",), min_length=1)
    """Paths of bundles or shipped names; the first is used where a client names none."""
    allowed_hosts: frozenset[str] = frozenset()
    """Names other than `localhost`, IP addresses and `host` under which browsers may reach the server."""
    allowed_origins: frozenset[str] = frozenset()
    """Origins such as `https://example.org` whose pages may call the server besides its own."""
    max_upload_bytes: int = Field(default=32 * 2**20, gt=0)
    """Bytes of one request's body, counted as they arrive."""
    max_batch: int = Field(default=32, gt=0)
    """Files in one form of `POST /v1/recognize/batch`."""
    max_clip_s: float = Field(default=600.0, gt=0)
    """Decoded seconds of one clip."""
    max_stream_s: float = Field(default=3600.0, gt=0)
    """Seconds of audio in one live stream."""
    max_message_bytes: int = Field(default=2**20, gt=0)
    """Bytes of one WebSocket message."""
    max_streams: int = Field(default=16, gt=0)
    """Live streams at once; the next one is told to come back later."""
    upload_timeout_s: float = Field(default=60.0, gt=0)
    hello_timeout_s: float = Field(default=10.0, gt=0)
    idle_timeout_s: float = Field(default=30.0, gt=0)


def load_settings(given: dict[str, Any]) -> Settings:
    """The settings of the environment, with those that were given (and are not None) put over them.

    Raises:
        VocaffectError: if a value is not valid.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise VocaffectError(
            f"the server's settings are not valid ({faults}); check the options and VOCAFFECT_* variables"
        ) from error
