"""Rows and values are the same thing."""

from datetime import timedelta
from ipaddress import IPv4Network

import pytest

from headscale_saas.errors import Invalid
from headscale_saas.store import changelog
from headscale_saas.store.tailnets import settings_from_text, settings_to_text
from headscale_saas.tailcfg.hostinfo import Hostinfo, NetInfo
from headscale_saas.tailnet.model import (
    DnsSettings,
    ExtraRecord,
    NodeId,
    RegisterMethod,
    Role,
    Settings,
    UserId,
)
from store_world import ADMIN, NOON, a_node, a_user, new_tailnet, process, put_node, put_user

FULL_NODE = a_node(
    2,
    user_id=UserId(1),
    tags=(),
    name_is_fixed=True,
    ipv6=None,
    expires_at=NOON,
    expired=True,
    authorized=False,
    ephemeral=True,
    register_method=RegisterMethod.OIDC,
    capver=113,
    hostinfo=Hostinfo(os="linux", net_info=NetInfo(preferred_derp=3, derp_latency={"1-v4": 0.5})),
    endpoints=("192.0.2.1:1", "[2001:db8::1]:2"),
    home_derp=3,
    approved_routes=("10.0.0.0/8", "::/0"),
    online=True,
    last_seen=NOON + timedelta(microseconds=1),
)
FULL_USER = a_user(
    1,
    display_name="Ann “the” User",
    email="ann@example.com",
    provider="https://id.example.com",
    provider_id="7",
    role=Role.ADMIN,
    groups=("a", "b"),
    picture_url="https://example.com/a.png",
)


async def test_what_was_written_is_read(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        tailnet = await new_tailnet(database, "rows")
        await database.write(tailnet, ADMIN, lambda tx: put_user(tx, FULL_USER))
        await database.write(tailnet, ADMIN, lambda tx: put_node(tx, FULL_NODE))
        await database.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(1)))
        async with database.feed([tailnet]) as tx:
            state = await changelog.load(tx, tailnet)
        assert list(state.nodes.values()) == [a_node(1), FULL_NODE]
        assert list(state.users.values()) == [FULL_USER]
        assert type(state.nodes[NodeId(1)].node_key) is type(a_node(1).node_key)


async def test_a_row_that_cannot_be_read_concerns_its_tailnet_only(database_dsn: str) -> None:
    async with process(database_dsn) as database:
        bad, good = await new_tailnet(database, "bad"), await new_tailnet(database, "good")
        async with database.feed([bad, good]) as tx:
            states = {tailnet: await changelog.load(tx, tailnet) for tailnet in (bad, good)}
        for tailnet in states:
            await database.write(tailnet, ADMIN, lambda tx: put_node(tx, a_node(1)))
        async with database.unversioned(bad) as tx2:
            await tx2.execute("update nodes set hostinfo = 'nonsense'")
        async with database.feed(states) as tx:
            moved = await changelog.catch_up_many(tx, states)
            with pytest.raises(Invalid):
                await changelog.load(tx, bad)
        assert isinstance(moved[bad], Invalid)
        assert isinstance(moved[good], changelog.Moved)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(
            display_name="x",
            prefix_v4=IPv4Network("100.64.0.0/24"),
            prefix_v6=None,
            node_expiry=timedelta(days=180),
            dns=DnsSettings(
                nameservers=("192.0.2.1",),
                split={"a.example": ("192.0.2.2",)},
                extra_records=(ExtraRecord("a", "A", "192.0.2.3"),),
            ),
        ),
    ],
)
def test_settings_survive_their_text(settings: Settings) -> None:
    assert settings_from_text(settings_to_text(settings)) == settings


def test_absent_settings_have_their_defaults() -> None:
    assert settings_from_text("{}") == Settings()
