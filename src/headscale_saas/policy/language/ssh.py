"""`ssh`: who may log in where, as whom."""

from datetime import timedelta

from headscale_saas.policy.language.document import SshRule
from headscale_saas.policy.language.durations import HOUR, format_duration, parse_duration
from headscale_saas.policy.language.errors import Malformed
from headscale_saas.policy.language.names import Names
from headscale_saas.policy.language.places import RECORDER, SSH_DESTINATION, SSH_SOURCE
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.rules import read_postures
from headscale_saas.policy.language.selectors import SELF, TAGGED, Kind, Selector
from headscale_saas.policy.language.shapes import (
    Fields,
    boolean,
    fields,
    items,
    optional_string,
    read,
    spellings,
    string,
)
from headscale_saas.policy.language.values import Value

_FIELDS = spellings(
    "action", "src", "dst", "users", "checkPeriod", "acceptEnv", "srcPosture", "recorder", "enforceRecorder"
)
LOCAL_PART = "localpart:*@"
"""Before a domain: everyone of it under the name before the `@` of the login."""

ALWAYS = "always"
DEFAULT_CHECK_PERIOD = timedelta(hours=12)
MAX_CHECK_PERIOD = 168 * HOUR

_SELF_WITH_TAGS = (
    "autogroup:self destination requires source to contain only users or groups, not tags or autogroup:tagged"
)

Selectors = tuple[Selector, ...]


def read_ssh(value: Value | None, names: Names) -> tuple[SshRule, ...]:
    return tuple(_rule(item, names) for item in items(value))


def _rule(value: Value, names: Names) -> SshRule:
    rule = fields(value, _FIELDS)
    is_check = _is_check(value, rule)
    users = _users(value, rule, names)
    period = _check_period(rule.get("checkPeriod"), is_check)
    sources = SSH_SOURCE.read_all(rule.get("src"), names)
    destinations = SSH_DESTINATION.read_all(rule.get("dst"), names)
    _check_people(rule, sources, destinations)
    return SshRule(
        position=value.position,
        is_check=is_check,
        sources=sources,
        destinations=destinations,
        users=users,
        check_period=period,
        accept_env=tuple(_variable(item) for item in items(rule.get("acceptEnv"))),
        postures=read_postures(rule.get("srcPosture"), names),
        recorders=RECORDER.read_all(rule.get("recorder"), names),
        enforce_recorder=boolean(rule.get("enforceRecorder")),
    )


def _is_check(value: Value, rule: Fields) -> bool:
    action = optional_string(rule.get("action")).strip()
    if not action:
        raise rule.get("action", value).refused("action must be specified")
    if action not in ("accept", "check"):
        raise rule["action"].refused(f"{quoted(action)} is not a valid action")
    return action == "check"


def _users(value: Value, rule: Fields, names: Names) -> tuple[str, ...]:
    users = items(rule.get("users"))
    if not users:
        raise rule.get("users", value).refused("users must be specified")
    return tuple(_user(item, names) for item in users)


def _user(value: Value, names: Names) -> str:
    user = string(value).strip()
    if user in ("", "*"):
        raise value.refused(f"user {quoted(user)} is not valid")
    domain = user.removeprefix(LOCAL_PART)
    if domain not in ("", user) and (foreign := names.foreign(domain)):
        raise value.refused(foreign)
    return user


def _variable(value: Value) -> str:
    if not string(value):
        raise value.refused("acceptEnv values cannot be empty")
    return string(value)


def _check_period(value: Value | None, is_check: bool) -> timedelta:
    if value is None:
        return DEFAULT_CHECK_PERIOD
    nanoseconds = read(value, _period)
    if not is_check:
        raise value.refused('checkPeriod is only valid with action "check"')
    return timedelta(microseconds=nanoseconds // 1000)


def _period(text: str) -> int:
    if text == ALWAYS:
        return 0
    period = parse_duration(text)
    if period < 0:
        raise Malformed(f"checkPeriod {format_duration(period)} must be a positive duration")
    if period > MAX_CHECK_PERIOD:
        raise Malformed(f"checkPeriod {format_duration(period)} is above the max (168h)")
    return period


def _check_people(rule: Fields, sources: Selectors, destinations: Selectors) -> None:
    """People's devices are for themselves: nobody else, and no tagged device, logs in there."""
    has_tags = any(source.kind is Kind.TAG or source == TAGGED for source in sources)
    different = set(sources)
    for value, destination in zip(items(rule.get("dst")), destinations, strict=True):
        if destination == SELF and has_tags:
            raise value.refused(_SELF_WITH_TAGS)
        if destination.kind in (Kind.USER, Kind.DOMAIN) and not different <= {destination}:
            raise value.refused(_not_the_same(str(destination), has_tags))


def _not_the_same(user: str, has_tags: bool) -> str:
    if has_tags:
        what = f"tags in SSH source cannot access user-owned devices ({user})"
        return f"{what}; use autogroup:tagged or specific tags as destinations"
    what = f"user destination requires source to contain only that same user {quoted(user)}"
    return f"{what}; use autogroup:self for same-user SSH access"
