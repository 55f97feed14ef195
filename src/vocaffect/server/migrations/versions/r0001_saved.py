"""Sessions that users save, their segments, and their sound."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("recognizer", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("has_audio", sa.Boolean, nullable=False),
    )
    op.create_index("sessions_of_owner", "sessions", ["owner", "created", "id"])
    session = sa.ForeignKey("sessions.id", ondelete="CASCADE")
    op.create_table(
        "segments",
        sa.Column("session_id", sa.String(32), session, primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.Float, nullable=False),
        sa.Column("end_s", sa.Float, nullable=False),
        sa.Column("label", sa.String(40), nullable=False),
        sa.Column("posterior", sa.JSON, nullable=False),
        sa.Column("uncertain", sa.Boolean, nullable=False),
        sa.Column("corrected", sa.String(40), nullable=True),
    )
    op.create_table(
        "audio",
        sa.Column("session_id", sa.String(32), sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("flac", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("audio", "segments", "sessions"):
        op.drop_table(table)
