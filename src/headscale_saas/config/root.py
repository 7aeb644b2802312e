"""The whole configuration: the settings outside sections, and the defaults that follow from others."""

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from headscale_saas.config import settings
from headscale_saas.config.addresses import HostPort, client_facing_url
from headscale_saas.config.settings import Section, Text, section, setting

CGNAT = IPv4Network("100.64.0.0/10")
TAILSCALE_ULA = IPv6Network("fd7a:115c:a1e0::/48")
SYSTEM_STATE_DIR = Path("/var/lib/headscale")
SYSTEM_SOCKET = Path("/var/run/headscale/headscale.sock")


def default_state_dir() -> Path:
    """The system's place if it is ours to write, else the user's."""
    if os.geteuid() == 0 or os.access(SYSTEM_STATE_DIR, os.W_OK):
        return SYSTEM_STATE_DIR
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(home) / "headscale-saas"


def octal(mode: object) -> object:
    """`"0770"` in quotes; without them YAML already read it as octal."""
    return int(mode, 8) if isinstance(mode, str) else mode


Permission = Annotated[int, BeforeValidator(octal), Field(ge=0, le=0o777)]


class Config(Section):
    """What a process was told. Immutable; every section is an attribute of the same name."""

    server_url: str = setting(
        "",
        "The URL clients use, `https://…` except for trials.",
        shown="`listen_addr` on this machine",
    )
    listen_addr: HostPort = setting("127.0.0.1:8080", "Where clients, browsers and the API come in.")
    metrics_listen_addr: HostPort = setting(
        "127.0.0.1:9090",
        "`/metrics`, and `/health`: whether the workers run, with a database or without. Empty: off.",
    )
    grpc_listen_addr: HostPort = setting("", "gRPC for other machines, such as `:50443`. Empty: off.")
    grpc_allow_insecure: bool = setting(False, "gRPC for other machines without TLS.")
    trusted_proxies: tuple[settings.Network, ...] = setting(
        (), "Networks of load balancers whose X-Forwarded-For is believed."
    )
    unix_socket: Path = setting(
        SYSTEM_SOCKET,
        "Where the command line finds the server.",
        shown=f"`{SYSTEM_SOCKET}`; `<state_dir>/headscale.sock` if `state_dir` is not `{SYSTEM_STATE_DIR}`",
    )
    unix_socket_permission: Permission = setting(0o770, "Octal, as in `0770`.", shown="`0770`")
    disable_check_updates: bool = setting(True, "", ignored="nothing here looks for updates")

    cluster_id: Annotated[int, Field(ge=1, le=2**31 - 1)] = setting(
        1, "The cluster this process belongs to. Several processes may carry the same one."
    )
    state_dir: Path = setting(
        Path(),
        "Keys, and the embedded database. Also HEADSCALE_STATE_DIR.",
        shown=f"`{SYSTEM_STATE_DIR}` for who may write there, else `~/.local/share/headscale-saas`",
    )
    workers: Annotated[int, Field(ge=1, le=256)] = setting(
        1, "Processes that serve clients; one per core is a good choice."
    )

    tls_cert_path: str = setting("", "PEM certificate chain. Empty: no TLS, a load balancer does it.")
    tls_key_path: str = setting("", "PEM private key.")
    tls_letsencrypt_hostname: str = setting("", "", ignored="certificates are a load balancer's work")
    tls_letsencrypt_cache_dir: str = setting("/var/www/.cache", "", ignored="see tls_letsencrypt_hostname")
    tls_letsencrypt_challenge_type: str = setting("HTTP-01", "", ignored="see tls_letsencrypt_hostname")
    tls_letsencrypt_listen: Text = setting(":http", "", ignored="see tls_letsencrypt_hostname")
    acme_url: str = setting("", "", ignored="see tls_letsencrypt_hostname")
    acme_email: str = setting("", "", ignored="see tls_letsencrypt_hostname")

    noise: settings.Noise = section(settings.Noise)
    prefixes: settings.Prefixes = section(settings.Prefixes)
    dns: settings.Dns = section(settings.Dns)
    derp: settings.Derp = section(settings.Derp)
    node: settings.Node = section(settings.Node)
    preauth_keys: settings.PreauthKeys = section(settings.PreauthKeys)
    policy: settings.Policy = section(settings.Policy)
    oidc: settings.Oidc = section(settings.Oidc)
    database: settings.Database = section(settings.Database)
    secrets: settings.Secrets = section(settings.Secrets)
    tailnet: settings.Tailnet = section(settings.Tailnet)
    log: settings.Log = section(settings.Log)
    logtail: settings.Logtail = section(settings.Logtail)
    taildrop: settings.Taildrop = section(settings.Taildrop)
    auto_update: settings.AutoUpdate = section(settings.AutoUpdate)
    cli: settings.Cli = section(settings.Cli)
    tuning: settings.Tuning = section(settings.Tuning)

    @model_validator(mode="after")
    def _follow(self) -> Self:
        follow(self)
        return self


def follow(config: Config) -> None:
    """Gives what was not set the value that follows from the rest."""
    derive(config, "state_dir", default_state_dir())
    state_dir = config.state_dir.expanduser().absolute()
    object.__setattr__(config, "state_dir", state_dir)
    has_system_place = state_dir == SYSTEM_STATE_DIR
    derive(config, "unix_socket", SYSTEM_SOCKET if has_system_place else state_dir / "headscale.sock")
    derive(config, "server_url", client_facing_url(config.listen_addr, tls=bool(config.tls_cert_path)))
    derive(config.noise, "private_key_path", state_dir / "noise_private.key")
    derive(config.secrets, "key_path", state_dir / "secrets.key")
    derive(config.derp.server, "private_key_path", state_dir / "derp_server_private.key")
    if not (config.derp.paths or config.derp.server.enabled):
        derive(config.derp, "urls", (settings.TAILSCALE_DERP_MAP,))
    derive(config.policy, "mode", "file" if config.policy.path else "database")
    derive(config.dns, "override_local_dns", bool(config.dns.nameservers.global_))
    if not {"v4", "v6"} & config.prefixes.model_fields_set:
        derive(config.prefixes, "v4", CGNAT)
        derive(config.prefixes, "v6", TAILSCALE_ULA)


def derive(section: Section, name: str, value: object) -> None:
    """An empty path or text is one that was not set: there is no file of that name."""
    if name not in section.model_fields_set or getattr(section, name) in (Path(), ""):
        object.__setattr__(section, name, value)
