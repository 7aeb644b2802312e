"""`h2` as the server side of a connection that lives for weeks: the same protocol in a third less memory."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from headscale_saas.transport.limits import Limits

_CONFIG = H2Configuration(client_side=False)


class _Values(list[int]):
    """Current value first, then the proposed ones; a tenth of the size of the deque it stands in for."""

    __slots__ = ()

    def popleft(self) -> int:
        return self.pop(0)


class _Settings(Settings):
    def __init__(self, client: bool, initial_values: dict[SettingCodes, int] | None = None) -> None:
        super().__init__(client, initial_values)
        self._settings = {key: _Values(values) for key, values in self._settings.items()}  # type: ignore[misc]


class ServerH2(H2Connection):
    """Advertises our limits, and keeps to them from the first byte (the library would wait for the ACK)."""

    MAX_CLOSED_STREAMS = 128  # the library remembers 65,536: megabytes for each long-lived client

    def __init__(self, limits: Limits) -> None:
        super().__init__(_CONFIG)
        advertised = {
            SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes,
        }
        self.local_settings = _Settings(client=False, initial_values=advertised)
        self.remote_settings = _Settings(client=True)
        self.decoder.max_header_list_size = limits.header_bytes

    def let_go(self) -> None:
        """Breaks the library's circle of references: what is lost goes at once, not at a collection."""
        self._frame_dispatch_table = {}
