"""A crowd measures what it did, and says so when it was not done."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from click.testing import CliRunner
from fake_peer import FakePeer, Knobs

from headscale_saas.cli import main
from headscale_saas.errors import Forbidden, Invalid, Unavailable
from headscale_saas.swarm.command import command
from headscale_saas.swarm.crowd import run
from headscale_saas.swarm.plan import Plan
from headscale_saas.swarm.report import Phase, Report, percentile

KEYS = ("a", "b")


def quick(url: str, **changes: Any) -> Plan:
    plan = Plan(
        url, KEYS, clients=20, rounds=2, decode=1.0, pause_seconds=0, quiet_seconds=0.05, limit_seconds=5
    )
    return dataclasses.replace(plan, **changes)


class All:
    def __contains__(self, name: object) -> bool:
        return True


async def test_all_phases_run_and_nothing_is_missing() -> None:
    async with FakePeer() as peer:
        report = await run(quick(peer.url))
    assert [phase.name for phase in report.phases] == ["join", "visible", "endpoint", "storm"]
    assert report.is_clean, report.verdict()
    assert report.phase("join").done == 20
    assert len(report.phase("visible").waits) == 20  # twice the ten of the joiner's tailnet
    assert len(report.phase("endpoint").waits) == 20
    assert len(report.phase("storm").waits) == 22
    assert report.decoded > 40


async def test_clients_that_only_count_measure_the_same() -> None:
    async with FakePeer() as peer:
        report = await run(quick(peer.url, decode=0.1))
    assert report.is_clean, report.verdict()
    assert len(report.phase("visible").waits) == 20


async def test_who_is_not_told_of_is_missing_and_the_run_does_not_count() -> None:
    async with FakePeer(Knobs(hides=All())) as peer:
        # Few, so that all join within the limit also where little time is left to us.
        report = await run(quick(peer.url, clients=4, phases=("join", "visible"), limit_seconds=1.0))
    assert (report.phase("join").done, report.phase("visible").missing) == (4, 4)
    assert report.incomplete > 0
    assert not report.is_clean


async def test_a_leak_between_tailnets_is_reported() -> None:
    async with FakePeer() as peer:
        merged = {"a": "one", "b": "one"}
        register = peer.register

        def leaky(request: Any) -> Any:
            auth = type(request.auth)(auth_key=merged[request.auth.auth_key])
            return register(type(request)(node_key=request.node_key, auth=auth, hostinfo=request.hostinfo))

        peer.register = leaky  # type: ignore[method-assign]
        report = await run(quick(peer.url, phases=("join",)))
    assert report.violation_count > 0
    assert not report.is_clean


async def test_public_addresses_need_a_word_that_they_are_ones_own() -> None:
    with pytest.raises(Forbidden, match="your own"):
        await run(quick("http://8.8.8.8", phases=("join",)))


def test_a_run_is_bounded() -> None:
    with pytest.raises(Invalid):
        quick("http://127.0.0.1", clients=100_000)
    with pytest.raises(Invalid):
        quick("http://127.0.0.1", total_seconds=1e9)
    with pytest.raises(Invalid):
        quick("http://127.0.0.1", phases=("dance",))


def test_percentiles() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([*range(101)], 0.99) == 99


async def test_the_command_prints_json_and_exits_with_0_for_a_clean_run() -> None:
    async with FakePeer() as peer:
        options = [
            "--url",
            peer.url,
            "--key",
            "a,b",
            "--clients",
            "4",
            "--rounds",
            "1",
            "--pause",
            "0",
            "--phases",
            "join,endpoint",
            "--json",
        ]
        result = await asyncio.to_thread(CliRunner().invoke, command, options)
    report = json.loads(result.stdout)
    assert result.exit_code == 0, result.output
    assert report["clean"]
    assert [phase["phase"] for phase in report["phases"]] == ["join", "endpoint"]


async def test_the_command_refuses_more_tailnets_than_keys() -> None:
    options = ["--url", "http://127.0.0.1:1", "--key", "a", "--tailnets", "2"]
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 2


def test_a_report_without_clients_is_no_success_story() -> None:
    report = Report(clients=1, tailnets=1)
    report.lost = 1
    assert not report.is_clean
    assert "1" in report.verdict()[-1]


def test_a_violation_may_be_another_label() -> None:
    hint = "another --label was used for this tailnet"
    report = Report(clients=1, tailnets=1)
    assert hint not in "".join(report.verdict())
    report.violation_count = 1
    assert hint in "".join(report.verdict())


async def test_a_phase_may_be_run_again() -> None:
    async with FakePeer() as peer:
        report = await run(quick(peer.url, phases=("join", "endpoint", "endpoint")))
    assert report.is_clean, report.verdict()


async def test_a_key_that_is_refused_ends_the_run_with_the_servers_words() -> None:
    async with FakePeer() as peer:
        with pytest.raises(Unavailable, match=r"nobody can join at .*: auth key not valid"):
            await run(quick(peer.url, keys=("bad",)))


async def test_a_server_that_is_not_there_ends_the_run() -> None:
    with pytest.raises(Unavailable, match=r"nobody can join at http://127\.0\.0\.1:1: "):
        await run(quick("http://127.0.0.1:1"))


async def test_a_host_without_address_is_named() -> None:
    with pytest.raises(Unavailable, match=r"no\.such\.invalid: "):
        await run(quick("http://no.such.invalid:1"))


def test_what_was_not_measured_is_not_called_nan() -> None:
    columns = Report(1, 1, [Phase("visible", 0)]).table().columns
    assert "nan" not in [cell for column in columns for cell in column.cells]


def test_it_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swarm", "-h"]) == 0
    assert "--i-own-this-server" in capsys.readouterr().out
