"""Keep each answer as it is searched for: folded like questions and titles."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
BATCH = 200


def upgrade() -> None:
    op.add_column("debates", sa.Column("answer_search", sa.Text))
    debates = sa.table("debates", sa.column("id"), sa.column("final_answer"), sa.column("answer_search"))
    connection = op.get_bind()
    answered = connection.execute(sa.select(debates.c.id).where(debates.c.final_answer.is_not(None))).scalars().all()
    for start in range(0, len(answered), BATCH):
        some = sa.select(debates.c.id, debates.c.final_answer).where(debates.c.id.in_(answered[start : start + BATCH]))
        for found, answer in connection.execute(some).all():
            folded = unicodedata.normalize("NFKC", answer).casefold().replace("\x00", "�")
            connection.execute(sa.update(debates).where(debates.c.id == found).values(answer_search=folded))


def downgrade() -> None:
    """Nothing is lost: it is made of the answers again."""
    op.drop_column("debates", "answer_search")
