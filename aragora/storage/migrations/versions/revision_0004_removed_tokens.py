"""Keep the names of removed API tokens, so that a service that has had tokens goes on asking for one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("api_tokens", sa.Column("removed_at", sa.Double))


def downgrade() -> None:
    """Removed tokens are forgotten."""
    op.execute("DELETE FROM api_tokens WHERE removed_at IS NOT NULL")
    op.drop_column("api_tokens", "removed_at")
