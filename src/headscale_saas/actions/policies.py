"""A tailnet's policy: set, look at, compare, bring back.

A policy is checked against all rows of the tailnet, and put in force on these (`at_rest`).
"""

import hashlib
from typing import NamedTuple

import msgspec

from headscale_saas.actions.apart import CHECKS, apart
from headscale_saas.actions.approvals import Approvals, approved_by
from headscale_saas.actions.at_rest import check_and_put
from headscale_saas.actions.policy_checks import Checked, checked
from headscale_saas.actions.unified import unified
from headscale_saas.errors import Conflict, Invalid, LimitReached, NotFound, Refused
from headscale_saas.policy.strangers import Stranger
from headscale_saas.store import nodes, policies, users
from headscale_saas.store import settings as settings_row
from headscale_saas.store.database import Database
from headscale_saas.store.policies import KEPT, PolicyRow, PolicyVersion, Rows
from headscale_saas.store.transactions import TailnetTx
from headscale_saas.tailnet.model import Actor, NodeId, TailnetId

MOST_BYTES = 1 << 20
MOST_COMMENT = 500
FROM_FILE = "file"
"""The kind of author of what a server read from a file."""

NOT_EDITABLE = "update is disabled for modes other than 'database'"
"""headscale's words, which other programs look for."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A text ("": no policy, everyone may reach everyone) and its version (None: there never was one)."""

    text: str
    version: PolicyVersion | None

    @property
    def etag(self) -> str:
        return self.version.etag if self.version else etag_of(self.text)


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """What came of setting a policy. Not `is_new`: that text was in force already, and nothing was written.

    `approved` are the nodes of which routes were approved because the new policy does, `strangers` the users
    whom it names and the tailnet does not have.
    """

    policy: Policy
    is_new: bool
    approved: tuple[NodeId, ...] = ()
    strangers: tuple[Stranger, ...] = ()


class Wanted(NamedTuple):
    """What one call of `set_policy` asks for."""

    actor: Actor
    text: str
    etag: str
    comment: str
    expected_etag: str | None
    rolled_back_from: int | None
    bypass_file: bool


def etag_of(text: str) -> str:
    """The text's SHA-256 in hex, also for "", which is no policy. Raises LimitReached, Invalid (no text)."""
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise Invalid("the policy is not Unicode text", field="policy") from None
    if len(content) > MOST_BYTES:
        raise LimitReached("the policy is larger than 1 MiB", code="policy_too_large")
    if b"\0" in content:
        raise Invalid("the policy has a NUL character in it", field="policy")
    return hashlib.sha256(content).hexdigest()


def demand_editable(tailnet: str, from_file: str) -> None:
    """`from_file` is the tailnet whose policy is a file ("": none). Raises Refused if that is this one."""
    if tailnet == from_file:
        raise Refused(NOT_EDITABLE, code="policy_from_file")


async def set_policy(
    db: Database,
    actor: Actor,
    tailnet: TailnetId,
    text: str,
    *,
    expected_etag: str | None = None,
    comment: str = "",
    with_tests: bool = True,
    rolled_back_from: int | None = None,
    bypass_file: bool = False,
) -> Put:
    """Puts a policy in force whole, or raises and leaves the one before in force.

    `expected_etag`: only if that is the one in force now. Routes that the policy approves are approved, also
    where they were advertised long ago; none is ever taken back. `with_tests` False does not run the policy's
    tests. Raises Invalid (PolicyError with the position; tests that fail), LimitReached, NotFound, Conflict
    (`policy_changed`), Refused (`policy_from_file`: the one in force is from a file, which would replace this
    one again; not with `bypass_file`).
    """
    etag, comment = etag_of(text), _checked_comment(comment)
    wanted = Wanted(actor, text, etag, comment, expected_etag, rolled_back_from, bypass_file)
    async with db.read(tailnet) as tx:
        before = await policies.in_force(tx)
    if _is_in_force(wanted, before):
        return _unchanged(before)

    def check(rows: Rows) -> Checked:
        return checked(rows, text, with_tests=with_tests)

    async def put(tx: TailnetTx, found: Checked) -> Put:
        return await _put(wanted, found, tx)

    return await check_and_put(db, actor, tailnet, check, put)


async def rollback(
    db: Database,
    actor: Actor,
    tailnet: TailnetId,
    number: int,
    *,
    comment: str = "",
    bypass_file: bool = False,
) -> Put:
    """Sets the text of an older version again, checked as any other. Raises as `set_policy`, and NotFound."""
    text = (await get_version(db, tailnet, number)).text
    return await set_policy(
        db, actor, tailnet, text, comment=comment, rolled_back_from=number, bypass_file=bypass_file
    )


