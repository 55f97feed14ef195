"""The tables of what users have saved; `migrations/` builds them."""

from datetime import datetime

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """All tables."""


class SessionRow(Base):
    """One saved session; `owner` is a hash of the cookie of the browser that saved it."""

    __tablename__ = "sessions"
    __table_args__ = (Index("sessions_of_owner", "owner", "created", "id"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    name: Mapped[str] = mapped_column(String(200))
    recognizer: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(80))
    labels: Mapped[list[str]] = mapped_column(JSON)
    duration_s: Mapped[float] = mapped_column(Float)
    has_audio: Mapped[bool] = mapped_column(default=False)
    segments: Mapped[list["SegmentRow"]] = relationship(
        cascade="all, delete-orphan", order_by="SegmentRow.index", lazy="selectin"
    )


class SegmentRow(Base):
    """A segment of a session, and what the user says it is."""

    __tablename__ = "segments"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    start_s: Mapped[float] = mapped_column(Float)
    end_s: Mapped[float] = mapped_column(Float)
    label: Mapped[str] = mapped_column(String(40))
    posterior: Mapped[list[float]] = mapped_column(JSON)
    uncertain: Mapped[bool]
    corrected: Mapped[str | None] = mapped_column(String(40))


class AudioRow(Base):
    """The sound of a session as FLAC, where the user consented to keep it."""

    __tablename__ = "audio"

    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    flac: Mapped[bytes] = mapped_column(LargeBinary)
