"""From file and environment to a `Config`, with every fault found before the first is told."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import ValidationError

from headscale_saas.config import rules
from headscale_saas.config.root import Config
from headscale_saas.config.settings import Section
from headscale_saas.config.tree import SECTIONS, SETTINGS, Setting, flatten, nearest, unflatten
from headscale_saas.errors import Invalid

MOST_BYTES = 1 << 20
PREFIX = "HEADSCALE_"
OTHER_VARIABLES = re.compile(
    r"HEADSCALE_(?:CONFIG$|TAILNET$|TRACEBACK$|SAAS_|SERVICE_(?:HOST|PORT)|PORT$|PORT_\d)"
)
"""Those that are no settings of the server; the last ones Kubernetes gives everybody beside a service."""
PATH_ENDINGS = ("path", "paths", "state_dir", "unix_socket")


class ConfigInvalid(Invalid):
    """All that is wrong, one sentence each, in `faults`."""

    code = "config_invalid"

    def __init__(self, file: Path | None, faults: list[str]) -> None:
        self.faults = faults
        place = str(file) if file else "the environment"
        head = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(
            "\n".join([f"{head} in the configuration from {place}:", *(f"  {f}" for f in faults)])
        )


@dataclass(frozen=True)
class Loaded:
    """`file` is None where only defaults and the environment spoke. `warnings` are sentences to log once."""

    config: Config
    file: Path | None
    warnings: tuple[str, ...]


def load(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """Reads `path`, else HEADSCALE_CONFIG, else config.yaml in the usual places, else nothing.

    Raises `ConfigInvalid`.
    """
    file = find(path, environment)
    leaves = beside(file, dict(flatten(read(file)))) if file else {}
    leaves |= from_environment(environment)
    faults = [fault for name in leaves if (fault := rules.removed(name))]
    faults += [
        f"{name} is a section: it must be a mapping of keys to values." for name in leaves if name in SECTIONS
    ]
    warnings = list(translate(leaves))
    unknown = [sentence for name in leaves if (sentence := not_a_setting(name))]
    config, wrong = validated(leaves)
    faults += wrong + rules.faults(config, without=misread(wrong))
    if faults:
        raise ConfigInvalid(file, faults + unknown)
    warnings += [*unknown, *not_variables(environment)]
    warnings += [warning for name in leaves if (warning := doubt(name, leaves, config))]
    warnings += [
        f"{name} has no effect yet."
        for name in leaves
        if name.startswith(rules.NOT_YET) and is_changed(name, config)
    ]
    return Loaded(config, file, (*warnings, *rules.doubts(config)))


def find(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    if named := path or environment.get("HEADSCALE_CONFIG"):
        return Path(named)
    places = (Path("/etc/headscale"), Path.home() / ".headscale", Path())
    found = (place / f"config.{ending}" for place in places for ending in ("yaml", "yml", "json"))
    return next((file for file in found if file.is_file()), None)


def read(file: Path) -> dict[Any, Any]:
    """YAML, and so JSON too."""
    try:
        with file.open("rb") as source:
            content = source.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigInvalid(file, ["The file is larger than 1 MiB."])
        document = yaml.safe_load(content)
    except OSError as problem:
        raise ConfigInvalid(file, [f"It cannot be read: {problem.strerror}."]) from None
    except yaml.YAMLError as problem:
        raise ConfigInvalid(file, [f"It is not YAML: {_words(problem)}."]) from None
    if not isinstance(document or {}, dict):
        raise ConfigInvalid(file, ["It must be a mapping of keys to values."])
    return document or {}


def _words(problem: yaml.YAMLError) -> str:
    """Without the parser's name for the file, and its picture of the place."""
    if not isinstance(problem, yaml.MarkedYAMLError) or problem.problem_mark is None:
        return " ".join(str(problem).split())
    mark = problem.problem_mark
    return f"{problem.problem or 'unreadable'}, line {mark.line + 1}, column {mark.column + 1}"


