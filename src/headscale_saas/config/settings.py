"""The sections: each setting's name, type, default and meaning. docs/configuration.md is made from them.

The names are headscale's, so that a headscale config.yaml works unchanged.
"""

import os
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from headscale_saas.config.addresses import HostPort
from headscale_saas.config.durations import Duration

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, BeforeValidator(lambda value: str(value).lower() if isinstance(value, bool) else value)]
"""YAML reads `true` as a truth value also where a word is wanted."""


def written(network: object) -> object:
    """Networks are written out: the library would take a number for an address."""
    if isinstance(network, bool | int | float):
        raise ValueError(f"{network} is not a network")
    return network


def network(text: object) -> object:
    """Of either kind; with two validators side by side each would complain in its own words."""
    try:
        return ip_network(text) if isinstance(text, str) else written(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a network like 10.0.0.0/8") from None


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(network)]
V4 = Annotated[IPv4Network, BeforeValidator(written)]
V6 = Annotated[IPv6Network, BeforeValidator(written)]

TAILSCALE_DERP_MAP = "https://controlplane.tailscale.com/derpmap/default"


def setting(
    default: Any, meaning: str, *, shown: str = "", ignored: str = "", name: str | None = None
) -> Any:
    """One setting. `shown`: a default that depends on others, in words. `ignored`: why it has no effect."""
    return Field(
        default,
        description=meaning,
        alias=name,
        json_schema_extra={"shown": shown, "ignored": ignored},
    )


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, validate_default=True, coerce_numbers_to_str=True
    )


def section(of: type[Section]) -> Any:
    return Field(default_factory=of, description=(of.__doc__ or "").strip())


class Noise(Section):
    """The key that clients know the service by."""

    private_key_path: Path = setting(
        Path(),
        "The Noise private key, made if missing. It belongs to the whole service: every process needs the "
        "same one, and losing it logs every node out. The database holds it too, wrapped with "
        "`secrets.key_path`, and says which of several keys serves (`docs/howto/rotate-the-noise-key.md`).",
        shown="`<state_dir>/noise_private.key`",
    )


class Prefixes(Section):
    """Where nodes' addresses come from. Tailnets are apart and may use the same addresses."""

    v4: V4 | None = setting(None, "IPv4 range, inside 100.64.0.0/10.", shown="`100.64.0.0/10`")
    v6: V6 | None = setting(
        None, "IPv6 range, inside fd7a:115c:a1e0::/48. Absent while v4 is set: no IPv6 addresses.",
        shown="`fd7a:115c:a1e0::/48`",
    )  # fmt: skip
    allocation: Literal["sequential", "random"] = setting("sequential", "`sequential` or `random`.")


class DerpServer(Section):
    """The relay that comes with the server."""

    enabled: bool = setting(False, "Run a DERP relay on the main listener, and STUN beside it.")
    region_id: int = setting(999, "Region number; must not be one that `derp.urls` brings.")
    region_code: str = setting("headscale", "Short name of the region.")
    region_name: str = setting("Headscale Embedded DERP", "Name of the region.")
    verify_clients: bool = setting(True, "Relay only for nodes of this service.")
    stun_listen_addr: HostPort = setting("0.0.0.0:3478", "UDP address of the STUN server.")
    private_key_path: Path = setting(
        Path(), "The relay's private key, made if missing.", shown="`<state_dir>/derp_server_private.key`"
    )
    automatically_add_embedded_derp_region: bool = setting(
        True, "Add the region to the map that clients get. If false it must come from `derp.paths`."
    )
    ipv4: str | None = setting(None, "Address clients are told, where the name is not enough.")
    ipv6: str | None = setting(None, "Address clients are told, where the name is not enough.")


class Derp(Section):
    """Relays for nodes that cannot reach each other directly."""

    server: DerpServer = section(DerpServer)
    urls: tuple[str, ...] = setting(
        (), "JSON maps to fetch.", shown="Tailscale's public map, unless a server or paths are configured"
    )
    paths: tuple[Path, ...] = setting((), "YAML maps to read. Later ones win; a region of `null` is removed.")
    auto_update_enabled: bool = setting(True, "Fetch the maps again from time to time.")
    update_frequency: Duration = setting("3h", "How often.")


class Ephemeral(Section):
    """Nodes that are removed when they are gone."""

    inactivity_timeout: Duration = setting("30m", "Removed after this time offline; more than 65 s.")


class Ha(Section):
    """Probing of subnet routers that serve the same route."""

    probe_interval: Duration = setting("10s", "0 switches probing off; else at least 2s.")
    probe_timeout: Duration = setting("5s", "At least 1s, and shorter than the interval.")


class Routes(Section):
    """Subnet routes."""

    ha: Ha = section(Ha)


class Node(Section):
    """Nodes' lives."""

    expiry: Duration = setting(
        "0", "When a user's node has to log in again, if it asks for nothing else. 0: never."
    )
    ephemeral: Ephemeral = section(Ephemeral)
    routes: Routes = section(Routes)


