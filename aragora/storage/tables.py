"""The tables as SQLAlchemy Core sees them; `migrations/` makes them.

A debate is its rows in `events`. The `debates` row repeats what lists need (status, result, newest seq), written in
the transaction that appends the events, and holds the lease. Times are unix seconds.
"""

import sqlalchemy as sa

metadata = sa.MetaData()


def _counts() -> list[sa.Column[int]]:
    """Questions asked, what their answers took, and what is held for those that are not answered; microdollars."""
    questions = sa.Column("questions", sa.Integer, nullable=False, server_default="0")
    return [questions, *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in SUMS)]


SUMS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "written_tokens",
    "thought_tokens",
    "cost",
    "held_tokens",
    "held_cost",
)

debates = sa.Table(
    "debates",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("slug", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("is_public", sa.Boolean, nullable=False),
    # Question and title as they are searched for: SQLite's LIKE and lower() know ASCII letters only.
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
    # The name of the API token that made it; see `aragora.storage.tokens`.
    sa.Column("owner", sa.String(64), nullable=False, server_default=""),
    # Why it ended as it did, where there is more to say than its status.
    sa.Column("reason", sa.Text),
    sa.Column("share_key", sa.String(64)),
    *_counts(),
    # The debate that this one came of, and how; it may be gone.
    sa.Column("parent_id", sa.String(64)),
    sa.Column("relation", sa.String(16)),
    # The answer as it is searched for.
    sa.Column("answer_search", sa.Text),
    sa.Index("debates_newest", "created_at", "id"),
    # Serves lists by status and the search for unfinished debates, which are few.
    sa.Index("debates_by_status", "status", "created_at", "id"),
    sa.Index("debates_by_owner", "owner", "created_at", "id"),
    sa.Index("debates_shared", "share_key", unique=True),
    sa.Index("debates_by_parent", "parent_id", "created_at", "id"),
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

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    # SHA-256 of the secret, which is random and long: nothing slower is needed to keep it from being found.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("limits", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    # What is removed stays as a name: a service that has had tokens goes on asking for one.
    sa.Column("removed_at", sa.Double),
)

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),  # in UTC, as 2026-01-31
    *_counts(),
)

presets = sa.Table(
    "presets",
    metadata,
    sa.Column("owner", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("debate_id", sa.String(64), sa.ForeignKey("debates.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.Text),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # When it is to be tried; NULL until the debate has ended.
    sa.Column("next_at", sa.Double),
    sa.Column("problem", sa.Text),
    sa.Index("notifications_by_debate", "debate_id"),
    sa.Index("notifications_due", "state", "next_at"),
)

# Literal, so that no statement carries its words as parameters.
RUNNABLE: sa.ColumnElement[bool] = sa.literal_column("debates.status IN ('created', 'running')", sa.Boolean)
