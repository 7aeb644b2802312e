"""What the tests with official clients need, one lab for the whole run, and a picture of it on failure.

Where something is missing they are skipped, loudly; with CI=true they fail.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from real.client import CACHE, NEWEST, OLDEST
from real.lab import Lab
from real.scenario import Hosts, Tailnet
from real.service import BASE_DOMAIN, COMMAND, Service

CLIENT_MACHINES = 6
HERE = Path(__file__).parent
TOOLS = ("ip", "ss", "unshare", "nsenter", "setpriv", "ping", "ssh", "useradd", "haproxy", "nginx")
PROGRAMS = {NEWEST: ("tailscale", "tailscaled", "derper"), OLDEST: ("tailscale", "tailscaled")}
MISSING = pytest.StashKey[list[str]]()
MakeTailnet = Callable[..., Tailnet]


def missing() -> list[str]:
    """What has to be done before these tests can run; empty if nothing."""
    wanted = []
    if os.geteuid() != 0:
        wanted.append("run as root: they make network namespaces")
    if not Path("/dev/net/tun").exists():
        wanted.append("modprobe tun: there is no /dev/net/tun")
    if tools := [tool for tool in TOOLS if shutil.which(tool) is None]:
        wanted.append(f"scripts/install-packages: no {', '.join(tools)}")
    for version, programs in PROGRAMS.items():
        if absent := [name for name in programs if not os.access(CACHE / version / name, os.X_OK)]:
            wanted.append(f"scripts/install-clients: no {', '.join(absent)} {version}")
    if not os.access(COMMAND, os.X_OK):
        wanted.append("pip install -e .: there is no headscale-saas beside this Python")
    return wanted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.real)
    wanted = missing() if ours else []
    config.stash[MISSING] = wanted
    if wanted and os.environ.get("CI") != "true":
        for item in ours:
            item.add_marker(pytest.mark.skip(reason="; ".join(wanted)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if wanted := config.stash.get(MISSING, []):
        terminalreporter.section("THE OFFICIAL CLIENTS WERE NOT TRIED", red=True, bold=True)
        for each in wanted:
            terminalreporter.line(f"  {each}", red=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if wanted := item.config.stash.get(MISSING, []):
        pytest.fail("CI needs the official clients: " + "; ".join(wanted), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    world = getattr(item, "funcargs", {})
    if report.failed and "service" in world and world["service"].host.directory.exists():
        clients = world["machines"].lent if "machines" in world else []
        pictures = [client.picture() for client in clients] + [world["service"].picture()]
        report.sections.append(("the lab when it failed", "\n".join(pictures)))
    return report


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of the whole run. At the end nothing may have tried to leave it."""
    with Lab(CLIENT_MACHINES, own_names=[BASE_DOMAIN]) as lab:
        yield lab
        leaks = lab.leaks()
        assert not leaks, f"something tried to leave the lab: {leaks}"


@pytest.fixture(scope="session")
def service(lab: Lab) -> Service:
    service = Service(lab)
    try:
        service.start()
    except BaseException:
        print(service.picture())
        raise
    return service


@pytest.fixture(scope="session")
def machines(lab: Lab) -> Hosts:
    """The client machines. Tests ask for `hosts`; a module that keeps its clients takes them back."""
    return Hosts(lab.clients)


@pytest.fixture
def hosts(machines: Hosts) -> Iterator[Hosts]:
    """Client machines for one test; afterwards they are wiped."""
    yield machines
    machines.take_back()


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def make_tailnet(service: Service, hosts: Hosts, numbers: Iterator[int]) -> MakeTailnet:
    """Makes tailnets that no other test has, on cluster 1 unless told."""
    return lambda cluster=1: Tailnet(service, hosts, f"net{next(numbers)}", cluster)


@pytest.fixture
def tailnet(make_tailnet: MakeTailnet) -> Tailnet:
    return make_tailnet()