class PreauthKeys(Section):
    """Auth keys."""

    revoked_retention: Duration = setting("168h", "How long a revoked key stays visible.")


class Gorm(Section):
    """Settings of headscale's database library."""

    prepare_stmt: bool = setting(True, "", ignored="see database.pooler")
    parameterized_queries: bool = setting(True, "", ignored="queries are always parameterized")
    skip_err_record_not_found: bool = setting(True, "", ignored="such errors are never logged")
    slow_threshold: int = setting(1000, "", ignored="slow queries are a metric")


class Sqlite(Section):
    """headscale's SQLite file. Here the embedded PostgreSQL takes its place."""

    path: str = setting("", "", ignored="data is kept in an embedded PostgreSQL below state_dir")
    write_ahead_log: bool = setting(True, "", ignored="there is no SQLite file")
    wal_autocheckpoint: int = setting(1000, "", ignored="there is no SQLite file")


class Postgres(Section):
    """A PostgreSQL of yours, 13 or newer. Used when `database.type` is `postgres`."""

    host: str = setting("", "Name, address, or the directory of a unix socket.")
    port: Port = setting(5432, "TCP port, or the number in the socket's name.")
    name: str = setting("", "Name of the database.")
    user: str = setting("", "Role to log in as; the four working roles are taken from there.")
    password: SecretStr = setting(SecretStr(""), "Better set in the environment.", name="pass")
    ssl: Text = setting(
        "false", "`false`, `true`, or one of PostgreSQL's sslmode words such as `verify-full`."
    )
    max_open_conns: Annotated[int, Field(ge=2)] = setting(
        10, "Connections of one worker that work; four more listen, ring, beat and sign off."
    )
    max_idle_conns: int = setting(10, "", ignored="idle connections are closed after conn_max_idle_time_secs")
    conn_max_idle_time_secs: Count = setting(3600, "Idle connections are closed after this. 0: never.")

    def dsn(self) -> str:
        """libpq's URL. All in the query, because a host may be a directory."""
        mode = {"false": "disable", "true": "require"}.get(self.ssl.lower(), self.ssl)
        parts = {"host": self.host, "port": self.port, "user": self.user, "sslmode": mode}
        if secret := self.password.get_secret_value():
            parts["password"] = secret
        given = {key: value for key, value in parts.items() if value != ""}
        return f"postgresql:///{quote(self.name, safe='')}?{urlencode(given, quote_via=quote)}"


class Database(Section):
    """Where the truth is. With nothing set, `serve` runs a PostgreSQL of its own below `state_dir`."""

    type: Literal["", "sqlite", "sqlite3", "postgres"] = setting(
        "", "`postgres` uses `database.postgres`. `sqlite` is understood as: bring a database along."
    )
    debug: bool = setting(False, "Log every SQL statement.")
    gorm: Gorm = section(Gorm)
    sqlite: Sqlite = section(Sqlite)
    postgres: Postgres = section(Postgres)
    url: SecretStr = setting(SecretStr(""), "A DSN, `postgresql://…`. Wins over `database.postgres`.")
    direct_url: SecretStr = setting(
        SecretStr(""), "A DSN that goes past a connection pooler: for wake-ups (LISTEN) and migrations.",
        shown="`database.url`",
    )  # fmt: skip
    pooler: bool = setting(
        False, "The database is behind PgBouncer in transaction mode: no prepared statements."
    )

    @cached_property
    def dsn(self) -> str | None:
        """The DSN to use, or None for the embedded server."""
        if url := self.url.get_secret_value():
            return url
        return self.postgres.dsn() if self.type == "postgres" else None

    @cached_property
    def direct_dsn(self) -> str | None:
        return self.direct_url.get_secret_value() or self.dsn


class Log(Section):
    """What the server says."""

    level: Literal["trace", "debug", "info", "warn", "error", "fatal", "panic", "disabled"] = setting(
        "info", ""
    )
    format: Literal["text", "json"] = setting("text", "`text` for people, `json` for machines.")


class Policy(Section):
    """Where the access policy of the default tailnet comes from."""

    mode: Literal["file", "database"] = setting(
        "database",
        "`file` reads `policy.path`; `database` takes it from the command line and the API.",
        shown="`file` if a path is set, else `database`",
    )
    path: str = setting("", "HuJSON file, read at the start and on SIGHUP. See policy.md.")


class Nameservers(Section):
    """Resolvers that clients use."""

    global_: tuple[str, ...] = setting(
        (), "For every name: addresses, DNS-over-HTTPS URLs, NextDNS.", name="global"
    )
    split: dict[str, tuple[str, ...]] = setting({}, "For names below a suffix: suffix to list.")


class ExtraRecord(Section):
    """A record that MagicDNS answers."""

    name: str
    type: Literal["A", "AAAA"] = "A"
    value: str


