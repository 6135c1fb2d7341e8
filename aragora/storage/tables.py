"""The tables as SQLAlchemy Core sees them; `migrations/` makes them.

A debate is its rows in `events`. The `debates` row repeats what lists need (status, result, newest seq), written in
the transaction that appends the events, and holds the lease. Times are unix seconds.
"""

import sqlalchemy as sa

metadata = sa.MetaData()

debates = sa.Table(
    "debates",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("is_public", sa.Boolean, nullable=False),
    # Casefolded question and title: SQLite's LIKE and lower() know ASCII letters only.
    sa.Column("search", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("rounds_used", sa.Integer, nullable=False),
    sa.Column("consensus_reached", sa.Boolean, nullable=False),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("final_answer", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("last_seq", sa.Integer, nullable=False),
    sa.Column("idempotency_key", sa.String(255), unique=True),
    sa.Column("request_hash", sa.String(64)),
    sa.Column("lease_owner", sa.String(128)),
    # The fencing number: grows with each claim and each cancellation, never shrinks.
    sa.Column("lease_token", sa.Integer, nullable=False),
    sa.Column("lease_expires", sa.Double, nullable=False),
    sa.Index("debates_newest", "created_at", "id"),
    # Serves lists by status and the search for unfinished debates, which are few.
    sa.Index("debates_by_status", "status", "created_at", "id"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("debate_id", sa.String(64), sa.ForeignKey("debates.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("agent", sa.Text),
    sa.Column("data", sa.JSON, nullable=False),
)

# Literal, so that no statement carries its words as parameters.
RUNNABLE: sa.ColumnElement[bool] = sa.literal_column("debates.status IN ('created', 'running')", sa.Boolean)
