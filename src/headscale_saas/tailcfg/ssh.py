"""SSHPolicy (`tailcfg/tailcfg.go:SSHPolicy`): who may log in by Tailscale SSH.

Member names are lower camel case here.
"""

from msgspec import field

from headscale_saas.tailcfg.codec import Int64, Time, Wire, settle_times


class SSHPrincipal(Wire, frozen=True, rename="camel"):
    """Whom a rule is about; the members that are set must all match. `any` = everybody."""

    node: str = ""
    node_ip: str = field(default="", name="nodeIP")
    user_login: str = ""
    any: bool = False


class SSHRecorderFailureAction(Wire, frozen=True):
    """What to do when a recorder fails. "" = nothing."""

    reject_session_with_message: str = ""
    terminate_session_with_message: str = ""
    notify_url: str = field(default="", name="NotifyURL")


class SSHAction(Wire, frozen=True, rename="camel"):
    """`session_duration` in nanoseconds, 0 = unlimited. `hold_and_delegate` "" = decide now."""

    message: str = ""
    reject: bool = False
    accept: bool = False
    session_duration: Int64 = 0
    allow_agent_forwarding: bool = False
    hold_and_delegate: str = ""
    allow_local_port_forwarding: bool = False
    allow_remote_port_forwarding: bool = False
    recorders: tuple[str, ...] = ()
    on_recording_failure: SSHRecorderFailureAction | None = None


class SSHRule(Wire, frozen=True, rename="camel"):
    """`rule_expires` None = never. `ssh_users` maps the wanted name, or `*`, to the local user."""

    rule_expires: Time | None = None
    principals: tuple[SSHPrincipal, ...] = ()
    ssh_users: dict[str, str] | None = None
    action: SSHAction | None = None
    accept_env: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle_times(self, "rule_expires")


class SSHPolicy(Wire, frozen=True, rename="camel", omit_defaults=False):
    """The first matching rule wins; no rule = nobody. There is no "unset": send no rules."""

    rules: tuple[SSHRule, ...] = ()
