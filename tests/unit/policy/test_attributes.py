"""What `nodeAttrs` and the tailnet's options add to nodes, and what peers notice of it."""

import pytest
from msgspec.structs import replace

from headscale_saas.policy.atoms import Atoms
from headscale_saas.policy.attributes import Attributes
from headscale_saas.policy.language.document import Document, NodeAttr
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.selectors import ANY, MEMBER, Kind, Selector
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.node import CapMap
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.routes import EXIT_ROUTES
from tailnets import make_node, make_user

WEB = Selector(Kind.TAG, "tag:web")
SERVER = make_node(1, tags=("tag:web",))
LAPTOP = make_node(2)


def entry(*attributes: str, target: tuple[Selector, ...] = (WEB,), **more: object) -> NodeAttr:
    return NodeAttr(position=Position(1, 1), targets=target, attributes=attributes, **more)  # type: ignore[arg-type]


class World:
    def __init__(self, *entries: NodeAttr, **options: object) -> None:
        document = Document(node_attrs=entries, **options)  # type: ignore[arg-type]
        self.atoms = Atoms(document, (target for entry in entries for target in entry.targets))
        self.attributes = Attributes(document, self.atoms)

    def mask(self, node: Node) -> int:
        return self.atoms.mask(node, None if node.is_tagged else make_user(1))

    def of(self, node: Node) -> CapMap:
        return self.attributes.of(node, self.mask(node))


def test_a_node_gets_the_attributes_of_all_entries_that_contain_it() -> None:
    world = World(entry("a", "b"), entry("c", target=(ANY,)), entry("d", target=(MEMBER,)), entry("a"))
    assert world.of(SERVER) == {"a": (), "b": (), "c": ()}
    assert world.of(LAPTOP) == {"c": (), "d": ()}


def test_an_address_means_the_node_that_has_it() -> None:
    world = World(entry("a", target=(Selector(Kind.PREFIX, "100.64.0.2/32"),)))
    assert world.of(LAPTOP) == {"a": ()}
    assert world.of(SERVER) == {}


def test_entries_without_targets_or_attributes_do_nothing() -> None:
    assert World(entry("a", target=()), entry()).of(SERVER) == {}


def test_values_of_app_are_joined() -> None:
    name = "tailscale.com/app-connectors"
    world = World(entry(app={name: ({"name": "one"},)}), entry(app={name: ({"name": "two"},)}))
    assert world.of(SERVER) == {name: ({"name": "one"}, {"name": "two"})}


def test_funnel_brings_its_ports_and_the_warning_that_certificates_are_missing() -> None:
    assert set(World(entry("funnel")).of(SERVER)) == {
        "funnel",
        "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
        "https://tailscale.com/cap/warn-funnel-no-https",
    }


def test_options_of_the_tailnet_are_attributes_of_every_node() -> None:
    world = World(randomize_client_port=True, disable_ipv4=True)
    assert world.of(SERVER) == world.of(LAPTOP) == {"randomize-client-port": (), "disable-ipv4": ()}


@pytest.mark.parametrize(
    ("option", "told"), [("mac-always", "one-cgnat?v=true"), ("mac-never", "one-cgnat?v=false"), ("", None)]
)
def test_the_one_route_option_is_for_macs(option: str, told: str | None) -> None:
    world = World(one_cgnat_route=option)
    assert world.of(replace(LAPTOP, hostinfo=Hostinfo(os="macOS"))) == ({told: ()} if told else {})
    assert world.of(LAPTOP) == {}


def test_nodes_that_get_the_same_share_one_object() -> None:
    world = World(entry("a", target=(MEMBER,)))
    assert world.of(LAPTOP) is world.of(make_node(3))


def test_peers_are_told_of_suggested_exit_nodes_while_these_serve() -> None:
    world = World(entry("suggest-exit-node", "other"))
    seen = [
        world.attributes.of_peer(SERVER, world.mask(SERVER), routes)
        for routes in (EXIT_ROUTES, ("10.0.0.0/8",), ())
    ]
    assert seen == [{"suggest-exit-node": ()}, {}, {}]
    assert world.attributes.of_peer(LAPTOP, world.mask(LAPTOP), EXIT_ROUTES) == {}
