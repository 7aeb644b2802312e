"""The Noise key is exchanged while clients are connected to two processes; nothing is started again."""

import io
from pathlib import Path

import pytest
from tests.command_line import CommandLine
from tests.service import House, Running, service
from tests.waiting import until

from headscale_saas import noise_keys
from headscale_saas.actions import noise_keys as verbs
from headscale_saas.errors import Conflict, Error, Invalid, NotFound, Refused
from headscale_saas.swarm.client import Client
from headscale_saas.swarm.site import Site
from headscale_saas.tailcfg.keys import MachineKey, PrivateKey


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_keys, "LOOK_SECONDS", 0.02)


async def added(house: House) -> MachineKey:
    """A new key, old enough to serve."""
    key = await noise_keys.add(house.tool, house.config.secrets.key_path)
    await house.sql("update noise_keys set created_at = created_at - interval '15 seconds'")
    return key.public_key


async def told(running: Running) -> MachineKey:
    """What somebody who asks this process now is told."""
    return await fresh(running).server_key()


def fresh(running: Running) -> Site:
    """The process as one who knows nothing yet finds it."""
    return Site(f"http://{running.site.authority}")


async def all_tell(house: House, key: MachineKey) -> None:
    async def do_they() -> bool:
        return all([await told(running) == key for running in house.workers])

    await until(do_they)


async def knocks(site: Site) -> None:
    """Opens a Noise connection with the key that this site knows. Raises what a refused one raises."""
    async with Client(site, tailnet="nobody") as client:
        await client.calls.connected()


async def test_the_key_is_exchanged_under_clients_that_stay_connected(database_dsn: str) -> None:
    async with service(database_dsn, workers=2) as house:
        home = await house.tailnet("acme")
        old = await told(house.workers[0])
        async with house.client(home, worker=0) as alice, house.client(home, worker=1) as bob:
            await alice.join(home.key)
            await bob.join(home.key)
            new = await added(house)
            await all_tell(house, old)
            await verbs.serve_noise_key(house.tool, str(new)[:13])
            await all_tell(house, new)

            assert alice.calls.dials == bob.calls.dials == 1, "nobody had to come again"
            await alice.reconnect()
            assert house.workers[0].worker.edge.counts.handshakes_by_old_key == 1

            async with Client(fresh(house.workers[1]), tailnet=home.name) as carol:
                await carol.join(home.key)
                await house.settled(home, alice, bob, carol)
            assert house.workers[1].worker.edge.counts.handshakes_by_old_key == 0

            await verbs.retire_noise_key(house.tool, str(old))
            await all_turn_away_who_knows_the_old_key(house)
            await knocks(fresh(house.workers[0]))
            await house.settled(home, alice, bob)


async def all_turn_away_who_knows_the_old_key(house: House) -> None:
    async def do_they() -> bool:
        return all([await turns_away(running.site) for running in house.workers])

    await until(do_they)


async def turns_away(site: Site) -> bool:
    try:
        await knocks(site)
    except Error:
        return True
    return False


