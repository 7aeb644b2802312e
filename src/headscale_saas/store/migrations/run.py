"""What every step needs."""

from pathlib import Path

from alembic import op


def run_sql(step: str) -> None:
    """Runs the .sql file that stands beside the step's .py file."""
    script = Path(step).with_suffix(".sql").read_text(encoding="utf-8")
    # Straight to the driver: no parameters, so several statements in one text and % as it is.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(script)