async def get_policy(db: Database, tailnet: TailnetId) -> Policy:
    """The one in force."""
    async with db.read(tailnet) as tx:
        return _policy(await policies.in_force(tx))


async def get_version(db: Database, tailnet: TailnetId, number: int) -> Policy:
    """Raises NotFound."""
    async with db.read(tailnet) as tx:
        return await _existing(tx, number)


async def history(db: Database, tailnet: TailnetId, *, most: int = KEPT) -> list[PolicyVersion]:
    """The newest first; the last 200 are kept, as long as their texts take 16 MiB at most."""
    async with db.read(tailnet) as tx:
        return await policies.list_versions(tx, most)


async def diff(before: Policy, after: Policy | str) -> str:
    """From one policy to another, or to a text, as a unified diff; "" if they are the same."""
    text = after if isinstance(after, str) else after.text
    return await apart(CHECKS, unified, before.text, text, _name(before), _name(after))


def _name(policy: Policy | str) -> str:
    if isinstance(policy, str):
        return "new"
    return f"version {policy.version.number}" if policy.version else "no policy"


async def _put(wanted: Wanted, found: Checked, tx: TailnetTx) -> Put:
    before = await policies.in_force(tx)
    if _is_in_force(wanted, before):
        return _unchanged(before)
    version = await policies.put(
        tx, wanted.actor, wanted.text, wanted.etag, wanted.comment, wanted.rolled_back_from
    )
    tx.touch(policy=True)
    tx.audit("policy.set", f"policy {version.number}", _detail(version))
    approved = await _approve(tx, found.approvals, version)
    policy = Policy(text=wanted.text, version=version)
    return Put(policy=policy, is_new=True, approved=approved, strangers=found.strangers)


async def _approve(tx: TailnetTx, approvals: Approvals | None, version: PolicyVersion) -> tuple[NodeId, ...]:
    """As headscale does on a change of the policy: what was advertised before is looked at again."""
    if approvals is None:
        return ()
    approved = []
    owners, settings = {user.id: user for user in await users.find(tx)}, await settings_row.get(tx)
    for before in await policies.routers(tx):
        owner = None if before.user_id is None else owners.get(before.user_id)
        after = approved_by(approvals, before, owner, settings)
        if await nodes.update(tx, before, after):
            routes = [list(before.approved_routes), list(after.approved_routes)]
            detail = {"approved_routes": routes, "policy": version.number}
            tx.audit("node.approve_routes", f"node {before.id}", detail)
            approved.append(before.id)
    tx.touch(nodes=approved)
    return tuple(approved)


async def _existing(tx: TailnetTx, number: int) -> Policy:
    found = await policies.get(tx, number) if 0 < number < 1 << 63 else None
    if found is None:
        raise NotFound(f"there is no version {number} of the policy", code="no_such_policy_version")
    return _policy(found)


def _is_in_force(wanted: Wanted, now: PolicyRow) -> bool:
    """Raises Conflict if another one is in force than was expected, Refused if that is a file's."""
    if not wanted.bypass_file and wanted.actor.kind != FROM_FILE:
        _demand_not_from_file(now.version)
    etag = now.version.etag if now.version else etag_of(now.text)
    if wanted.expected_etag is not None and wanted.expected_etag != etag:
        raise Conflict("the policy was changed in the meantime: look at it again", code="policy_changed")
    return wanted.text == now.text


def _demand_not_from_file(version: PolicyVersion | None) -> None:
    """Whoever asks need not know the server's configuration; the newest version tells."""
    if version is not None and version.author.kind == FROM_FILE:
        file, host = version.author.name, version.author.origin
        raise Refused(
            f"{NOT_EDITABLE}: the policy in force is from the file {file} on {host}, which comes back at "
            "the next reload; change that file, or set this one all the same with --bypass-file",
            code="policy_from_file",
        )


def _policy(row: PolicyRow) -> Policy:
    return Policy(text=row.text, version=row.version)


def _unchanged(row: PolicyRow) -> Put:
    return Put(policy=_policy(row), is_new=False)


def _detail(version: PolicyVersion) -> dict[str, object]:
    detail: dict[str, object] = {"etag": version.etag, "bytes": version.size}
    if version.comment:
        detail["comment"] = version.comment
    if version.rolled_back_from is not None:
        detail["rolled_back_from"] = version.rolled_back_from
    return detail


def _checked_comment(comment: str) -> str:
    if len(comment) > MOST_COMMENT:
        raise Invalid(f"the comment is longer than {MOST_COMMENT} characters", field="comment")
    if not comment.isprintable():
        raise Invalid("the comment has characters in it that cannot be printed", field="comment")
    return comment
