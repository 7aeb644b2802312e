"""What has to hold between settings, and keys that are gone. Each fault is one sentence."""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from headscale_saas.config.addresses import beyond_authority, host_of, is_domain, is_resolver, port_of
from headscale_saas.config.durations import format_duration
from headscale_saas.config.root import CGNAT, TAILSCALE_ULA, Config

REMOVED = {
    "acl_policy_path": "use policy.path",
    "dns_config.override_local_dns": "use dns.override_local_dns",
    "dns_config.nameservers": "use dns.nameservers.global",
    "dns_config.restricted_nameservers": "use dns.nameservers.split",
    "dns_config.domains": "use dns.search_domains",
    "dns_config.extra_records": "use dns.extra_records",
    "dns_config.magic_dns": "use dns.magic_dns",
    "dns_config.base_domain": "use dns.base_domain",
    "dns_config": "use dns",
    "dns_config.use_username_in_magic_dns": "names no longer hold user names; remove it",
    "dns.use_username_in_magic_dns": "names no longer hold user names; remove it",
    "oidc.strip_email_domain": "users are known by the provider's subject; remove it",
    "oidc.map_legacy_users": "users are known by the provider's subject; remove it",
    "oidc.expiry": "use node.expiry",
    "randomize_client_port": 'say it in the policy: "randomizeClientPort": true',
    "db_type": "use database.type",
    "db_path": "use database.sqlite.path",
    "db_host": "use database.postgres.host",
    "db_port": "use database.postgres.port",
    "db_name": "use database.postgres.name",
    "db_user": "use database.postgres.user",
    "db_pass": "use database.postgres.pass",
    "db_ssl": "use database.postgres.ssl",
    "log_level": "use log.level",
    "ip_prefixes": "use prefixes.v4 and prefixes.v6",
    "private_key_path": "the protocol it was for is gone; remove it",
}
RENAMED = {"ephemeral_node_inactivity_timeout": "node.ephemeral.inactivity_timeout"}
"""Still read under the old name, with a warning."""

NOT_YET = (
    *("grpc_", "unix_socket", "derp.server.", "dns.extra_records_path", "node.routes.ha.", "oidc."),
    *("preauth_keys.", "tailnet.max_", "cli.address", "cli.api_key", "cli.insecure", "tuning."),
)
"""Beginnings of keys that are read and checked, and of whose work nothing is built. Shorten this list."""

KEEP_ALIVE_MARGIN = timedelta(seconds=65)

Rule = Callable[[Config], Iterator[str]]


def server_url(config: Config) -> Iterator[str]:
    url, base = config.server_url, config.dns.base_domain.lower().strip(".")
    if not url.startswith(("http://", "https://")):
        yield "server_url must start with http:// or https://."
    host = host_of(url)
    if not host:
        yield "server_url names no host."
    elif extra := beyond_authority(url):
        yield f"server_url must be scheme, host and port alone: {extra} is too much."
    elif (port := port_of(url)) > 65535:
        yield f"server_url: port {port} is out of range (1 to 65535)."
    if base and (host == base or host.endswith("." + base)):
        yield (
            f"server_url's host {host} is dns.base_domain {base} or below it: nodes would hide the server. "
            "Choose another base domain."
        )


def prefixes(config: Config) -> Iterator[str]:
    if not (config.prefixes.v4 or config.prefixes.v6):
        yield "prefixes.v4 or prefixes.v6 must be set."


def trusted_proxies(config: Config) -> Iterator[str]:
    for network in config.trusted_proxies:
        if network.prefixlen == 0:
            yield f"trusted_proxies: {network} would believe everybody."


def node(config: Config) -> Iterator[str]:
    timeout, probe = config.node.ephemeral.inactivity_timeout, config.node.routes.ha
    if timeout <= KEEP_ALIVE_MARGIN:
        yield (
            f"node.ephemeral.inactivity_timeout is {format_duration(timeout)}; it must be more than 65s, "
            "or nodes between two keep-alives are removed."
        )
    if probe.probe_interval:
        if probe.probe_interval < timedelta(seconds=2):
            yield "node.routes.ha.probe_interval must be 0 or at least 2s."
        if probe.probe_timeout < timedelta(seconds=1):
            yield "node.routes.ha.probe_timeout must be at least 1s."
        if probe.probe_timeout >= probe.probe_interval:
            yield "node.routes.ha.probe_timeout must be shorter than probe_interval."


