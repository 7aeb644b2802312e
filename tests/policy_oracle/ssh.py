"""Rules for Tailscale SSH (section 12), as they go to a device: JSON as the client reads it."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.policy_oracle.selectors import as_destination, as_sources
from tests.policy_oracle.world import Device, World

SshRule = dict[str, Any]
ACCEPT = {
    "accept": True,
    "allowAgentForwarding": True,
    "allowLocalPortForwarding": True,
    "allowRemotePortForwarding": True,
}
CHECK = {
    "holdAndDelegate": "{base}/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER",
}


def ssh_rules(world: World, device: Device, base: str) -> list[SshRule]:
    """Check rules stand first; principals in no particular order."""
    entries = world.policy.get("ssh") or []
    found = [rule for entry in entries for rule in _rules(world, entry, device, base)]
    return sorted(found, key=lambda rule: "accept" in rule["action"])


def _rules(world: World, entry: Mapping[str, Any], device: Device, base: str) -> Iterator[SshRule]:
    words = [word.strip() for word in entry.get("src") or []]
    sources = [d for d in as_sources(world, words, entry).devices if d.addresses]
    sources = [d for d in world.devices if d in sources]
    if not sources:
        return
    targets = [word.strip() for word in entry.get("dst") or []]
    users = sorted({d.user for d in sources if d.user is not None})
    localparts = [u.strip() for u in entry["users"] if _domain(u)]
    ends = {member.id for word in targets if word != "autogroup:self" for member in _ends(world, word)}
    emit = _Emitter(entry, base)
    if "autogroup:self" in targets and device.user in users:
        yield from emit([d for d in sources if d.user == device.user])
    if device.id in ends:
        if not localparts:
            yield from emit(sources)
            return
        for user in users:
            yield from emit([d for d in sources if d.user == user])
        yield from emit([d for d in sources if d.user is None])
    elif localparts and device in sources:
        yield from emit([d for d in sources if d.user == device.user] if device.user else [device])


def _ends(world: World, word: str) -> list[Device]:
    return as_destination(world, word).devices


class _Emitter:
    """Says one rule to some sources, and a second one to the owner whose login names his local user."""

    def __init__(self, entry: Mapping[str, Any], base: str) -> None:
        self._users = [user.strip() for user in entry["users"]]
        action = ACCEPT if entry["action"].strip() == "accept" else CHECK
        self._rest: SshRule = {"action": {k: _filled(v, base) for k, v in action.items()}}
        if entry.get("acceptEnv"):
            self._rest["acceptEnv"] = entry["acceptEnv"]

    def __call__(self, sources: list[Device]) -> Iterator[SshRule]:
        principals = [{"nodeIP": a} for d in sources for _ in (d.tags or [""]) for a in d.addresses]
        if not principals:
            return
        yield {"principals": principals, "sshUsers": user_map(self._users), **self._rest}
        domains = {_domain(user) for user in self._users} - {""}
        owners = {d.user: d.logins[0] for d in sources if d.user is not None and d.logins}
        for login in owners.values() if len(owners) == 1 else ():
            name, _, domain = login.partition("@")
            if domain.lower() in domains:
                yield {"principals": principals, "sshUsers": {name: name}, **self._rest}


def user_map(users: list[str]) -> dict[str, str]:
    result = {"root": "root" if "root" in users else ""}
    for user in users:
        if user == "autogroup:nonroot":
            result["*"] = "="
        elif user != "root" and not _domain(user):
            result[user] = user
    return result


def _domain(user: str) -> str:
    """Of `localpart:*@domain`; "" for other names."""
    return (
        user.strip().removeprefix("localpart:*@").lower() if user.strip().startswith("localpart:*@") else ""
    )


def _filled(value: Any, base: str) -> Any:
    return value.replace("{base}", base) if isinstance(value, str) else value
