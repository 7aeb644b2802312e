"""`policy.mode: file`: the file is the default tailnet's policy, from the start and after each SIGHUP."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.processes import Served
from tests.waiting import until

from headscale_saas.actions import policies, tailnets
from headscale_saas.errors import Refused
from headscale_saas.store.database import Database
from headscale_saas.store.policies import PolicyVersion
from headscale_saas.tailnet.model import SYSTEM, Actor, TailnetId

OPEN = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}\n'
CLOSED = '{\n  "acls": [], // nobody\n}\n'
WRONG = '{\n  "acls": [{"action": "deny"}],\n}\n'


class FileMode:
    """A directory with a policy file, and the database that `serve` puts it into."""

    def __init__(self, directory: Path, dsn: str) -> None:
        self.directory = directory
        self.dsn = dsn
        self.file = directory / "acl.hujson"
        self.file.write_text(CLOSED)
        self._served = 0

    def process(self, **settings: object) -> Served:
        self._served += 1
        settings = {"policy": {"mode": "file", "path": str(self.file)}, "log": {"level": "info"}} | settings
        return Served(self.directory, f"house{self._served}", self.dsn, **settings)

    @asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator[Served]:
        process = self.process().start(*words)
        try:
            await process.healthy()
            yield process
        finally:
            process.kill()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[tuple[Database, TailnetId]]:
        database = await Database.open(self.dsn, pool_size=1)
        try:
            yield database, (await tailnets.show_tailnet(database, "default")).id
        finally:
            await database.close()

    async def text(self) -> str:
        async with self.database() as (database, tailnet):
            return (await policies.get_policy(database, tailnet)).text

    async def versions(self) -> list[PolicyVersion]:
        async with self.database() as (database, tailnet):
            return await policies.history(database, tailnet)


@pytest.fixture
def mode(tmp_path: Path, database_dsn: str) -> FileMode:
    tmp_path.chmod(0o755)
    return FileMode(tmp_path, database_dsn)


def refusal(process: Served) -> str:
    """What a start says that fails."""
    process.start()
    assert process.process.wait(30) == 1
    return process.log.read_text()


async def test_the_file_is_in_force_from_the_start_and_again_after_sighup(mode: FileMode) -> None:
    async with mode.running("--workers", "2") as process:
        assert await mode.text() == CLOSED
        (version,) = await mode.versions()
        assert (version.author.kind, version.author.name) == ("file", str(mode.file))

        mode.file.write_text(OPEN)
        workers = process.workers
        process.process.send_signal(signal.SIGHUP)

        async def is_open() -> bool:
            return await mode.text() == OPEN

        await until(is_open)
        assert [version.number for version in await mode.versions()] == [2, 1]
        assert process.workers == workers
        assert await process.stop() == 0
    async with mode.running():  # the same file again: nothing to do
        assert [version.number for version in await mode.versions()] == [2, 1]


async def test_a_file_that_is_wrong_at_sighup_is_logged_and_changes_nothing(mode: FileMode) -> None:
    async with mode.running() as process:
        for number, (text, words) in enumerate(
            [
                (WRONG, 'line 2, column 23: action="deny" is not supported'),
                ('{\n  "rules": [],\n}\n', 'unknown field: "rules"'),
                ("", "the file is empty; to let everyone reach everyone, write {} into it"),
                (None, "no such file"),
            ],
            start=1,
        ):
            if text is None:
                mode.file.unlink()
            else:
                mode.file.write_text(text)
            process.process.send_signal(signal.SIGHUP)

            async def is_said(number: int = number) -> bool:
                return process.log.read_text().count("policy_not_reloaded") == number

            await until(is_said)
            assert words in process.log.read_text().replace('\\"', '"')
            assert await mode.text() == CLOSED
        assert len(await mode.versions()) == 1
        assert await process.stop() == 0


def test_a_file_that_is_wrong_at_the_start_is_told_with_line_and_column(mode: FileMode) -> None:
    mode.file.write_text(WRONG)
    said = refusal(mode.process())
    assert f"policy.path {mode.file}: line 2, column 23: " in said
    assert 'action="deny" is not supported' in said
    mode.file.write_bytes(b'{\n "acls": [\xff')
    assert "line 2, column 11: not UTF-8" in refusal(mode.process())
    mode.file.unlink()
    assert f"policy.path {mode.file}: no such file." in refusal(mode.process())


async def test_an_empty_file_takes_no_policy_away(mode: FileMode) -> None:
    mode.file.write_text("")
    async with mode.running() as process:
        assert await mode.versions() == []
        mode.file.write_text(CLOSED)
        process.process.send_signal(signal.SIGHUP)

        async def is_closed() -> bool:
            return await mode.text() == CLOSED

        await until(is_closed)
    mode.file.write_text("// nothing yet\n")
    assert f"policy.path {mode.file}: the file is empty" in await asyncio.to_thread(refusal, mode.process())
    assert await mode.text() == CLOSED


async def test_tests_that_fail_only_warn_at_the_start(mode: FileMode) -> None:
    """Before the first node has joined they cannot pass; later they count."""
    tested = '{\n  "acls": [],\n  "tests": [{"src": "alice@", "accept": ["100.64.0.1:22"]}],\n}\n'
    mode.file.write_text(tested)
    async with mode.running() as process:
        assert await mode.text() == tested
        assert "policy_test_failed" in process.log.read_text()
        assert "line 3, column 13: alice@: source" in process.log.read_text()
        mode.file.write_text(tested + "\n")
        process.process.send_signal(signal.SIGHUP)

        async def is_refused() -> bool:
            return "policy_not_reloaded" in process.log.read_text()

        await until(is_refused)
        assert "test(s) failed" in process.log.read_text()
        assert await mode.text() == tested


async def test_logins_that_nobody_has_are_logged_in_one_line(mode: FileMode) -> None:
    mode.file.write_text('{"acls": [], "groups": {"group:a": ["alice@", "bob@"]}}\n')
    async with mode.running() as process:
        (line,) = [line for line in process.log.read_text().splitlines() if "policy_names_nobody" in line]
        assert "alice@ (line 1, column 37), bob@ (line 1, column 47)" in line
        mode.file.write_text('{"acls": [], "groups": {"group:a": ["carol@"]}}\n')
        process.process.send_signal(signal.SIGHUP)

        async def is_warned_of() -> bool:
            return "carol@ (line 1, column 37)" in process.log.read_text()

        await until(is_warned_of)


async def test_by_command_it_is_replaced_only_on_purpose(mode: FileMode) -> None:
    """Whoever sets it need not know how the server is configured."""
    admin = Actor(kind="cli", name="alice")
    async with mode.running(), mode.database() as (database, tailnet):
        with pytest.raises(Refused, match=f"modes other than 'database': .* {mode.file} on .* --bypass-file"):
            await policies.set_policy(database, admin, tailnet, OPEN)
        with pytest.raises(Refused):
            await policies.rollback(database, admin, tailnet, 1)
        assert (await policies.set_policy(database, admin, tailnet, OPEN, bypass_file=True)).is_new
        assert (await policies.rollback(database, admin, tailnet, 1)).is_new, "the newest is a command's"


async def test_without_a_path_the_policy_stays(mode: FileMode) -> None:
    async with mode.running():
        pass
    process = mode.process(policy={"mode": "file", "path": ""}).start()
    try:
        await process.healthy()
        assert await mode.text() == CLOSED
        assert "policy_stays" in process.log.read_text()
    finally:
        process.kill()


async def test_other_tailnets_have_policies_of_their_own(mode: FileMode) -> None:
    async with mode.running() as process, mode.database() as (database, _):
        made = await tailnets.create_tailnet(
            database, SYSTEM, "acme", (await tailnets.show_tailnet(database, "default")).cluster_id,
            (await tailnets.show_tailnet(database, "default")).settings,
        )  # fmt: skip
        await policies.set_policy(database, SYSTEM, made.id, OPEN)
        mode.file.write_text(CLOSED + "\n")
        process.process.send_signal(signal.SIGHUP)

        async def is_new() -> bool:
            return len(await mode.versions()) == 2

        await until(is_new)
        assert (await policies.get_policy(database, made.id)).text == OPEN


async def test_of_many_sighups_the_last_counts(mode: FileMode) -> None:
    async with mode.running() as process:
        for number in range(200):
            new = mode.file.with_suffix(".new")
            new.write_text(f"{CLOSED}// {number}\n")
            os.rename(new, mode.file)
            process.process.send_signal(signal.SIGHUP)

        async def is_the_last() -> bool:
            return await mode.text() == f"{CLOSED}// 199\n"

        await until(is_the_last)
