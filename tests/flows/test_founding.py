"""What `serve` does before and when it serves."""

import asyncio
import io
import socket
import sys
import threading
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from headscale_saas import founding, join_line
from headscale_saas.actions import auth_keys
from headscale_saas.actions.domains import set_domains
from headscale_saas.actions.settings import set_settings
from headscale_saas.config import Config
from headscale_saas.errors import Unavailable
from headscale_saas.store.constraints import not_connected
from headscale_saas.store.database import Database
from headscale_saas.tailnet.model import SYSTEM


class Recorder(io.StringIO):
    """Keeps each write apart, as a file without a buffer would."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_the_join_line_is_one_write_with_both_its_line_ends(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.model_validate({"state_dir": str(tmp_path), "database": {"url": database_dsn}})
    founded = founding.found(config, database_dsn)
    written = Recorder()
    monkeypatch.setattr(sys, "stdout", written)
    founding.announce(config, founded, with_join_line=True)
    (line,) = [text for text in written.writes if "tailscale up" in text]
    assert line.startswith("\ntailscale up --login-server=http://127.0.0.1:8080 --auth-key=hskey-auth-")
    assert line.endswith("\n")


@pytest.mark.parametrize("value", ["on", "off"])
def test_a_database_that_may_lose_commits_is_told_of(
    database_dsn: str, tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config.model_validate({"state_dir": str(tmp_path), "database": {"url": database_dsn}})
    founding.found(config, f"{database_dsn}&options=-c%20synchronous_commit%3D{value}")
    told = capsys.readouterr()
    assert ("commits_may_be_lost" in told.out + told.err) == (value == "off")


async def test_the_key_of_the_join_line_is_kept_for_the_next_start(database_dsn: str, tmp_path: Path) -> None:
    config = Config.model_validate({"state_dir": str(tmp_path), "database": {"url": database_dsn}})
    database = await Database.open(database_dsn, pool_size=1)
    try:
        home = await founding.found_in(database, config)
        first = await join_line.join_key(database, home.id, tmp_path)
        assert (tmp_path / "join.key").stat().st_mode & 0o777 == 0o600
        assert await join_line.join_key(database, home.id, tmp_path) == first

        (tmp_path / "join.key").write_text(first[:-1] + ("a" if first[-1] != "a" else "b"))
        second = await join_line.join_key(database, home.id, tmp_path)
        assert second != first, "what is in the file is not a key of ours"
        newest = max(key.id for key in await auth_keys.list_auth_keys(database, home.id))
        await auth_keys.expire_auth_key(database, SYSTEM, home.id, newest)
        third = await join_line.join_key(database, home.id, tmp_path)
        assert third not in (first, second), "nobody joins with an expired key"

        await age(database_dsn, timedelta(hours=13))
        fourth = await join_line.join_key(database, home.id, tmp_path)
        assert fourth not in (first, second, third), "it would not last until the evening"
        assert len(await auth_keys.list_auth_keys(database, home.id)) == 4
    finally:
        await database.close()


async def age(dsn: str, by: timedelta) -> None:
    """Lets the auth keys grow older."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("update auth_keys set expires_at = expires_at - $1::interval", by)
    finally:
        await connection.close()


async def test_a_start_keeps_what_no_configuration_says_of_the_default_tailnet(
    database_dsn: str, tmp_path: Path
) -> None:
    config = Config.model_validate({"state_dir": str(tmp_path), "database": {"url": database_dsn}})
    database = await Database.open(database_dsn, pool_size=1)
    try:
        made = await founding.found_in(database, config)
        other = msgspec.structs.replace(made.settings, base_domain="other.example")
        await set_settings(database, SYSTEM, made.id, other)
        await set_domains(database, SYSTEM, made.id, ["example.com"])
        again = await founding.found_in(database, config)
    finally:
        await database.close()
    assert again.settings.domains == ("example.com",)
    assert again.settings.base_domain == made.settings.base_domain


@pytest.mark.parametrize(
    ("dsn", "place"),
    [
        (
            "postgresql:///hs?host=db&port=6543&user=me&sslmode=disable&password=s3",
            "'hs' at db:6543 as user 'me'",
        ),
        ("postgresql://me:s3@db.example:5432/hs", "'hs' at db.example:5432 as user 'me'"),
        ("postgresql:///hs?host=%2Frun%2Fpg&port=5432", "'hs' at /run/pg"),
    ],
)
def test_the_place_of_a_database_is_named_without_its_password(dsn: str, place: str) -> None:
    assert founding.place_of(dsn) == f"database {place}"


def reason(dsn: str) -> str:
    with pytest.raises(Unavailable) as refused:
        asyncio.run(founding._knock(dsn))
    return refused.value.message


def test_a_database_that_cannot_be_reached_says_why(tmp_path: Path) -> None:
    assert "name is not known" in reason("postgresql:///hs?host=no.such.invalid&user=me")
    assert "nothing listens there" in reason("postgresql://me@127.0.0.1:1/hs")
    assert "no such socket" in reason(f"postgresql://me@/hs?host={tmp_path}/none")


def test_a_database_without_tls_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def refuse() -> None:
            client, _ = server.accept()
            with client:
                client.recv(100)
                client.sendall(b"N")

        refusing = threading.Thread(target=refuse)
        refusing.start()
        port = server.getsockname()[1]
        assert "does not speak TLS" in reason(f"postgresql:///hs?host=127.0.0.1&port={port}&sslmode=require")
        refusing.join(20)


def test_a_wrong_password_and_a_missing_database_are_told_apart(database_dsn: str) -> None:
    assert "no such database" in reason(database_dsn.replace("/test_", "/no_such_"))
    assert "password is wrong" in not_connected(asyncpg.InvalidPasswordError("secret row")).args[0]
