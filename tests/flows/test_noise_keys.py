"""The service's Noise key: made once, the same for all processes, never replaced by accident."""

from pathlib import Path

import pytest
from tests.store_world import process

from headscale_saas import noise_keys
from headscale_saas.errors import Refused
from headscale_saas.store import directory


async def test_the_first_process_makes_the_keys_and_keeps_them_from_others(
    database_dsn: str, tmp_path: Path
) -> None:
    async with process(database_dsn) as database:
        keys = await noise_keys.found(database, tmp_path / "noise.key", tmp_path / "secrets.key")
        assert (tmp_path / "noise.key").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "secrets.key").stat().st_mode & 0o777 == 0o600
        again = await noise_keys.found(database, tmp_path / "noise.key", tmp_path / "secrets.key")
        assert again.serving == keys.serving


async def test_a_process_with_the_wrapping_key_alone_has_the_same_noise_key(
    database_dsn: str, tmp_path: Path
) -> None:
    async with process(database_dsn) as first, process(database_dsn) as second:
        keys = await noise_keys.found(first, tmp_path / "noise.key", tmp_path / "secrets.key")
        other = await noise_keys.found(second, tmp_path / "none" / "noise.key", tmp_path / "secrets.key")
        assert other.serving == keys.serving
        assert not (tmp_path / "none").exists()


async def test_a_process_without_the_key_refuses_to_make_another_one(
    database_dsn: str, tmp_path: Path
) -> None:
    async with process(database_dsn) as database:
        await noise_keys.found(database, tmp_path / "noise.key", tmp_path / "secrets.key")
        with pytest.raises(Refused, match="log every node out"):
            await noise_keys.found(database, tmp_path / "b" / "noise.key", tmp_path / "b" / "secrets.key")


async def test_another_key_than_the_service_has_is_refused(database_dsn: str, tmp_path: Path) -> None:
    async with process(database_dsn) as database:
        await noise_keys.found(database, tmp_path / "noise.key", tmp_path / "secrets.key")
        (tmp_path / "other.key").write_text("privkey:" + "11" * 32)
        with pytest.raises(Refused, match="not the service's Noise key"):
            await noise_keys.found(database, tmp_path / "other.key", tmp_path / "secrets.key")


async def test_a_key_that_is_still_accepted_answers_after_the_serving_one(
    database_dsn: str, tmp_path: Path
) -> None:
    """After a rotation, clients that know the old key are served until it is retired."""
    async with process(database_dsn) as database:
        old = await noise_keys.found(database, tmp_path / "old.key", tmp_path / "secrets.key")
        (tmp_path / "new.key").write_text("privkey:" + "22" * 32)
        private = noise_keys.read_key(tmp_path / "new.key")
        assert private is not None
        new = noise_keys.public_half(private)
        async with database.directory() as tx:
            await directory.add_noise_key(tx, new, None, "accepted")
            await directory.set_noise_key_state(tx, new, "serving")
        keys = await noise_keys.found(database, tmp_path / "new.key", tmp_path / "secrets.key")
        assert keys.serving == new
        assert len(keys.pairs) == 2
        assert keys.pairs[1][1] == old.serving
