"""Make the tables of debates and their events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "debates",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("is_public", sa.Boolean, nullable=False),
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
        sa.Column("lease_token", sa.Integer, nullable=False),
        sa.Column("lease_expires", sa.Double, nullable=False),
    )
    op.create_index("debates_newest", "debates", ["created_at", "id"])
    op.create_index("debates_by_status", "debates", ["status", "created_at", "id"])
    op.create_table(
        "events",
        sa.Column("debate_id", sa.String(64), sa.ForeignKey("debates.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("agent", sa.Text),
        sa.Column("data", sa.JSON, nullable=False),
    )
