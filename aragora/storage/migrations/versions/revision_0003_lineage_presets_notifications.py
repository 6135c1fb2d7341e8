"""Say which debate another one came of; make the tables of presets and of notifications."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("debates", sa.Column("parent_id", sa.String(64)))
    op.add_column("debates", sa.Column("relation", sa.String(16)))
    op.create_index("debates_by_parent", "debates", ["parent_id", "created_at", "id"])
    op.create_table(
        "presets",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("debate_id", sa.String(64), sa.ForeignKey("debates.id", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("problem", sa.Text),
    )
    op.create_index("notifications_by_debate", "notifications", ["debate_id"])
    op.create_index("notifications_due", "notifications", ["state", "next_at"])


def downgrade() -> None:
    """Loses presets, notifications that are not sent yet, and which debate came of which."""
    op.drop_table("notifications")
    op.drop_table("presets")
    op.drop_index("debates_by_parent", "debates")
    for column in ("parent_id", "relation"):
        op.drop_column("debates", column)