def dns(config: Config) -> Iterator[str]:
    base = config.dns.base_domain
    if base and not is_domain(base):
        yield f"dns.base_domain {base!r} is not a domain."
    nameservers = config.dns.nameservers
    for name, resolvers in (("global", nameservers.global_), *_split(nameservers.split)):
        for resolver in resolvers:
            if not is_resolver(resolver):
                yield f"dns.nameservers.{name}: {resolver!r} is neither an address nor an https:// URL."
    if config.dns.magic_dns and not config.dns.base_domain:
        yield "dns.magic_dns needs dns.base_domain."
    if config.dns.override_local_dns and not config.dns.nameservers.global_:
        yield "dns.override_local_dns needs at least one of dns.nameservers.global."
    if config.dns.extra_records and config.dns.extra_records_path:
        yield "dns.extra_records and dns.extra_records_path exclude each other."


def _split(split: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    return ((f"split.{suffix}", resolvers) for suffix, resolvers in split.items())


def derp(config: Config) -> Iterator[str]:
    server = config.derp.server
    if server.enabled and not server.stun_listen_addr:
        yield "derp.server.enabled needs derp.server.stun_listen_addr."


def tls(config: Config) -> Iterator[str]:
    if bool(config.tls_cert_path) != bool(config.tls_key_path):
        yield "tls_cert_path and tls_key_path belong together."
    if config.tls_cert_path and config.tls_letsencrypt_hostname:
        yield "tls_cert_path and tls_letsencrypt_hostname exclude each other."
    if config.tls_letsencrypt_challenge_type not in {"HTTP-01", "TLS-ALPN-01"}:
        yield "tls_letsencrypt_challenge_type must be HTTP-01 or TLS-ALPN-01."


def database(config: Config) -> Iterator[str]:
    wanted = config.database
    if wanted.type == "postgres" and not wanted.url.get_secret_value():
        for name in ("host", "name", "user"):
            if not getattr(wanted.postgres, name):
                yield f"database.type is postgres, and database.postgres.{name} is not set."
    for name in ("url", "direct_url"):
        dsn = getattr(wanted, name).get_secret_value()
        if dsn and not dsn.startswith(("postgres://", "postgresql://")):
            yield f"database.{name} must start with postgresql://."
    if wanted.direct_url.get_secret_value() and not wanted.dsn:
        yield "database.direct_url needs database.url."


def oidc(config: Config) -> Iterator[str]:
    wanted = config.oidc
    if not wanted.issuer:
        return
    if urlsplit(wanted.issuer).scheme not in {"http", "https"} or not host_of(wanted.issuer):
        yield "oidc.issuer must be an http:// or https:// URL."
    if not wanted.client_id:
        yield "oidc.client_id is not set."
    has_secret = bool(wanted.client_secret.get_secret_value())
    if has_secret and wanted.client_secret_path:
        yield "oidc.client_secret and oidc.client_secret_path exclude each other."
    if not (has_secret or wanted.client_secret_path):
        yield "oidc.client_secret or oidc.client_secret_path must be set."


RULES: tuple[Rule, ...] = (server_url, prefixes, trusted_proxies, node, dns, derp, tls, database, oidc)


def faults(config: Config, *, without: Collection[str] = ()) -> list[str]:
    """What the rules say, apart from sentences on the settings `without` a value that can be read."""
    found = [fault for rule in RULES for fault in rule(config)]
    return [fault for fault in found if not any(name in fault for name in without)]


def removed(path: str) -> str | None:
    """Why a key is refused, if it is."""
    instead = REMOVED.get(path) or (REMOVED["dns_config"] if path.startswith("dns_config.") else None)
    return f"{path} is gone: {instead}." if instead else None


def doubts(config: Config) -> Iterator[str]:
    """What is allowed and probably not meant."""
    ranges: tuple[tuple[str, IPv4Network | IPv6Network | None, IPv4Network | IPv6Network], ...] = (
        ("v4", config.prefixes.v4, CGNAT),
        ("v6", config.prefixes.v6, TAILSCALE_ULA),
    )
    for name, chosen, usual in ranges:
        if chosen and not (int(usual[0]) <= int(chosen[0]) and int(chosen[-1]) <= int(usual[-1])):
            yield f"prefixes.{name} {chosen} is outside {usual}: clients treat other addresses as not theirs."
    if config.policy.path and config.policy.mode != "file":
        yield f"policy.path has no effect: policy.mode is {config.policy.mode}."
    if config.database.type.startswith("sqlite") and not config.database.dsn:
        yield (
            "database.type is sqlite: data is kept in an embedded PostgreSQL in "
            f"{config.state_dir / 'postgres'} instead."
        )
