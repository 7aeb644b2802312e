"""Many tailnets at once, each with a user and a reusable auth key; made as the command line makes them."""

from datetime import timedelta

from bench.server import Server
from headscale_saas.cli.connect import connected
from headscale_saas.clock import SystemClock
from headscale_saas.config import load


async def auth_keys(server: Server, prefix: str, count: int) -> tuple[str, ...]:
    """The keys of as many new tailnets, good for a day."""
    config, clock, keys = load(server.config_file).config, SystemClock(), []
    expiration = clock.now() + timedelta(days=1)
    for number in range(count):
        name = f"{prefix}{number:05d}"
        async with connected(config, name, clock) as client:
            await client.create_tailnet(name)
            user = await client.create_user("bench")
            key = await client.create_auth_key(
                user=user.id, reusable=True, ephemeral=False, expiration=expiration, tags=[]
            )
        keys.append(key.key)
    return tuple(keys)
