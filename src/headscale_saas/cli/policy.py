"""`headscale policy`."""

import sys
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, TypeVar

import click

from headscale_saas.cli.commands import Group, whole_number
from headscale_saas.cli.messages import Policy, PolicyVerdict
from headscale_saas.cli.output import clean, lines_of, moment
from headscale_saas.cli.session import Session, with_server
from headscale_saas.errors import Invalid, NotFound, Refused

F = TypeVar("F", bound=Callable[..., Any])
COLUMNS = ("Version", "Set", "Author", "Bytes", "Rolled back from", "Comment")
MOST_BYTES = 1 << 20
LAST_PORT = 65535
NO_ONE_PORT = {"*", ""}  # as policies write all ports, or none was written after the colon
WITH_PORTS = {"", "tcp", "udp", "sctp", "6", "17", "132"}

from_file = click.option("-f", "--file", required=True, help="The policy in HuJSON; `-` is stdin.")
with_comment = click.option("-m", "--comment", default="", help="Why; kept with the version.")
over_file = click.option(
    "--bypass-file", is_flag=True, help="Also if the policy in force is from a server's policy file."
)
bypass = click.option(
    "--bypass-grpc-and-access-database-directly",
    "--bypass-server-and-access-database-directly",
    "bypass",
    is_flag=True,
    expose_value=False,
    hidden=True,  # for headscale's scripts: here the database is always asked directly
)


@click.group("policy", cls=Group)
def policy() -> None:
    """Manage the access policy of a tailnet."""


@policy.command("get", aliases=("show", "view", "fetch"))
@click.option("--version", callback=whole_number, metavar="N", default="0", help="An older one.")
@bypass
@with_server
async def get(session: Session, version: int) -> None:
    """Print the policy, as it was written."""
    found = await session.client.get_policy(version)
    _print(found.policy)


@policy.command("set", aliases=("put", "update"))
@from_file
@with_comment
@click.option("--etag", default="", help="Only if the one in force has this etag (`policy history -o json`).")
@over_file
@bypass
@with_server
async def set_(session: Session, file: str, comment: str, etag: str, bypass_file: bool) -> None:
    """Put a policy in force, once it is checked and its tests pass."""
    text = read(file)
    if not text:
        await _confirm_emptiness(session)
    put = await session.client.set_policy(text, etag=etag, comment=comment, bypass_file=bypass_file)
    session.printer.result(put, "Policy unchanged." if put.unchanged else "Policy updated.")
    _warn(session, put.warnings)


async def _confirm_emptiness(session: Session) -> None:
    """So that a pipe that broke does not open a tailnet."""
    try:
        await session.client.get_policy()
    except NotFound:
        return
    question = "The text is empty: everyone could reach everyone. Do you want to take the policy away?"
    if not session.line.confirm(question):
        raise Refused("the text is empty; --force takes the policy away")


@policy.command("check")
@from_file
@bypass
@with_server
async def check(session: Session, file: str) -> None:
    """Check a policy, and run its tests, without putting it in force."""
    checked = await session.client.check_policy(read(file))
    session.printer.result(checked, "Policy is valid")
    _warn(session, checked.warnings)


@policy.command("test")
@click.option("-f", "--file", default="", help="Not of the policy in force, but of this one; `-` is stdin.")
@with_server
async def test(session: Session, file: str) -> None:
    """Run the tests of the policy on the nodes there are now."""
    found = await session.client.test_policy(read(file) if file else None)
    passed = f"{found.tests} tests passed" if found.tests != 1 else "1 test passed"
    session.printer.result(found, "\n".join(map(clean, found.failures)) or passed)
    if found.failures:
        raise click.exceptions.Exit(1)


@policy.command("explain", aliases=("why",))
@click.argument("source")
@click.argument("destination", metavar="DESTINATION:PORT")
@click.option("-p", "--proto", default="", help="Name or number of a protocol (default tcp).")
@click.option("-f", "--file", default="", help="By this policy, not the one in force; `-` is stdin.")
@with_server
async def explain(session: Session, source: str, destination: str, proto: str, file: str) -> None:
    """Say whether one may connect to another. Names the rules that say so, or what is missing."""
    target, port = target_of(destination)
    if not port and proto.lower() in WITH_PORTS:
        ended = f"[{target}]" if _is_ipv6(target) else target
        raise Invalid(f"{destination}: the port is missing, as in {ended}:443")
    text = read(file) if file else None
    found = await session.client.explain_policy(source, target, port, protocol=proto, text=text)
    session.printer.result(found, "\n".join(map(told, found)))


