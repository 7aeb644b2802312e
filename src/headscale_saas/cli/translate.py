"""From the model's values to headscale's messages."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from headscale_saas.access.credentials import PREFIX_LENGTH, KeyKind, masked
from headscale_saas.cli import messages
from headscale_saas.cli.messages import TAGGED_DEVICES, Timestamp
from headscale_saas.policy.answers.verdicts import Verdict
from headscale_saas.policy.strangers import Stranger
from headscale_saas.store.directory import Cluster, NoiseKey, TailnetHead
from headscale_saas.store.policies import PolicyVersion
from headscale_saas.tailnet.model import (
    ApiKey,
    AuthKey,
    KeyId,
    Node,
    RegisterMethod,
    Tailnet,
    User,
    UserId,
)
from headscale_saas.tailnet.routes import Served

MOST_WARNINGS = 10
METHODS = {
    RegisterMethod.AUTH_KEY: messages.RegisterMethod.AUTH_KEY,
    RegisterMethod.CLI: messages.RegisterMethod.CLI,
    RegisterMethod.OIDC: messages.RegisterMethod.OIDC,
}

Users = Mapping[UserId, User]
Keys = Mapping[KeyId, AuthKey]


def user_message(user: User) -> messages.User:
    """The name is never empty: members from an identity provider may have none of their own."""
    return messages.User(
        id=user.id,
        name=user.name or user.login_name,
        created_at=Timestamp.of(user.created_at),
        display_name=user.display_name,
        email=user.email,
        provider_id=user.provider_id,
        provider=user.provider,
        profile_pic_url=user.picture_url,
    )


def auth_key_message(key: AuthKey, users: Users, text: str = "") -> messages.PreAuthKey:
    """A revoked key is one that expired when it was revoked; `text` is the whole key, if it may be told."""
    ends = [time for time in (key.expires_at, key.revoked_at) if time]
    owner = users.get(key.user_id) if key.user_id is not None else None
    return messages.PreAuthKey(
        user=user_message(owner) if owner else None,
        id=key.id,
        key=text or masked(KeyKind.AUTH, key.prefix),
        reusable=key.reusable,
        ephemeral=key.ephemeral,
        used=key.used_at is not None,
        expiration=Timestamp.of(min(ends, default=None)),
        created_at=Timestamp.of(key.created_at),
        acl_tags=list(key.tags),
    )


def api_key_message(key: ApiKey) -> messages.ApiKey:
    return messages.ApiKey(
        id=key.id,
        prefix=masked(KeyKind.API, key.prefix),
        expiration=Timestamp.of(key.expires_at),
        created_at=Timestamp.of(key.created_at),
        last_seen=Timestamp.of(key.last_used_at),
    )


def bare_prefix(text: str) -> str:
    """The prefix of an API key as people give it: bare, as lists show it, or the whole key."""
    return text.removeprefix(KeyKind.API.value)[:PREFIX_LENGTH]


def node_message(node: Node, users: Users, keys: Keys, served: Served, now: datetime) -> messages.Node:
    """`last_seen` is always there, as scripts expect: now if online, else when it was last (or joined)."""
    owner = users.get(node.user_id) if node.user_id is not None else None
    return messages.Node(
        id=node.id,
        machine_key=str(node.machine_key),
        node_key=str(node.node_key),
        disco_key=str(node.disco_key),
        ip_addresses=[str(address) for address in (node.ipv4, node.ipv6) if address],
        name=node.hostname,
        user=user_message(owner) if owner else TAGGED_DEVICES if node.is_tagged else None,
        last_seen=Timestamp.of(now if node.online else node.last_seen or node.created_at),
        expiry=Timestamp.of(node.expires_at),
        pre_auth_key=_key_of(node, users, keys),
        created_at=Timestamp.of(node.created_at),
        register_method=METHODS[node.register_method],
        given_name=node.name,
        online=node.online,
        approved_routes=list(node.approved_routes),
        available_routes=[str(route) for route in node.hostinfo.routable_ips or ()],
        subnet_routes=list(served.get(node.id, ())),
        tags=list(node.tags),
    )


def _key_of(node: Node, users: Users, keys: Keys) -> messages.PreAuthKey | None:
    """That a node is ephemeral is said by its key, also when the key is gone."""
    if node.auth_key_id is not None and (key := keys.get(node.auth_key_id)):
        return auth_key_message(key, users)
    return messages.PreAuthKey(ephemeral=True) if node.ephemeral else None


def policy_message(version: PolicyVersion | None, text: str = "", *, is_new: bool = True) -> messages.Policy:
    """None: there never was one."""
    if version is None:
        return messages.Policy(unchanged=not is_new)
    return messages.Policy(
        policy=text,
        updated_at=Timestamp.of(version.at),
        version=version.number,
        etag=version.etag,
        size=version.size,
        author=f"{version.author.kind} {version.author.name}",
        comment=version.comment,
        rolled_back_from=version.rolled_back_from or 0,
        unchanged=not is_new,
    )


def warnings(strangers: Sequence[Stranger]) -> list[str]:
    """A line each; how many are left out is the last one."""
    told = list(map(str, strangers[:MOST_WARNINGS]))
    left = len(strangers) - len(told)
    return [*told, f"and {left} more that nobody here is"] if left else told


def verdict_message(verdict: Verdict) -> messages.PolicyVerdict:
    return messages.PolicyVerdict(
        source=verdict.source,
        destination=verdict.destination,
        allowed=verdict.is_allowed,
        missing=verdict.missing or "",
        detail=verdict.detail,
        reasons=[
            messages.PolicyReason(
                text=reason.text,
                line=reason.position.line if reason.position else 0,
                column=reason.position.column if reason.position else 0,
            )
            for reason in verdict.reasons
        ],
    )


def tailnet_message(tailnet: Tailnet) -> messages.Tailnet:
    settings = tailnet.settings
    return messages.Tailnet(
        id=tailnet.id,
        name=tailnet.name,
        cluster_id=tailnet.cluster_id,
        version=tailnet.version,
        created_at=Timestamp.of(tailnet.created_at),
        display_name=settings.display_name,
        base_domain=settings.base_domain,
        prefixes=[str(prefix) for prefix in (settings.prefix_v4, settings.prefix_v6) if prefix],
        domains=list(settings.domains),
    )


def head_message(head: TailnetHead) -> messages.Tailnet:
    return messages.Tailnet(
        id=head.id,
        name=head.name,
        cluster_id=head.cluster_id,
        version=head.version,
        created_at=Timestamp.of(head.created_at),
    )


def noise_key_message(key: NoiseKey) -> messages.NoiseKey:
    return messages.NoiseKey(
        key=str(key.public_key), state=key.state, created_at=Timestamp.of(key.created_at)
    )


def cluster_message(cluster: Cluster) -> messages.Cluster:
    return messages.Cluster(
        cluster_id=cluster.id,
        name=cluster.name,
        url=cluster.url,
        region=cluster.region,
        capacity=cluster.capacity,
        state=cluster.state,
        created_at=Timestamp.of(cluster.created_at),
    )
