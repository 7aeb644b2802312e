"""DERPMap (`tailcfg/derpmap.go`): the relays. Order of nodes must be stable, or clients reconnect."""

from msgspec import field

from headscale_saas.tailcfg.codec import Int32, Wire


class DERPNode(Wire, frozen=True):
    """A relay. `stun_port` 0 = 3478, -1 = none; `derp_port` 0 = 443; `ipv4`/`ipv6` "none" disables."""

    name: str = ""
    region_id: Int32 = field(default=0, name="RegionID")
    host_name: str = ""
    cert_name: str = ""
    ipv4: str = field(default="", name="IPv4")
    ipv6: str = field(default="", name="IPv6")
    stun_port: Int32 = field(default=0, name="STUNPort")
    stun_only: bool = field(default=False, name="STUNOnly")
    derp_port: Int32 = field(default=0, name="DERPPort")
    insecure_for_tests: bool = False
    stun_test_ip: str = field(default="", name="STUNTestIP")
    can_port_80: bool = field(default=False, name="CanPort80")


class DERPRegion(Wire, frozen=True):
    """`region_id` must equal its key in the map. `avoid` is what clients below 115 know of the latter."""

    region_id: Int32 = field(default=0, name="RegionID")
    region_code: str = ""
    region_name: str = ""
    latitude: float | None = None
    longitude: float | None = None
    avoid: bool = False
    no_measure_no_home: bool = False
    nodes: tuple[DERPNode, ...] = ()


class HomeParams(Wire, frozen=True):
    """`region_score` None = unchanged; below 1 prefers, above 1 avoids."""

    region_score: dict[Int32, float] | None = None


class DERPMap(Wire, frozen=True):
    """`regions` None = unchanged, else it replaces all of them. `home_params` None = unchanged."""

    home_params: HomeParams | None = None
    regions: dict[Int32, DERPRegion | None] | None = None
    omit_default_regions: bool = field(default=False, name="omitDefaultRegions")
