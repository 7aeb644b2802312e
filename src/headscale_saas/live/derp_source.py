"""Where the DERP map comes from: files (YAML, headscale's spelling) and URLs (JSON), merged in order.

Files are read at the start. URLs are fetched in the background: a slow or dead one delays nobody, and
a failure keeps the last good map; the log is told when it begins and ends. Later sources win; a region of
null removes one.
"""

import asyncio
import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from headscale_saas.errors import Invalid
from headscale_saas.netmap.view import placeholder_derp_map
from headscale_saas.observe import Reminder, get_logger
from headscale_saas.tailcfg.derpmap import DERPMap, DERPNode, DERPRegion

MAX_MAP_BYTES = 1 << 20
MAX_REGIONS = 1000
FETCH_SECONDS = 10.0
FIRST_RETRY_SECONDS = 2.0
LAST_RETRY_SECONDS = 300.0

Regions = dict[int, DERPRegion | None]
S = TypeVar("S", bound=msgspec.Struct)

log = get_logger(__name__)


class DerpSource:
    """`current` is a map that clients can start with, at any time; `changed` hears of better ones."""

    def __init__(self, paths: Sequence[Path], urls: Sequence[str], refresh_seconds: float | None) -> None:
        self._from_files = [read_file(path) for path in paths]
        self._urls = list(urls)
        self._from_urls: dict[str, Regions] = {}
        self._troubles = {url: Reminder() for url in urls}
        self._refresh_seconds = refresh_seconds
        self.current = self._merge()
        self.changed: Callable[[DERPMap], None] | None = None
        if not self.current.regions and not urls:
            log.warning("no_derp_map", hint="set derp.paths or derp.urls; clients cannot relay without one")
        if not self.current.regions:
            self.current = placeholder_derp_map()

    async def run(self) -> None:
        """Fetches the URLs, and again every `refresh_seconds`; failures are retried with growing delay."""
        delay = FIRST_RETRY_SECONDS
        while self._urls:
            if await self._fetch_all():
                if self._refresh_seconds is None:
                    return
                delay = FIRST_RETRY_SECONDS
                await asyncio.sleep(self._refresh_seconds)
            else:
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _fetch_all(self) -> bool:
        complete = True
        for url in self._urls:
            try:
                self._from_urls[url] = await asyncio.to_thread(fetch, url)
            except (OSError, ValueError, Invalid) as error:
                complete = False
                if self._troubles[url].is_due():
                    log.warning("derp_map_not_fetched", url=url, error=str(error))
                continue
            if self._troubles[url].ends():
                log.info("derp_map_fetched", url=url)
        self._adopt()
        return complete

    def _adopt(self) -> None:
        merged = self._merge()
        if merged.regions and merged != self.current:
            self.current = merged
            if self.changed is not None:
                self.changed(merged)

    def _merge(self) -> DERPMap:
        regions: dict[int, DERPRegion | None] = {}
        for source in (*self._from_urls.values(), *self._from_files):
            regions.update(source)
        return DERPMap(regions={key: regions[key] for key in sorted(regions) if regions[key]})


def read_file(path: Path) -> Regions:
    """The regions of a YAML file. Raises Invalid with the file's name."""
    try:
        return regions_from(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, Invalid) as error:
        raise Invalid(f"DERP map {path}: {error}", field="derp.paths") from None


def fetch(url: str) -> Regions:
    """The regions that a URL answers with. Blocks; raises OSError, ValueError or Invalid."""
    if not url.startswith(("https://", "http://")):
        raise Invalid(f"not an http URL: {url}", field="derp.urls")
    with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:
        body = answer.read(MAX_MAP_BYTES + 1)
    if len(body) > MAX_MAP_BYTES:
        raise Invalid(f"DERP map longer than {MAX_MAP_BYTES} bytes", field="derp.urls")
    return regions_from(json.loads(body))


def regions_from(document: Any) -> Regions:
    """The regions of a parsed document. Unknown members are dropped, spelling ignores case."""
    regions = _member(document, "regions")
    if not isinstance(regions, Mapping) or len(regions) > MAX_REGIONS:
        raise Invalid("no regions in it")
    return {int(key): None if value is None else _region(int(key), value) for key, value in regions.items()}


def _region(region_id: int, document: Any) -> DERPRegion:
    nodes = [_struct(DERPNode, node) for node in _member(document, "nodes") or ()]
    if region_id <= 0 or not nodes:
        raise Invalid(f"region {region_id} needs a positive id and at least one node")
    # The client rejects a region whose id differs from its key; insecure relays are for nobody's production.
    nodes = [msgspec.structs.replace(node, region_id=region_id) for node in nodes]
    region = _struct(DERPRegion, {k: v for k, v in document.items() if k.lower() != "nodes"})
    return msgspec.structs.replace(region, region_id=region_id, nodes=tuple(nodes))


def _member(document: Any, name: str) -> Any:
    if not isinstance(document, Mapping):
        raise Invalid("not a mapping")
    return next((value for key, value in document.items() if str(key).lower() == name), None)


def _struct(kind: type[S], document: Any) -> S:
    if not isinstance(document, Mapping):
        raise Invalid(f"a {kind.__name__} must be a mapping")
    names = {field.encode_name.lower(): field.encode_name for field in msgspec.structs.fields(kind)}
    known = {names[str(k).lower()]: v for k, v in document.items() if str(k).lower() in names}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
