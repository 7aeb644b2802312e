"""What can be refused, as one tree, without HTTP.

    Error
    ├── Invalid          the input cannot be read or means nothing            (field, position)
    ├── Unauthorized     we do not know who asks
    ├── Forbidden        we know who asks, and may not do it
    ├── NotFound         there is no such thing for the one who asks
    ├── Conflict         it would break a rule that other rows already keep
    │   └── AlreadyUsed  a thing that can be had once is gone
    ├── Refused          a rule of the tailnet says no (expired key, closed tailnet)
    ├── LimitReached     a quota or a budget is used up                       (retry_after_seconds)
    ├── Unavailable      a part of ours is away; asking again later helps
    └── ProtocolError    the other side broke the protocol: close, do not log as our fault

`code` is stable and machine-readable; the message is for people and never holds a secret. Each door
translates the tree once into its own language (HTTP status, gRPC code, exit status, `Error` member).
"""


class Error(Exception):
    """The root. `code` identifies the kind of refusal for programs."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Invalid(Error):
    """The input cannot be read. `field` names the part at fault, where there is one."""

    code = "invalid"

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.field = field


class Unauthorized(Error):
    code = "unauthorized"


class Forbidden(Error):
    code = "forbidden"


class NotFound(Error):
    code = "not_found"


class Conflict(Error):
    code = "conflict"


class AlreadyUsed(Conflict):
    code = "already_used"


class Refused(Error):
    code = "refused"


class LimitReached(Error):
    """`retry_after_seconds` is None where waiting does not help."""

    code = "limit_reached"

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Error):
    code = "unavailable"


class ProtocolError(Error):
    code = "protocol_error"
