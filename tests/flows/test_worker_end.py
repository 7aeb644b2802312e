"""A worker ends when it is told to, whatever else comes at that moment."""

from tests.service import service


async def test_a_worker_that_is_cancelled_when_a_login_is_decided_ends(database_dsn: str) -> None:
    """Both in one turn of the loop: waiting for the one must not swallow the other."""
    async with service(database_dsn) as house:
        acme = await house.tailnet("acme")
        async with house.client(acme, reconnects=False) as client:
            await client.join(acme.key)
            house.workers[0].worker._logins_moved.set()
            await house.workers[0].die()
