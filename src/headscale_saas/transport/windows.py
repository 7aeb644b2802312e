"""DATA frames written past `h2.send_data`, with its windows kept exactly as it would keep them.

A map stream gets thousands of small messages in its life; `send_data` costs more than all else that is done
for one of them. This class is the only place that knows which of h2's fields that concerns, and the tests
hold it to `send_data`, byte for byte and window for window.
"""

from h2.connection import ConnectionState, H2Connection
from h2.stream import H2Stream, StreamState

_SENDABLE = (StreamState.HALF_CLOSED_REMOTE, StreamState.OPEN)  # a long poll's request has ended
_CLOSED = ConnectionState.CLOSED
_HEADER = b"\0\0"  # type DATA, no flags


class HotWindows:
    """The flow windows of one connection. `sent` counts DATA bytes, for what they earn the peer."""

    __slots__ = ("_h2", "sent")

    def __init__(self, h2: H2Connection) -> None:
        self._h2 = h2
        self.sent = 0

    def room(self, stream: H2Stream) -> int:
        """How many bytes the next DATA frame of this stream may carry; 0 if it may not be sent at all."""
        h2 = self._h2
        if stream.state_machine.state not in _SENDABLE or h2.state_machine.state is _CLOSED:
            return 0
        windows = h2.outbound_flow_control_window, stream.outbound_flow_control_window
        return max(0, min(*windows, h2.max_outbound_frame_size))

    def data(self, stream: H2Stream, payload: bytes | memoryview) -> bytes | None:
        """The DATA frame, with its size taken off both windows; None if it does not fit as one frame.

        None too while h2 has frames of its own to send, which must go first.
        """
        h2, size = self._h2, len(payload)
        if (
            size > h2.outbound_flow_control_window
            or size > stream.outbound_flow_control_window
            or size > h2.max_outbound_frame_size
            or stream.state_machine.state not in _SENDABLE
            or h2.state_machine.state is _CLOSED
            or h2._data_to_send
        ):
            return None
        h2.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        self.sent += size
        return b"".join((size.to_bytes(3, "big"), _HEADER, stream.stream_id.to_bytes(4, "big"), payload))