class Dns(Section):
    """What clients are told about names. These are the defaults of new tailnets."""

    magic_dns: bool = setting(True, "Nodes find each other by name.")
    base_domain: str = setting(
        "tailnet.internal", "Suffix of nodes' names; must not contain the server's own name."
    )
    override_local_dns: bool = setting(
        False,
        "Use the global nameservers instead of the local ones.",
        shown="whether there are global nameservers",
    )
    nameservers: Nameservers = section(Nameservers)
    search_domains: tuple[str, ...] = setting((), "Tried after `base_domain`.")
    extra_records: tuple[ExtraRecord, ...] = setting(
        (), "Records with `name`, `type` (A or AAAA) and `value`."
    )
    extra_records_path: str = setting("", "A JSON file with such records, watched for changes.")


class Pkce(Section):
    """PKCE, which binds a login to the one who began it."""

    enabled: bool = setting(True, "Use it.")
    method: Literal["S256", "plain"] = setting("S256", "")


class Oidc(Section):
    """Login through an identity provider. Off while `issuer` is empty."""

    issuer: str = setting("", "URL of the provider.")
    client_id: str = setting("", "Our name at the provider.")
    client_secret: SecretStr = setting(SecretStr(""), "Better in a file.")
    client_secret_path: str = setting(
        "", "File with the secret; may name environment variables, as in `${CREDENTIALS_DIRECTORY}/secret`."
    )
    only_start_if_oidc_is_available: bool = setting(
        True, "If false, start without the provider and keep trying."
    )
    scope: tuple[str, ...] = setting(("openid", "profile", "email"), "What is asked of the provider.")
    extra_params: dict[str, str] = setting({}, "Added to the authorization URL.")
    allowed_domains: tuple[str, ...] = setting((), "Only e-mail addresses of these domains.")
    allowed_users: tuple[str, ...] = setting((), "Only these e-mail addresses.")
    allowed_groups: tuple[str, ...] = setting((), "Only members of these groups.")
    email_verified_required: bool = setting(
        True, "Believe an e-mail address only if the provider checked it."
    )
    use_expiry_from_token: bool = setting(False, "A node's key expires with the ID token.")
    pkce: Pkce = section(Pkce)

    def read_client_secret(self) -> str:
        """The secret, from its file if there is one. Raises OSError."""
        if not self.client_secret_path:
            return self.client_secret.get_secret_value()
        return Path(os.path.expandvars(self.client_secret_path)).read_text().strip()


class Switch(Section):
    """A single switch."""

    enabled: bool = setting(False, "")


class Logtail(Switch):
    """Clients' logs to Tailscale."""

    enabled: bool = setting(False, "Leave clients' own choice; off tells them not to send.")


class Taildrop(Switch):
    """Sending files between nodes of one user."""

    enabled: bool = setting(True, "Off withholds the capability from clients.")


class AutoUpdate(Switch):
    """Updates of the clients."""

    enabled: bool = setting(False, "Tell clients to update themselves unless their user decided.")


class Cli(Section):
    """Where the command line finds a server other than the one on this machine."""

    address: str = setting("", "`https://host`; empty: the unix socket.")
    api_key: SecretStr = setting(SecretStr(""), "A key of that server, from `headscale apikeys create`.")
    timeout: Duration = setting("5s", "How long to wait for an answer.")
    insecure: bool = setting(False, "Do not check the server's certificate.")


class Tuning(Section):
    """For measurements."""

    batch_change_delay: Duration = setting("20ms", "Changes are gathered this long before clients are told.")
    register_cache_expiration: Duration = setting("15m", "How long a login may take.")
    register_cache_max_entries: Annotated[int, Field(ge=1)] = setting(
        1024, "Logins under way at once, per tailnet."
    )
    notifier_send_timeout: str = setting("800ms", "", ignored="nothing here waits on a slow reader")
    node_mapsession_buffered_chan_size: int = setting(
        30, "", ignored="a slow session is given a whole netmap instead"
    )
    batcher_workers: int = setting(0, "", ignored="see workers")
    node_store_batch_size: int = setting(100, "", ignored="writes are batched as they come")
    node_store_batch_timeout: str = setting("500ms", "", ignored="writes are batched as they come")


class Secrets(Section):
    """Keys that protect what is in the database."""

    key_path: Path = setting(
        Path(), "Wraps private keys at rest, made if missing. Keep it out of the database's backups.",
        shown="`<state_dir>/secrets.key`",
    )  # fmt: skip


class Tailnet(Section):
    """Defaults of tailnets."""

    name: str = setting(
        "default", "The tailnet that headscale's API and command line act on if none is named."
    )
    max_nodes: Count = setting(0, "Nodes of a tailnet without a plan. 0: no limit.")
    max_users: Count = setting(0, "Users of a tailnet without a plan. 0: no limit.")