def told(verdict: PolicyVerdict) -> str:
    said = "allowed" if verdict.allowed else f"denied: {verdict.detail}"
    rules = [
        f"    line {reason.line}, column {reason.column}: {reason.text}"
        if reason.line
        else f"    {reason.text}"
        for reason in verdict.reasons
    ]
    return lines_of("\n".join([f"{verdict.source} -> {verdict.destination}: {said}", *rules]))


def target_of(word: str) -> tuple[str, int]:
    """`host:22`, `tag:web:443`, `[fd7a::1]:22`; without a port (for protocols that have none) 0."""
    host, _, port = word.rpartition(":")
    if port in NO_ONE_PORT and host and not _is_ipv6(word):
        raise Invalid(f"{word}: it takes one port, as in {host}:443")
    if not host or not (port.isascii() and port.isdigit()) or _is_ipv6(word):
        return word, 0
    if len(port) > 5 or int(port) > LAST_PORT:
        raise Invalid(f"port {port[:20]} is out of range (0 to {LAST_PORT})")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_ipv6(word: str) -> bool:
    try:
        return bool(IPv6Address(word))
    except ValueError:
        return False


@policy.command("history", aliases=("log", "versions"))
@click.option(
    "-n", "--number", callback=whole_number, metavar="N", default="20", help="At most so many (default 20)."
)
@with_server
async def history(session: Session, number: int) -> None:
    """List versions, the newest first."""
    found = (await session.client.policy_history())[:number]
    session.printer.table(found, COLUMNS, map(_row, found))


def _row(version: Policy) -> tuple[str, ...]:
    from_version = str(version.rolled_back_from or "")
    texts = clean(version.author), str(version.size), from_version, clean(version.comment)
    return str(version.version), moment(version.updated_at), *texts


@policy.command("diff")
@click.argument("versions", nargs=-1, callback=lambda c, p, values: [whole_number(c, p, v) for v in values])
@click.option("-f", "--file", default="", help="Compare with this file; `-` is stdin.")
@with_server
async def diff(session: Session, versions: list[int], file: str) -> None:
    """Show what changed. From VERSION to VERSION, to the one in force, or in the last change."""
    if len(versions) > (1 if file else 2):
        raise Invalid("at most two can be compared")
    before, after = await _compared(session, versions, file)
    text = await session.client.diff_policy(before, after)
    session.printer.result({"diff": text}, lines_of(text).removesuffix("\n"))


async def _compared(session: Session, versions: list[int], file: str) -> tuple[int, int | str]:
    if file:
        return (versions[0] if versions else 0), read(file)
    if versions:
        return versions[0], versions[1] if len(versions) > 1 else 0
    newest = next(iter(await session.client.policy_history()), None)
    if newest is None or newest.version == 1:
        raise NotFound("there are no two versions to compare")
    return newest.version - 1, newest.version


@policy.command("rollback", aliases=("revert",))
@click.argument("version", callback=whole_number)
@with_comment
@over_file
@with_server
async def rollback(session: Session, version: int, comment: str, bypass_file: bool) -> None:
    """Put the text of an older version in force again, as a new one."""
    if version and not (await session.client.get_policy(version)).policy:
        await _confirm_emptiness(session)
    put = await session.client.rollback_policy(version, comment=comment, bypass_file=bypass_file)
    done = f"Policy rolled back to version {version}, as version {put.version}."
    session.printer.result(put, "Policy unchanged." if put.unchanged else done)
    _warn(session, put.warnings)


def _warn(session: Session, warnings: Iterable[str]) -> None:
    for warning in warnings:
        session.printer.note(f"Warning: {clean(warning)}")


def read(file: str) -> str:
    """The text of a policy file. Raises Invalid."""
    from headscale_saas.config.files import read_policy, text_of  # noqa: PLC0415 - not for `--help`

    try:
        if file == "-":
            return text_of(sys.stdin.buffer.read(MOST_BYTES + 1))
        return read_policy(Path(file))
    except Invalid as problem:
        raise Invalid(f"reading policy file: {file}: {problem.message}") from None


def _print(text: str) -> None:
    """To a file or a program exactly as it was written; on a terminal nothing that it would obey."""
    if sys.stdout.isatty():
        text = lines_of(text).removesuffix("\n") + "\n"
    sys.stdout.write(text)
