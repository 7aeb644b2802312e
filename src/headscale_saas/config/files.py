"""The files that a server reads before it serves: said at its start, not by each worker in turn.

Apart from `load`, because whoever runs a command may not be the one who may read a private key.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

from headscale_saas.config.loader import ConfigInvalid, Loaded
from headscale_saas.config.root import Config
from headscale_saas.errors import Invalid
from headscale_saas.live.derp_source import read_file
from headscale_saas.policy.language import parse
from headscale_saas.policy.language.hujson import is_blank

MOST_POLICY_BYTES = 1 << 20


def demand_files(loaded: Loaded) -> None:
    """Raises ConfigInvalid with every file that is missing, not readable or not what it has to be."""
    if faults := [*_tls(loaded.config), *_derp_maps(loaded.config), *_policy(loaded.config)]:
        raise ConfigInvalid(loaded.file, faults)


def _tls(config: Config) -> Iterator[str]:
    named = {"tls_cert_path": config.tls_cert_path, "tls_key_path": config.tls_key_path}
    given = {name: path for name, path in named.items() if path}
    faults = [fault for name, path in given.items() if (fault := _unreadable(name, Path(path)))]
    yield from faults
    if len(given) < 2 or faults:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            config.tls_cert_path, config.tls_key_path, password=_no_password
        )
    except (ssl.SSLError, ValueError) as problem:
        yield _not_a_pair(config, problem)


def _no_password() -> str:
    raise ValueError("the key is encrypted; store it without a password")  # else the terminal is asked


def _not_a_pair(config: Config, problem: Exception) -> str:
    pair = f"tls_cert_path {config.tls_cert_path} and tls_key_path {config.tls_key_path}"
    if not isinstance(problem, ssl.SSLError):
        return f"{pair}: {problem}."
    if problem.reason == "KEY_VALUES_MISMATCH":
        return f"{pair}: the key is not that of the certificate."
    return f"{pair}: not a certificate and a private key in PEM."


def _derp_maps(config: Config) -> Iterator[str]:
    for path in config.derp.paths:
        if fault := _unreadable("derp.paths", path):
            yield fault
            continue
        try:
            read_file(path)
        except (Invalid, ValueError) as problem:
            text = str(problem).removeprefix(f"DERP map {path}: ")
            yield f"derp.paths {path}: no DERP map in YAML: {' '.join(text.split())}."


def _policy(config: Config) -> Iterator[str]:
    """What can be said of it without its tailnet: all but its tests."""
    if config.policy.mode != "file" or not config.policy.path:
        return
    try:
        if text := read_policy(Path(config.policy.path)):
            parse(text)
    except Invalid as problem:
        yield f"policy.path {config.policy.path}: {str(problem).rstrip('.')}."


def read_policy(path: Path) -> str:
    """The text of a policy file. Raises Invalid."""
    try:
        with path.open("rb") as source:
            content = source.read(MOST_POLICY_BYTES + 1)
    except FileNotFoundError:
        raise Invalid("no such file") from None
    except OSError as problem:
        raise Invalid(f"cannot be read: {str(problem.strerror).lower()}") from None
    return text_of(content)


def text_of(content: bytes) -> str:
    """What a policy file contains, as text; "" if that is nothing but space and comments. Raises Invalid."""
    if len(content) > MOST_POLICY_BYTES:
        raise Invalid("larger than 1 MiB")
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        before = content[: problem.start]
        line, column = before.count(b"\n") + 1, problem.start - before.rfind(b"\n")
        raise Invalid(f"line {line}, column {column}: not UTF-8") from None
    return "" if is_blank(text) else text


def _unreadable(name: str, path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return f"{name} {path}: no such file."
    except OSError as problem:
        return f"{name} {path}: cannot be read: {str(problem.strerror).lower()}."
