"""Give debates an owner, a share link and a count of what they spent; make the tables of API tokens and spending."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "written_tokens", "thought_tokens", "cost")
_HELD = ("held_tokens", "held_cost")


def _counts() -> list[sa.Column[int]]:
    """Debates that are there already count as having spent nothing."""
    questions = sa.Column("questions", sa.Integer, nullable=False, server_default="0")
    others = [sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in (*_COUNTS, *_HELD)]
    return [questions, *others]


def upgrade() -> None:
    op.add_column("debates", sa.Column("owner", sa.String(64), nullable=False, server_default=""))
    op.add_column("debates", sa.Column("reason", sa.Text))
    op.add_column("debates", sa.Column("share_key", sa.String(64)))
    for column in _counts():
        op.add_column("debates", column)
    op.create_index("debates_by_owner", "debates", ["owner", "created_at", "id"])
    op.create_index("debates_shared", "debates", ["share_key"], unique=True)
    op.create_table(
        "api_tokens",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "spending",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        *_counts(),
    )


def downgrade() -> None:
    """Loses owners, share links, tokens and counts; debates and their events stay."""
    op.drop_table("spending")
    op.drop_table("api_tokens")
    op.drop_index("debates_shared", "debates")
    op.drop_index("debates_by_owner", "debates")
    # One by one: a batch would make the table anew, and SQLite would take its events away with the old one.
    for column in ("owner", "reason", "share_key", "questions", *_COUNTS, *_HELD):
        op.drop_column("debates", column)
