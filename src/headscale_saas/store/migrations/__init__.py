"""Alembic's environment (`env.py`) and the steps (`versions/`). See docs/howto/write-a-migration.md."""
