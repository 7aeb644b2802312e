"""What official clients sent, and what they accepted, is what our types can say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.control import HealthChangeRequest, QueryFeatureRequest
from headscale_saas.tailcfg.maps import MapRequest, MapResponse
from headscale_saas.tailcfg.register import RegisterRequest, RegisterResponse

TRANSCRIPTS = Path(__file__).parents[4] / "shared" / "transcripts" / "official-clients.jsonl"

REQUESTS = {
    "/machine/register": RegisterRequest,
    "/machine/map": MapRequest,
    "/machine/update-health": HealthChangeRequest,
    "/machine/feature/query": QueryFeatureRequest,
}

REMOVED_LONG_AGO = {"HairPinning"}


@pytest.fixture(scope="module")
def conversation() -> list[dict[str, Any]]:
    if not TRANSCRIPTS.exists():
        pytest.skip("NO TRANSCRIPTS: the codecs were not checked against official clients")
    return [json.loads(line) for line in TRANSCRIPTS.read_text().splitlines()]


def answers(conversation: list[dict[str, Any]]) -> Iterator[tuple[type, Any]]:
    paths: dict[int, str] = {}
    for event in conversation:
        if event["kind"] == "request":
            paths[event["seq"]] = event["path"]
        elif event["kind"] == "frame":
            yield MapResponse, event["body"]
        elif event["kind"] == "end" and paths[event["seq"]] == "/machine/register":
            yield RegisterResponse, event["body"]


def test_every_request_of_official_clients_is_understood_whole(conversation: list[dict[str, Any]]) -> None:
    requests = [event for event in conversation if event["kind"] == "request"]
    for event in requests:
        kind = REQUESTS[event["path"]]
        request = decode(kind, json.dumps(event["body"]).encode())
        assert meaning(json.loads(encode(request))) == meaning(event["body"])
    assert len(requests) > 100


def test_every_answer_they_accepted_can_be_said(conversation: list[dict[str, Any]]) -> None:
    count = 0
    for kind, body in answers(conversation):
        response = decode(kind, json.dumps(body).encode())
        assert meaning(json.loads(encode(response))) == meaning(body)
        count += 1
    assert count > 200


def meaning(value: Any, name: str = "") -> Any:
    """The JSON without what means nothing: zero values, and digits of a second past the sixth."""
    if isinstance(value, dict):
        members = {key: meaning(member, key) for key, member in value.items() if key not in REMOVED_LONG_AGO}
        return {key: member for key, member in members.items() if not is_nothing(member)}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if isinstance(value, str) and name in {"Created", "ControlTime", "LastSeen", "KeyExpiry", "Expiry"}:
        return "" if value.startswith("0001-01-01") else value.rstrip("Z")[:22]
    return value


def is_nothing(value: Any) -> bool:
    return value in (None, "", [], {}) or value is False or (value == 0 and not isinstance(value, bool))
