"""What a server may be told: where it listens, what it serves, and how much of anything it accepts."""

import secrets
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vocaffect.errors import VocaffectError
from vocaffect.server.tokens import is_loopback


class Settings(BaseSettings):
    """Limits and addresses; each can be set by an environment variable such as `VOCAFFECT_MAX_CLIP_S`."""

    model_config = SettingsConfigDict(env_prefix="VOCAFFECT_", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    """Processes behind the port, each with the limits below for itself."""
    recognizers: tuple[str, ...] = Field(default=("live", "accurate"), min_length=1)
    """Paths of bundles or shipped names; where a client names none, the first hears streams and the last files."""
    token: str | None = Field(default=None, min_length=16)
    """What callers must show; where the server can be reached from other machines and has none, one is made up."""
    insecure: bool = False
    """Let other machines call without a token."""
    trusted_proxies: str = ""
    """Addresses, with commas between them, of proxies whose `X-Forwarded-For` and `-Proto` are believed."""
    allowed_hosts: frozenset[str] = frozenset()
    """Names other than `localhost`, IP addresses and `host` under which browsers may reach the server."""
    allowed_origins: frozenset[str] = frozenset()
    """Origins such as `https://example.org` whose pages may call the server besides its own."""
    requests_per_minute: int = Field(default=600, gt=0)
    """HTTP requests from one address."""
    sockets_per_minute: int = Field(default=60, gt=0)
    """WebSockets opened from one address."""
    max_streams_per_address: int = Field(default=16, gt=0)
    limit_loopback: bool = False
    """Whether the three limits above hold for callers on this machine as well."""
    max_upload_bytes: int = Field(default=32 * 2**20, gt=0)
    """Bytes of one request's body, counted as they arrive."""
    max_text_bytes: int = Field(default=2 * 2**20, gt=0)
    """Bytes of a body that is a message of the protocol."""
    database: str = ""
    """Where saved sessions go: `sqlite:///FILE` (as it is if left empty, in the user's data folder),
    `postgresql+psycopg://USER:PASSWORD@HOST/NAME`, or `none`, which keeps nothing."""
    max_saved: int = Field(default=1000, gt=0)
    """Sessions that one browser may keep."""
    max_waiting_clips: int = Field(default=32, ge=0)
    """Clips that may wait for others to be recognised; the next one is told to come back later."""
    max_batch: int = Field(default=32, gt=0)
    """Files in one form of `POST /v1/recognize/batch`."""
    max_clip_s: float = Field(default=600.0, gt=0)
    """Decoded seconds of one clip."""
    max_stream_s: float = Field(default=3600.0, gt=0)
    """Seconds of audio in one live stream."""
    max_message_bytes: int = Field(default=2**20, gt=0)
    """Bytes of one WebSocket message."""
    max_streams: int | None = Field(default=None, gt=0)
    """Live streams at once; the next one is told to come back later. Left out, it is measured at the start."""
    streams_each: dict[str, int] = {}
    """How many streams of each recogniser alone would be as many as can be, by name; measured with `max_streams`."""
    max_lag_s: float = Field(default=0.15, gt=0)
    """While chunks wait longer than this on average, no stream is added."""
    max_waiting_s: float = Field(default=2.0, gt=0)
    """Seconds of audio that may wait in a stream before its socket is read on."""
    max_unread_messages: int = Field(default=100, gt=0)
    """Messages that may wait for a client to read them before more is computed for it."""
    batch_interval_s: float = Field(default=0.04, ge=0)
    """Streams are computed for together, no more often than this."""
    body_timeout_s: float = Field(default=10.0, gt=0)
    """How long nothing may come of an upload that is not whole."""
    upload_timeout_s: float = Field(default=60.0, gt=0)
    head_timeout_s: float = Field(default=10.0, gt=0)
    """How long a connection may take until the head of its next request is whole."""
    exchange_timeout_s: float = Field(default=180.0, gt=0)
    """How long a request and its answer may take together."""
    hello_timeout_s: float = Field(default=10.0, gt=0)
    idle_timeout_s: float = Field(default=30.0, gt=0)
    send_timeout_s: float = Field(default=10.0, gt=0)
    """How long a client may leave its messages unread."""
    drain_timeout_s: float = Field(default=5.0, gt=0)
    """How long a server that stops computes what has come, and tells its clients."""

    @property
    def beyond_this_machine(self) -> bool:
        """Whether other machines can reach the server."""
        return not is_loopback(self.host)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.beyond_this_machine and not self.insecure and self.token is None:
            object.__setattr__(self, "token", secrets.token_urlsafe(24))  # frozen to everybody else
        return self


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