def beside(file: Path, leaves: dict[str, Any]) -> dict[str, Any]:
    """Relative paths in a file are relative to it."""

    def placed(path: Any) -> Any:
        if not isinstance(path, str) or not path or path.startswith("$"):
            return path
        return str(file.absolute().parent / Path(path).expanduser())

    for name, value in leaves.items():
        if name in SETTINGS and name.endswith(PATH_ENDINGS):
            leaves[name] = [placed(path) for path in value] if isinstance(value, list) else placed(value)
    return leaves


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """HEADSCALE_DATABASE_POSTGRES_PASS is database.postgres.pass. Empty is as if not set."""
    given = ((setting, environment.get(setting.environment)) for setting in SETTINGS.values())
    return {setting.path: worded(setting, text) for setting, text in given if text}


def worded(setting: Setting, text: str) -> Any:
    """Lists are words between spaces; mappings, and lists of mappings, are YAML."""
    kind = get_origin(setting.field.annotation)
    if kind is dict or text.startswith("["):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    return text.split() if kind is tuple else text


def translate(leaves: dict[str, Any]) -> Iterator[str]:
    """Moves renamed keys to their new names, and reads lists that were written as text."""
    for old, new in rules.RENAMED.items():
        if old in leaves:
            leaves.setdefault(new, leaves[old])
            yield f"{old} is now called {new}."
    for name, setting in SETTINGS.items():
        if leaves.get(name) == "" and setting.field.default is None:
            del leaves[name]
        elif isinstance(leaves.get(name), str):
            leaves[name] = worded(setting, leaves[name])


def validated(leaves: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """The configuration without what cannot be read, and sentences on that: its rules can be asked then."""
    left = {name: value for name, value in leaves.items() if name in SETTINGS}
    wrong: list[str] = []
    while True:
        try:
            return Config.model_validate(unflatten(left)), wrong
        except ValidationError as problems:
            wrong += sentences(problems)
            bad = misread(sentences(problems)) & left.keys()
            left = {name: left[name] for name in left.keys() - bad} if bad else {}


def misread(sentences: Iterable[str]) -> set[str]:
    """The settings that sentences of `validated` begin with."""
    places = [sentence.partition(":")[0].split(".") for sentence in sentences]
    return {
        name
        for place in places
        for depth in range(1, len(place) + 1)
        if (name := ".".join(place[:depth])) in SETTINGS
    }


def doubt(name: str, leaves: Mapping[str, Any], config: Config) -> str | None:
    """Why a setting has no effect, if it has none and says something."""
    setting = SETTINGS.get(name)
    reason = setting.note("ignored") if setting else ""
    if not reason or not differs(name, config):
        return None
    if name.startswith("database.sqlite.") and str(leaves.get("database.type")).startswith("sqlite"):
        return None  # said once, for database.type
    if reason == "see tls_letsencrypt_hostname" and not config.tls_letsencrypt_hostname:
        return None  # of no effect in headscale either
    return f"{name} has no effect: {reason}."


def not_a_setting(name: str) -> str | None:
    """That a key is unknown, if it is, with a guess at what was meant."""
    if name in SETTINGS or name in rules.RENAMED or rules.removed(name) or name in SECTIONS:
        return None
    meant = nearest(name)
    return f"{name} is not a setting." + (f" Is {meant} meant?" if meant else "")


def not_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """That a variable is none of ours though it looks like one."""
    known = {setting.environment: setting.path for setting in SETTINGS.values()}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not OTHER_VARIABLES.match(name):
            meant = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            yield f"The variable {name} is not a setting." + (f" Is {meant[0]} meant?" if meant else "")


def is_changed(name: str, config: Config) -> bool:
    """Whether a known setting differs from what it is without any configuration."""
    setting = SETTINGS.get(name)
    if setting is None or setting.note("ignored"):
        return False
    return differs(name, config)


def differs(name: str, config: Config) -> bool:
    """Whether the value is neither the documented default nor the one that follows from the rest."""
    value = value_of(name, config)
    return value not in (SETTINGS[name].field.default, value_of(name, Config(state_dir=config.state_dir)))


def value_of(name: str, config: Config) -> object:
    value: object = config
    for part in name.split("."):
        kind = type(value)
        assert issubclass(kind, Section)
        value = getattr(
            value, next(own for own, field in kind.model_fields.items() if part in (own, field.alias))
        )
    return value


def sentences(problems: ValidationError) -> Iterator[str]:
    for problem in problems.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        yield f"{name}: {problem['msg'].removeprefix('Value error, ')}."
