"""Registration as a table: which node a device is, by what it holds and what it was given."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from headscale_saas.errors import LimitReached, Refused
from headscale_saas.tailcfg.hostinfo import Hostinfo, NetInfo
from headscale_saas.tailcfg.keys import DiscoKey, MachineKey, NodeKey, TailnetLockKey
from headscale_saas.tailnet import rules
from headscale_saas.tailnet.model import AuthKey, KeyId, Node, NodeId, RegisterMethod, Settings, UserId
from headscale_saas.tailnet.rules import Create, Grant, Join, Keep, NeedsNewKey, Renew

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MACHINE, OTHER_MACHINE = MachineKey(b"m" * 32), MachineKey(b"M" * 32)
KEY, NEW_KEY = NodeKey(b"k" * 32), NodeKey(b"n" * 32)
ANNA, BERT = UserId(1), UserId(2)


def node(number: int = 1, **changes: object) -> Node:
    made = Node(
        id=NodeId(number),
        stable_id=f"n{number}",
        machine_key=MACHINE,
        node_key=KEY if number == 1 else NodeKey(bytes([number]) * 32),
        disco_key=DiscoKey.zero(),
        tailnet_lock_key=TailnetLockKey.zero(),
        user_id=ANNA,
        hostname="web",
        name="web",
        ipv4=None,
        ipv6=None,
        created_at=NOW - HOUR,
        hostinfo=Hostinfo(),
    )
    return replace(made, **changes)


def auth_key(**changes: object) -> AuthKey:
    made = AuthKey(
        id=KeyId(7), prefix="p", secret_hash=b"", user_id=ANNA, created_at=NOW - HOUR, expires_at=NOW + HOUR
    )
    return replace(made, **changes)


def join(**changes: object) -> Join:
    made = Join(
        machine_key=MACHINE,
        node_key=NEW_KEY,
        tailnet_lock_key=TailnetLockKey.zero(),
        hostinfo=Hostinfo(hostname="web"),
        capver=113,
    )
    return replace(made, **changes)


DEFAULT_JOIN = join()
VALID = auth_key()
SPENT = auth_key(used_at=NOW - HOUR)
EXPIRED = auth_key(expires_at=NOW)
REVOKED = auth_key(revoked_at=NOW - HOUR, reusable=True)
TAGGED = auth_key(tags=("tag:a",))
BERTS = auth_key(id=KeyId(8), user_id=BERT)
MINE = node()
GONE_STALE = node(expires_at=NOW)


@dataclass
class Case:
    what: str
    answer: object
    here: tuple[Node, ...] = ()
    key: AuthKey = VALID
    join: Join = DEFAULT_JOIN


CASES = [
    Case("a new device", Create()),
    Case("a new device with a reusable key that was used", Create(), key=replace(SPENT, reusable=True)),
    Case("a new device with a tagged key", Create(), key=TAGGED),
    Case("a restart", Keep(MINE), (MINE,), join=join(node_key=KEY)),
    Case("a restart with a spent key", Keep(MINE), (MINE,), SPENT, join(node_key=KEY)),
    Case("a restart with an expired key", Keep(MINE), (MINE,), EXPIRED, join(node_key=KEY)),
    Case("a rotation", Renew(MINE), (MINE,)),
    Case("an expired node with a valid key", Renew(GONE_STALE), (GONE_STALE,), join=join(node_key=KEY)),
    Case("another user's key and a new node key", Create(), (MINE,), BERTS),
    Case("another user's key and the old node key", NeedsNewKey(), (MINE,), BERTS, join(node_key=KEY)),
    Case("a tagged key on a user's node", Renew(MINE), (MINE,), TAGGED, join(node_key=KEY)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_which_node_it_is(case: Case):
    assert rules.admit(case.join, rules.by_key(case.key), case.here, NOW) == case.answer


def test_a_restart_with_a_key_that_is_gone():
    assert rules.admit(join(node_key=KEY), None, (MINE,), NOW) == Keep(MINE)


@pytest.mark.parametrize("here", [(), (MINE,), (GONE_STALE,)])
def test_a_key_that_is_gone_lets_nobody_in(here: tuple[Node, ...]):
    new = join(node_key=KEY if here == (GONE_STALE,) else NEW_KEY)
    with pytest.raises(Refused, match="invalid pre auth key"):
        rules.admit(new, None, here, NOW)


REFUSALS = [
    Case("a spent key", "authkey already used", key=SPENT),
    Case("an expired key", "authkey expired", key=EXPIRED),
    Case("a revoked key", "authkey revoked", key=REVOKED),
    Case("a rotation with a spent key", "authkey already used", (MINE,), SPENT),
    Case("an expired node with a spent key", "already used", (GONE_STALE,), SPENT, join(node_key=KEY)),
    Case(
        "another machine's node key",
        "in use",
        (node(machine_key=OTHER_MACHINE),),
        join=join(node_key=KEY),
    ),
    Case("a tagged key on a machine with two nodes", "several", (MINE, node(2, user_id=BERT)), TAGGED),
    Case(
        "tags that the key does not have",
        r"requested tags \[tag:x\] are invalid or not permitted",
        join=join(hostinfo=Hostinfo(request_tags=("tag:x",))),
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.what)
def test_what_is_refused(case: Case):
    with pytest.raises(Refused, match=str(case.answer)):
        rules.admit(case.join, rules.by_key(case.key), case.here, NOW)


def test_tags_of_the_key_may_be_asked_for():
    asked = join(hostinfo=Hostinfo(request_tags=("tag:a",)))
    assert rules.admit(asked, rules.by_key(TAGGED), (), NOW) == Create()


def test_a_node_that_an_admin_tagged_restarts_with_the_key_of_its_join():
    tagged = node(user_id=None, tags=("tag:admin",), auth_key_id=VALID.id)
    assert rules.admit(join(node_key=KEY), rules.by_key(SPENT), (tagged,), NOW) == Keep(tagged)


def test_a_user_does_not_take_over_a_tagged_node_by_logging_in():
    tagged = node(user_id=None, tags=("tag:admin",))
    login = Grant(user_id=ANNA, method=RegisterMethod.OIDC)
    assert rules.admit(join(), login, (tagged,), NOW) == Create()
    assert rules.admit(join(), replace(login, takes_tagged=True), (tagged,), NOW) == Renew(tagged)


def test_an_admin_gives_a_tagged_node_to_a_user():
    tagged = node(user_id=None, tags=("tag:admin",), auth_key_id=TAGGED.id)
    grant = Grant(user_id=ANNA, method=RegisterMethod.CLI, takes_tagged=True)
    after = rules.renewed(tagged, join(), grant, Settings(node_expiry=HOUR), NOW)
    assert (after.user_id, after.tags, after.auth_key_id, after.expires_at) == (ANNA, (), None, NOW + HOUR)
    owned = node(2, user_id=ANNA)
    assert rules.admit(join(), grant, (tagged, owned), NOW) == Renew(owned)


def test_a_full_tailnet_takes_nobody_new_but_renews():
    with pytest.raises(LimitReached):
        rules.admit(join(), rules.by_key(VALID), (), NOW, room=0)
    assert rules.admit(join(), rules.by_key(VALID), (MINE,), NOW, room=0) == Renew(MINE)


def test_a_renewal_keeps_who_the_node_is():
    before = node(hostinfo=Hostinfo(net_info=NetInfo(preferred_derp=3)), expired=True, expires_at=NOW)
    after = rules.renewed(before, join(), rules.by_key(VALID), Settings(node_expiry=HOUR), NOW)
    assert (after.id, after.stable_id, after.name) == (before.id, before.stable_id, before.name)
    assert (after.node_key, after.expires_at, after.expired) == (NEW_KEY, NOW + HOUR, False)
    assert after.hostinfo.net_info == NetInfo(preferred_derp=3)


def test_a_tagged_key_turns_a_users_node_into_a_tagged_one_that_never_expires():
    after = rules.renewed(MINE, join(), rules.by_key(TAGGED), Settings(node_expiry=HOUR), NOW)
    assert (after.user_id, after.tags, after.expires_at) == (None, ("tag:a",), None)


def test_tags_that_an_admin_gave_outlive_a_renewal_with_the_same_key():
    tagged = node(user_id=None, tags=("tag:admin",), auth_key_id=TAGGED.id)
    same = rules.renewed(tagged, join(), rules.by_key(TAGGED), Settings(), NOW)
    other = rules.renewed(tagged, join(), rules.by_key(replace(TAGGED, id=KeyId(9))), Settings(), NOW)
    assert (same.tags, other.tags) == (("tag:admin",), ("tag:a",))
