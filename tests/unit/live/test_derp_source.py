"""What is logged of a DERP map that cannot be fetched."""

import asyncio

import pytest
from structlog.testing import capture_logs
from tests.waiting import until

from headscale_saas.errors import Invalid
from headscale_saas.live import derp_source
from headscale_saas.live.derp_source import DerpSource, Regions

URL = "https://maps.example/derp"
REGIONS = {
    "regions": {"901": {"regionid": 901, "regioncode": "x", "nodes": [{"name": "a", "hostname": "a"}]}}
}


async def test_a_map_that_cannot_be_fetched_is_told_once_until_that_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Regions | Exception] = [
        *[OSError("no route")] * 5,
        derp_source.regions_from(REGIONS),
        *[Invalid("no regions in it")] * 3,
        derp_source.regions_from(REGIONS),
    ]
    asked = []

    def fetch(url: str) -> Regions:
        asked.append(url)
        answer = answers[len(asked) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(derp_source, "fetch", fetch)
    monkeypatch.setattr(derp_source, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(derp_source, "LAST_RETRY_SECONDS", 0.001)
    source = DerpSource([], [URL], 0.001)
    with capture_logs() as lines:
        running = asyncio.create_task(source.run())
        await until(lambda: len(asked) >= len(answers))
        running.cancel()
        await asyncio.wait([running])
    told = [line["error"] for line in lines if line["event"] == "derp_map_not_fetched"]
    assert told[:2] == ["no route", "no regions in it"]
    assert len(told) <= 3, "the third is that of the end of this test"
