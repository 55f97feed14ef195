"""What users have saved: put in, listed, corrected, and deleted for good, each by its owner alone."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from vocaffect.server.database import Database
from vocaffect.server.records import Save, Saved, SavedList, SavedSegment
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.tables import AudioRow, SegmentRow, SessionRow


class Store:
    """The saved sessions of all owners; an owner is a hash that only its browser's cookie gives.

    Every method raises ProtocolError (`not_found`) if the owner has no such session.
    """

    def __init__(self, database: Database, max_sessions: int) -> None:
        self._database = database
        self._max_sessions = max_sessions

    def save(self, owner: str, wanted: Save) -> Saved:
        """Keep a session.

        Raises:
            ProtocolError: if the owner keeps as many as they may.
        """
        with self._work() as work:
            count = work.scalar(select(func.count()).where(SessionRow.owner == owner)) or 0
            if count >= self._max_sessions:
                raise ProtocolError("too_many", f"{count} sessions are saved already; delete some first")
            row = SessionRow(
                id=secrets.token_hex(16),
                owner=owner,
                created=datetime.now(UTC),
                has_audio=False,
                segments=[SegmentRow(**segment.model_dump()) for segment in wanted.segments],
                **wanted.model_dump(exclude={"type", "segments"}),
            )
            work.add(row)
            work.flush()
            return _message(row)

    def list(self, owner: str, limit: int, after: str | None) -> SavedList:
        """The newest sessions, or those that follow the session `after`."""
        if not self._database.exists:
            return SavedList(sessions=[], next=None)
        with self._work() as work:
            query = select(SessionRow).where(SessionRow.owner == owner)
            if after is not None:
                last = self._row(work, owner, after)
                query = query.where(
                    or_(
                        SessionRow.created < last.created,
                        and_(SessionRow.created == last.created, SessionRow.id < last.id),
                    )
                )
            query = query.order_by(SessionRow.created.desc(), SessionRow.id.desc()).limit(limit + 1)
            rows = list(work.scalars(query))
            more = rows[limit - 1].id if len(rows) > limit else None
            return SavedList(sessions=[_message(row) for row in rows[:limit]], next=more)

    def get(self, owner: str, session_id: str) -> Saved:
        """One session."""
        with self._work(session_id) as work:
            return _message(self._row(work, owner, session_id))

    def correct(self, owner: str, session_id: str, index: int, label: str | None) -> Saved:
        """Write down what the user says a segment is.

        Raises:
            ProtocolError: if there is no such segment, or the label is not among the session's.
        """
        with self._work(session_id) as work:
            row = self._row(work, owner, session_id)
            segment = next((each for each in row.segments if each.index == index), None)
            if segment is None:
                raise ProtocolError("not_found", f"the session has no segment {index}")
            if label is not None and label not in row.labels:
                known = ", ".join(row.labels)
                raise ProtocolError("bad_message", f"'{label}' is not among the labels of the session: {known}")
            segment.corrected = label
            return _message(row)

    def put_audio(self, owner: str, session_id: str, flac: bytes) -> Saved:
        """Keep the sound of a session, in place of what was kept before."""
        with self._work(session_id) as work:
            row = self._row(work, owner, session_id)
            row.has_audio = True
            work.merge(AudioRow(session_id=row.id, flac=flac))
            return _message(row)

    def audio(self, owner: str, session_id: str) -> bytes:
        """The sound of a session as FLAC."""
        with self._work(session_id) as work:
            audio = work.get(AudioRow, self._row(work, owner, session_id).id)
            if audio is None:
                raise ProtocolError("not_found", "the sound of this session was not kept")
            return audio.flac

    def delete(self, owner: str, session_id: str | None = None) -> int:
        """Delete a session, or all of the owner's; how many there were."""
        if session_id is None and not self._database.exists:
            return 0
        with self._work(session_id) as work:
            if session_id is not None:
                self._row(work, owner, session_id)
            whose = SessionRow.owner == owner
            chosen = whose if session_id is None else and_(whose, SessionRow.id == session_id)
            gone = list(work.scalars(select(SessionRow.id).where(chosen)))
            for table in (AudioRow, SegmentRow):
                work.execute(delete(table).where(table.session_id.in_(gone)))
            work.execute(delete(SessionRow).where(SessionRow.id.in_(gone)))
            return len(gone)

    @contextmanager
    def _work(self, session_id: str | None = "") -> Iterator[Session]:
        if session_id and not self._database.exists:
            raise _missing()
        with Session(self._database.engine) as work, work.begin():
            yield work

    def _row(self, work: Session, owner: str, session_id: str) -> SessionRow:
        row = work.get(SessionRow, session_id)
        if row is None or row.owner != owner:
            raise _missing()
        return row


def _missing() -> ProtocolError:
    return ProtocolError("not_found", "there is no such saved session, or it is somebody else's")


def _message(row: SessionRow) -> Saved:
    created = row.created if row.created.tzinfo else row.created.replace(tzinfo=UTC)  # SQLite knows no time zones
    return Saved(
        id=row.id,
        created=created.astimezone(UTC).isoformat(timespec="milliseconds"),
        name=row.name,
        recognizer=row.recognizer,
        digest=row.digest,
        labels=row.labels,
        duration_s=row.duration_s,
        has_audio=row.has_audio,
        segments=[
            SavedSegment(
                index=segment.index,
                start_s=segment.start_s,
                end_s=segment.end_s,
                label=segment.label,
                posterior=segment.posterior,
                uncertain=segment.uncertain,
                corrected=segment.corrected,
            )
            for segment in row.segments
        ],
    )
