"""Words for users whom the tailnet does not have are found wherever a policy may have them."""

import json

from headscale_saas.policy.language import parse
from headscale_saas.policy.strangers import strangers_of
from headscale_saas.tailnet.model import User
from tailnets import make_user

ALICE = make_user(1, name="alice", email="alice@example.com")


def words(text: str, *users: User) -> list[str]:
    return [stranger.word for stranger in strangers_of(text, parse(text), users)]


def test_every_section_is_looked_at() -> None:
    text = json.dumps(
        {
            "groups": {"group:a": ["a@x.com"]},
            "tagOwners": {"tag:t": ["b@x.com", "group:a"]},
            "acls": [{"action": "accept", "src": ["c@x.com"], "dst": ["d@x.com:22", "tag:t:*"]}],
            "grants": [{"src": [" e@x.com "], "dst": ["f@x.com"], "ip": ["*"]}],
            "ssh": [{"action": "accept", "src": ["g@x.com"], "dst": ["g@x.com"], "users": ["root@home"]}],
            "nodeAttrs": [{"target": ["h@x.com"], "attr": ["funnel"]}],
            "autoApprovers": {"routes": {"10.0.0.0/8": ["i@x.com"]}, "exitNode": ["j@x.com"]},
        }
    )
    assert words(text) == [f"{name}@x.com" for name in "abcdefghij"]


def test_whoever_is_here_is_no_stranger() -> None:
    text = (
        '{"groups": {"group:a": ["alice@", "alice@example.com", "user:*@example.org", "\\u0062ob@", "bob@"]}}'
    )
    (bob,) = strangers_of(text, parse(text), [ALICE])
    assert str(bob) == "nobody here is bob@ (line 1, column 78)"
