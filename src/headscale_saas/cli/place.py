"""Where a client without a server acts: one database, and the tailnet of a name."""

from headscale_saas.clock import Clock
from headscale_saas.config import Config
from headscale_saas.errors import NotFound
from headscale_saas.store.database import Database
from headscale_saas.store.directory import tailnet_by_name
from headscale_saas.store.feed import Doorbell
from headscale_saas.tailnet.model import Actor, TailnetId


class Place:
    """The tailnet need not exist, as long as nobody asks for it."""

    def __init__(
        self, database: Database, doorbell: Doorbell, config: Config, clock: Clock, actor: Actor, tailnet: str
    ) -> None:
        self._database = database
        self._doorbell = doorbell
        self._config = config
        self._clock = clock
        self._actor = actor
        self._tailnet_name = tailnet
        self._known: TailnetId | None = None

    async def _tailnet(self) -> TailnetId:
        if self._known is None:
            async with self._database.directory() as tx:
                head = await tailnet_by_name(tx, self._tailnet_name)
            if head is None:
                raise NotFound(f'tailnet "{self._tailnet_name}" not found: see headscale tailnets list')
            self._known = head.id
        return self._known