async def test_a_key_serves_only_when_every_process_has_had_time_to_learn_it(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        made = await noise_keys.add(house.tool, house.config.secrets.key_path)
        with pytest.raises(Refused, match="try again in 15 s"):
            await verbs.serve_noise_key(house.tool, str(made.public_key))


async def test_what_is_refused(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        serving = str(await told(house.workers[0]))
        with pytest.raises(Refused, match="this key serves"):
            await verbs.retire_noise_key(house.tool, serving)
        with pytest.raises(NotFound):
            await verbs.serve_noise_key(house.tool, "0" * 64)
        with pytest.raises(Invalid, match="first 4 digits"):
            await verbs.serve_noise_key(house.tool, "mkey:")
        filed = noise_keys.read_key(house.config.noise.private_key_path)
        with pytest.raises(Conflict, match="already"):
            await noise_keys.add(house.tool, house.config.secrets.key_path, filed)
        with pytest.raises(Refused, match="not the key that wraps"):
            await noise_keys.add(house.tool, house.config.state_dir / "other.key")


async def test_a_key_retired_too_early_comes_back_from_its_file(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        old = await house.workers[0].site.server_key()
        new = await added(house)
        await verbs.serve_noise_key(house.tool, str(new))
        await verbs.retire_noise_key(house.tool, str(old))
        with pytest.raises(Refused, match="retired"):
            await verbs.serve_noise_key(house.tool, str(old))
        await all_turn_away_who_knows_the_old_key(house)
        filed = noise_keys.read_key(house.config.noise.private_key_path)
        assert (await noise_keys.add(house.tool, house.config.secrets.key_path, filed)).state == "accepted"

        async def is_back() -> bool:
            return not await turns_away(house.workers[0].site)

        await until(is_back)


async def test_a_process_that_starts_after_the_rotation_minds_no_old_file(database_dsn: str) -> None:
    async with service(database_dsn) as house:
        old, new = await told(house.workers[0]), await added(house)
        await verbs.serve_noise_key(house.tool, str(new))
        assert await told(await house.start_worker()) == new
        await verbs.retire_noise_key(house.tool, str(old))
        assert await told(await house.start_worker()) == new


async def test_who_cannot_unwrap_the_new_key_goes_on_with_the_old_one(
    database_dsn: str, tmp_path: Path
) -> None:
    async with service(database_dsn) as house:
        copy = tmp_path / "noise_private.key"
        copy.write_text(house.config.noise.private_key_path.read_text())
        old, new = await told(house.workers[0]), await added(house)
        known = await verbs.list_noise_keys(house.tool)
        held = noise_keys.held(known, copy, tmp_path / "secrets.key")
        assert (held.keys.serving, held.absent) == (old, (new,))
        await verbs.serve_noise_key(house.tool, str(new))
        with pytest.raises(Refused, match="the service's Noise key"):
            noise_keys.held(await verbs.list_noise_keys(house.tool), copy, tmp_path / "secrets.key")

        (house.config.state_dir / "secrets.key").rename(tmp_path / "aside.key")
        for _ in range(20):  # it has looked in between, and had nothing to unwrap the new key with
            await knocks(fresh(house.workers[0]))
        (tmp_path / "aside.key").rename(house.config.state_dir / "secrets.key")
        await all_tell(house, new)


def test_the_commands(
    database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"database:\n  url: {database_dsn}\nstate_dir: {tmp_path}\ncli:\n  timeout: 300ms\n")
    cli = CommandLine(config, capsys)
    cli.ok("clusters create 1 one")
    assert "not the key that wraps" in cli.fails("noisekeys add")
    (tmp_path / "secrets.key").write_text(PrivateKey(bytes(range(32))).reveal())
    key = cli.ok("noisekeys add")
    assert cli.json("noisekeys list")[0]["state"] == "accepted"
    assert "try again" in cli.fails(f"noisekeys serve {key[:12]}")
    assert cli.fails("noisekeys retire mkey:ffffffff").startswith("no such Noise key"), "nothing is asked"
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    asked = cli(f"noisekeys retire {key[:12]}")
    assert (asked.status, asked.out) == (0, "Noise key not retired\n")
    assert f"Do you want to retire {key}? [y/n]" in asked.err
    assert cli.json(f"noisekeys retire {key[:12]} --force")["state"] == "retired"
    assert cli.table("noisekeys ls")[0]["State"] == "retired"
    (tmp_path / "other.key").write_text("no key\n")
    assert "holds no key" in cli.fails(f"noisekeys add --file {tmp_path / 'other.key'}")
    (tmp_path / "other.key").write_text(PrivateKey(bytes(32)).reveal())
    other = cli.ok(f"noisekeys add --file {tmp_path / 'other.key'}")
    assert other == str(noise_keys.public_half(PrivateKey(bytes(32))))
