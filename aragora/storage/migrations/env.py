"""Alembic's entry: runs the versions in the transaction that `aragora.storage.migrations` opened."""

from alembic import context

from aragora.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
