"""Tables that have grown are looked at before the planner's guesses hurt."""

from headscale_saas.store.migrations.run import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql(__file__)
