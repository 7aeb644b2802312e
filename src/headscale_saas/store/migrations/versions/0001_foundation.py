"""The first schema."""

from headscale_saas.store.migrations.run import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql(__file__)
