"""Every limit of this door in one place: sizes in bytes, times in seconds, counts per time."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in any fixed stretch of `seconds`."""

    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults are meant for production; tests make them small."""

    header_bytes: int = 16 << 10
    header_count: int = 100
    header_seconds: float = 10.0
    pipelined_requests: int = 16
    keep_alive_seconds: float = 30.0
    linger_seconds: float = 2.0
    tls_handshake_seconds: float = 10.0

    body_bytes: int = 1 << 20
    body_seconds: float = 30.0
    bodies_bytes: int = 4 << 20
    """Of all requests of one connection whose handlers have not finished."""
    origin_bodies_bytes: int = 8 << 20
    """The same of one IPv4 address or IPv6 /64; more is refused with 503."""
    process_bodies_bytes: int = 64 << 20

    connections: int = 1 << 20
    """Of the process, of all kinds. Near it, origins with many before their handshake get no more."""
    before_handshake: int = 256
    """Connections at work per IPv4 address or IPv6 /64; the rest wait, they are not refused."""
    held_bytes: int = 512 << 10
    """What one that waits may send meanwhile: reading stops after the first piece, which the loop cuts."""
    accepts_per_turn: int = 16
    """Connections taken from a listener in one turn of the loop; libuv by itself takes one. 16 cost 2 ms."""
    handshake_patience: int = 16
    """Of more than this that wait for their handshake, or to begin it, newest and oldest take turns."""
    handshake_seconds: float = 10.0
    handshake_share: float = 0.5
    first_request_seconds: float = 15.0
    idle_seconds: float = 300.0
    """A Noise connection without any open stream; the client dials again when it needs to."""
    stranger_idle_seconds: float = 30.0
    """The same of a machine that has no node we know."""

    streams: int = 100
    stream_queue_bytes: int = 64 << 10
    stall_seconds: float = 60.0
    """How long a stream may have data and no window, or a socket take no byte."""
    write_buffer_bytes: int = 64 << 10
    read_buffer_bytes: int = 64 << 10

    resets: Rate = field(default=Rate(200, 10.0))
    settings: Rate = field(default=Rate(20, 60.0))
    pings: Rate = field(default=Rate(60, 60.0))
    trifles: Rate = field(default=Rate(1000, 10.0))
    """Cheap to send, dear to read: empty DATA, PRIORITY, unearned WINDOW_UPDATE, unknown types."""

    user_timeout_seconds: float = 30.0
    sweep_seconds: float = 1.0
