"""From file and environment to a `Config`."""

import contextlib
import tempfile
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.config import Config, ConfigInvalid, Loaded, load
from headscale_saas.config.loader import find
from headscale_saas.config.tree import SETTINGS

NAMES = {word for path in SETTINGS for word in path.split(".")} | set(SETTINGS) | {"dns_config", "other"}

MIGRANTS_FILE = """
server_url: https://vpn.example.org
listen_addr: 0.0.0.0:8080
metrics_listen_addr: 127.0.0.1:9090
grpc_listen_addr: 127.0.0.1:50443
grpc_allow_insecure: false
trusted_proxies: [10.0.0.0/8]
noise:
  private_key_path: noise.key
prefixes:
  v4: 100.64.0.0/10
  v6: fd7a:115c:a1e0::/48
  allocation: sequential
derp:
  server:
    enabled: false
    region_id: 999
    region_code: headscale
    region_name: Headscale Embedded DERP
    verify_clients: true
    stun_listen_addr: 0.0.0.0:3478
    private_key_path: /var/lib/headscale/derp_server_private.key
    automatically_add_embedded_derp_region: true
    ipv4: 198.51.100.1
    ipv6: 2001:db8::1
  urls: [https://derp.example.org/map]
  paths: []
  auto_update_enabled: true
  update_frequency: 3h
disable_check_updates: false
node:
  expiry: 180d
  ephemeral:
    inactivity_timeout: 30m
database:
  type: sqlite
  debug: false
  gorm:
    prepare_stmt: true
    parameterized_queries: true
    skip_err_record_not_found: true
    slow_threshold: 1000
  sqlite: {path: /var/lib/headscale/db.sqlite, write_ahead_log: true, wal_autocheckpoint: 1000}
acme_url: https://acme.example.org/directory
acme_email: ""
tls_letsencrypt_hostname: ""
tls_letsencrypt_cache_dir: /var/lib/headscale/cache
tls_letsencrypt_challenge_type: HTTP-01
tls_letsencrypt_listen: ":http"
tls_cert_path: ""
tls_key_path: ""
log: {level: info, format: text}
policy: {mode: file, path: ""}
dns:
  magic_dns: true
  base_domain: corp.internal
  override_local_dns: true
  nameservers:
    global: [1.1.1.1, https://dns.nextdns.io/abc123]
    split:
      Corp.Example: [10.1.1.1]
  search_domains: []
  extra_records:
    - {name: grafana.corp.internal, type: A, value: 100.64.0.3}
unix_socket: /var/run/headscale/headscale.sock
unix_socket_permission: "0770"
logtail: {enabled: false}
taildrop: {enabled: true}
auto_update: {enabled: false}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_text(home: Path, text: str, **environment: str) -> Loaded:
    file = home / "headscale.yaml"
    file.write_text(text)
    return load(file, environment)


def faults(home: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        from_text(home, text, **environment)
    return refused.value.faults


def test_nothing_at_all_is_a_working_configuration(home: Path) -> None:
    loaded = load(environment={"HEADSCALE_STATE_DIR": str(home)})
    config = loaded.config
    assert loaded.file is None
    assert not loaded.warnings
    assert config.server_url == "http://127.0.0.1:8080"
    assert config.noise.private_key_path == home / "noise_private.key"
    assert config.unix_socket == home / "headscale.sock"
    assert config.database.dsn is None
    assert config.prefixes.v4 == IPv4Network("100.64.0.0/10")
    assert config.prefixes.v6
    assert config.cluster_id == 1


def test_a_headscale_file_works_unchanged(home: Path) -> None:
    config, _, warnings = vars(from_text(home, MIGRANTS_FILE)).values()
    assert config.node.expiry == timedelta(days=180)
    assert config.noise.private_key_path == home / "noise.key"
    assert config.dns.nameservers.split == {"Corp.Example": ("10.1.1.1",)}
    assert config.dns.nameservers.global_ == ("1.1.1.1", "https://dns.nextdns.io/abc123")
    assert config.dns.extra_records[0].value == "100.64.0.3"
    assert config.unix_socket_permission == 0o770
    assert config.policy.mode == "file"
    said = [warning for warning in warnings if "sqlite" in warning]
    assert len(said) == 1
    assert "embedded PostgreSQL" in said[0]
    doubted = {warning.partition(" ")[0] for warning in warnings if "no effect" in warning}
    depends_on_user = {"derp.server.private_key_path", "unix_socket"}
    assert doubted - depends_on_user == {
        "derp.server.ipv4",
        "derp.server.ipv6",
        "disable_check_updates",
        "grpc_listen_addr",
    }
    assert not any("is not a setting" in warning for warning in warnings)


def test_a_misspelt_variable_is_told(home: Path) -> None:
    loaded = from_text(
        home,
        "log: {level: info}",
        HEADSCALE_DATABASE_POSTGRES_PASSWD="hush",
        HEADSCALE_NONSENSE="1",
        HEADSCALE_TAILNET="acme",
        HEADSCALE_SERVICE_HOST="10.96.0.7",
        HEADSCALE_PORT_8080_TCP_ADDR="10.96.0.7",
        HEADSCALE_CLI_TIMEOUT="5s",
        HEADSCALE_SAAS_TEST_PG_BIN="/usr/bin",
        HOME="/root",
    )
    told = [warning for warning in loaded.warnings if "variable" in warning]
    assert told == [
        "The variable HEADSCALE_DATABASE_POSTGRES_PASSWD is not a setting."
        " Is HEADSCALE_DATABASE_POSTGRES_PASS meant?",
        "The variable HEADSCALE_NONSENSE is not a setting.",
    ]


def test_the_environment_wins_over_the_file(home: Path) -> None:
    config = from_text(
        home,
        "database: {type: postgres, postgres: {host: db, name: headscale, user: hs, pass: filed, ssl: true}}",
        HEADSCALE_DATABASE_POSTGRES_PASS="p@ss word",
        HEADSCALE_DERP_URLS="https://one.example https://two.example",
        HEADSCALE_DNS_NAMESERVERS_SPLIT="{a.example: [10.0.0.1]}",
        HEADSCALE_TAILDROP_ENABLED="false",
        HEADSCALE_LOG_LEVEL="",
    ).config
    assert config.database.dsn == (
        "postgresql:///headscale?host=db&port=5432&user=hs&sslmode=require&password=p%40ss%20word"
    )
    assert config.database.direct_dsn == config.database.dsn
    assert config.derp.urls == ("https://one.example", "https://two.example")
    assert config.dns.nameservers.split == {"a.example": ("10.0.0.1",)}
    assert config.taildrop.enabled is False
    assert config.log.level == "info"


def test_secrets_do_not_show_when_a_configuration_is_printed() -> None:
    config = Config.model_validate(
        {
            "database": {"url": "postgresql://u:sesame@h/d", "postgres": {"pass": "sesame"}},
            "oidc": {"client_secret": "sesame"},
            "cli": {"api_key": "sesame"},
        }
    )
    assert "sesame" not in repr(config) + config.model_dump_json()
    assert config.database.dsn == "postgresql://u:sesame@h/d"


def test_every_fault_is_told_at_once(home: Path) -> None:
    found = faults(
        home,
        """
        server_url: ftp://x
        acl_policy_path: /etc/acl
        oidc: {issuer: nonsense, expiry: 180d}
        dns_config: {magic_dns: true, nameservers: [1.1.1.1]}
        prefixes: {v4: ""}
        trusted_proxies: [0.0.0.0/0]
        node: {ephemeral: {inactivity_timeout: 65s}}
        tls_cert_path: /cert
        """,
    )
    for words in (
        "server_url must start with",
        "acl_policy_path is gone: use policy.path.",
        "oidc.expiry is gone: use node.expiry.",
        "dns_config.magic_dns is gone: use dns.magic_dns.",
        "dns_config.nameservers is gone: use dns.nameservers.global.",
        "oidc.issuer must be",
        "oidc.client_id is not set.",
        "0.0.0.0/0 would believe everybody",
        "more than 65s",
        "tls_cert_path and tls_key_path belong together.",
    ):
        assert any(words in fault for fault in found), words


def test_removed_keys_are_told_together_with_values_that_cannot_be_read(home: Path) -> None:
    found = faults(
        home, "randomize_client_port: true\nnode: {expiry: soon}\nworkers: many\nlisten_addr: nowhere"
    )
    assert any("randomizeClientPort" in fault for fault in found)
    assert any(fault.startswith("node.expiry: 'soon' is not a duration") for fault in found)
    assert any(fault.startswith("workers: ") for fault in found)
    assert any(fault.startswith("listen_addr: 'nowhere' is not host:port") for fault in found)


def test_unknown_keys_and_broken_rules_are_told_with_the_rest(home: Path) -> None:
    found = faults(
        home,
        """
        randomize_client_port: true
        workers: many
        sever_url: x
        server_url: ftp://example.org
        tls_cert_path: /cert
        database: {type: postgres, postgres: {host: [1], name: n, user: u}}
        """,
    )
    for words in (
        "randomizeClientPort",
        "workers: ",
        "database.postgres.host: ",
        "sever_url is not a setting. Is server_url meant?",
        "server_url must start with",
        "tls_cert_path and tls_key_path belong together.",
    ):
        assert any(words in fault for fault in found), words
    assert len(found) == 6


@pytest.mark.parametrize(
    "text",
    [
        'tls_letsencrypt_hostname: ""\nacme_email: ""\ntls_letsencrypt_cache_dir: /elsewhere',
        "policy: {mode: file, path: ''}",
        "policy: {mode: database}",
        "disable_check_updates: true",
        "unix_socket: /var/run/headscale/headscale.sock",
    ],
)
def test_what_stands_at_its_default_is_not_doubted(home: Path, text: str) -> None:
    assert not from_text(home, f"state_dir: here\n{text}").warnings


def test_what_has_no_effect_is_said_when_it_is_wanted(home: Path) -> None:
    (one, two) = from_text(home, "tls_letsencrypt_hostname: vpn.example\nacme_email: me@example.org").warnings
    assert one == "tls_letsencrypt_hostname has no effect: certificates are a load balancer's work."
    assert two == "acme_email has no effect: see tls_letsencrypt_hostname."


@pytest.mark.parametrize("host", ["example.org", "vpn.example.org", "VPN.Example.org:8443"])
def test_the_server_may_not_live_below_the_base_domain(home: Path, host: str) -> None:
    (fault,) = faults(home, f"server_url: https://{host}\ndns: {{base_domain: example.org}}")
    assert "nodes would hide the server" in fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dns: {override_local_dns: true}", "needs at least one of dns.nameservers.global"),
        ("dns: {base_domain: ''}", "dns.magic_dns needs dns.base_domain"),
        ("dns: {extra_records: [{name: a, value: 1.2.3.4}], extra_records_path: x}", "exclude each other"),
        ("node: {routes: {ha: {probe_interval: 1s}}}", "at least 2s"),
        ("node: {routes: {ha: {probe_timeout: 10s}}}", "shorter"),
        ("database: {type: postgres}", "database.postgres.host is not set"),
        ("database: {type: mysql}", "database.type"),
        ("database: {url: 'mysql://x'}", "postgresql://"),
        ("database: {direct_url: 'postgresql://x'}", "needs database.url"),
        ("oidc: {issuer: 'https://i', client_id: c}", "client_secret_path must be set"),
        ("oidc: {issuer: 'https://i', client_id: c, client_secret: s, client_secret_path: p}", "exclude"),
        ("tls_letsencrypt_challenge_type: DNS-01", "HTTP-01 or TLS-ALPN-01"),
        ("prefixes: {v4: 300.0.0.0/8}", "prefixes.v4"),
        ("noise: here", "noise is a section"),
        ("unix_socket_permission: rwx", "unix_socket_permission"),
        ("listen_addr: ':80800'", "listen_addr: port 80800 is out of range"),
        ("server_url: 'http://h:80800'", "port 80800 is out of range"),
        ("server_url: 'https://vpn.example/headscale'", "/headscale is too much"),
        ("server_url: 'https://vpn.example?a=b'", "?a=b is too much"),
        ("dns: {base_domain: 'not a domain'}", "dns.base_domain 'not a domain' is not a domain"),
        ("dns: {nameservers: {global: [1.1.1.1, dns.example]}}", "global: 'dns.example' is neither"),
        ("dns: {nameservers: {split: {a.b: [http://x]}}}", "split.a.b: 'http://x' is neither"),
        ("- a list", "mapping"),
        ("a: [", "It is not YAML: expected the node content, but found '<stream end>', line 1, column 5."),
        (
            "trusted_proxies: [10.0.0.1/8]",
            "trusted_proxies.0: '10.0.0.1/8' is not a network like 10.0.0.0/8.",
        ),
        ("trusted_proxies: [8]", "trusted_proxies.0: 8 is not a network like 10.0.0.0/8."),
        ("x" * (1 << 20) + "xx", "larger than 1 MiB"),
    ],
)
def test_what_cannot_work_is_refused(home: Path, text: str, words: str) -> None:
    assert any(words in fault for fault in faults(home, text))


def test_keys_that_mean_nothing_are_named_once_with_a_guess(home: Path) -> None:
    warnings = from_text(home, "sever_url: x\nnode: {expirey: 1h}\nwhatever: {deep: {er: 1}}").warnings
    assert sorted(warnings) == [
        "node.expirey is not a setting. Is node.expiry meant?",
        "sever_url is not a setting. Is server_url meant?",
        "whatever.deep.er is not a setting.",
    ]


def test_what_is_not_built_is_said_when_it_is_wanted(home: Path) -> None:
    loaded = from_text(
        home, "grpc_allow_insecure: true\ngrpc_listen_addr: ''\nunix_socket_permission: '0770'"
    )
    assert loaded.warnings == ("grpc_allow_insecure has no effect yet.",)


def test_an_old_name_still_works_with_a_warning(home: Path) -> None:
    loaded = from_text(home, "ephemeral_node_inactivity_timeout: 5m")
    assert loaded.config.node.ephemeral.inactivity_timeout == timedelta(minutes=5)
    assert loaded.warnings == (
        "ephemeral_node_inactivity_timeout is now called node.ephemeral.inactivity_timeout.",
    )


def test_only_one_prefix_means_only_that_one(home: Path) -> None:
    assert from_text(home, "prefixes: {v4: 100.64.0.0/16}").config.prefixes.v6 is None


def test_an_unusual_prefix_is_doubted(home: Path) -> None:
    (warning,) = from_text(home, "prefixes: {v4: 10.0.0.0/8}").warnings
    assert "outside 100.64.0.0/10" in warning


def test_keys_are_read_without_regard_to_case_and_empty_sections_are_none(home: Path) -> None:
    assert from_text(home, "Listen_Addr: ':81'\nnoise:\noidc:\n").config.server_url == "http://127.0.0.1:81"


words = st.text(max_size=8) | st.none() | st.booleans() | st.integers() | st.floats() | st.dates()
trees = st.recursive(
    words,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(NAMES)), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), trees, max_size=6))
def test_whatever_a_file_holds_is_read_or_refused_in_sentences(document: dict[str, object]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(document, file, allow_unicode=True)
        file.flush()
        with contextlib.suppress(ConfigInvalid):
            load(Path(file.name), {})


def test_files_are_looked_for_in_headscales_order(home: Path) -> None:
    (home / "config.yaml").write_text("{}")
    assert find(None, {}) == Path("config.yaml")
    (home / "home/.headscale").mkdir(parents=True)
    (home / "home/.headscale/config.yaml").write_text("{}")
    assert find(None, {}) == home / "home/.headscale/config.yaml"
    assert find(None, {"HEADSCALE_CONFIG": "/named"}) == Path("/named")
    assert find(Path("/given"), {"HEADSCALE_CONFIG": "/named"}) == Path("/given")


def test_a_file_that_is_not_there_is_a_fault(home: Path) -> None:
    with pytest.raises(ConfigInvalid, match="No such file"):
        load(home / "none.yaml", {})


def test_a_client_secret_comes_from_a_file_named_with_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home))
    (home / "secret").write_text("s3cret\n")
    config = from_text(
        home,
        "oidc: {issuer: 'https://i', client_id: c, client_secret_path: '${CREDENTIALS_DIRECTORY}/secret'}",
    ).config
    assert config.oidc.read_client_secret() == "s3cret"


def test_a_path_that_the_mode_passes_over_is_doubted(home: Path) -> None:
    assert not from_text(home, "policy: {path: acl.hujson}").warnings
    (warning,) = from_text(home, "policy: {path: acl.hujson, mode: database}").warnings
    assert warning == "policy.path has no effect: policy.mode is database."
