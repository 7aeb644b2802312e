"""Run by Alembic. `migrate.py` hands in an open connection that has taken the owner's role."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
