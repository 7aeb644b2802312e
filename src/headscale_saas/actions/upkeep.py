"""What time alone changes."""

from datetime import datetime

from headscale_saas.store.database import Database


async def run_once(db: Database, now: datetime | None = None) -> bool:
    """One round, if this process gets the lease. False: another process does it. `now` is for tests."""
    raise NotImplementedError


async def run_forever(db: Database, period_seconds: float = 2.0) -> None:
    """Rounds until cancelled. A round that fails is logged, and the next one is tried."""
    raise NotImplementedError
