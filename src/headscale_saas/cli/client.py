"""What the commands ask of a server, whatever carries it.

`AdminClient` and `PolicyClient` are headscale's service, one method for each call, and what we have besides;
they act on one tailnet. `ServiceClient` is what stands above tailnets. `DirectClient` (direct.py) implements
all over the database; a remote one answers with the same messages. All raise `headscale_saas.errors`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from headscale_saas.cli.messages import (
    ApiKey,
    Cluster,
    Health,
    Node,
    NoiseKey,
    Policy,
    PolicyChecked,
    PolicyTested,
    PolicyVerdict,
    PreAuthKey,
    Tailnet,
    User,
)
from headscale_saas.tailcfg.keys import PrivateKey


class AdminClient(Protocol):
    """Users are found by `name`, then `email`, then `user` (the id); a zero value is no condition."""

    async def health(self) -> Health: ...

    async def create_user(
        self, name: str, *, display_name: str = "", email: str = "", picture_url: str = ""
    ) -> User: ...

    async def list_users(self, *, user: int = 0, name: str = "", email: str = "") -> list[User]: ...

    async def rename_user(self, user: int, new_name: str) -> User: ...

    async def delete_user(self, user: int) -> None: ...

    async def create_auth_key(
        self, *, user: int, reusable: bool, ephemeral: bool, expiration: datetime | None, tags: Sequence[str]
    ) -> PreAuthKey:
        """The answer holds the whole key; `user` 0 means a key for tagged nodes that belongs to nobody."""
        ...

    async def list_auth_keys(self) -> list[PreAuthKey]: ...

    async def expire_auth_key(self, key: int) -> None: ...

    async def delete_auth_key(self, key: int) -> None: ...

    async def list_nodes(self, *, user: str = "") -> list[Node]:
        """All, or those of the user with this name."""
        ...

    async def get_node(self, node: int) -> Node: ...

    async def rename_node(self, node: int, new_name: str) -> Node: ...

    async def expire_node(self, node: int, *, expiry: datetime | None = None, never: bool = False) -> Node:
        """Now, at a time, or never."""
        ...

    async def delete_node(self, node: int) -> None: ...

    async def set_tags(self, node: int, tags: Sequence[str]) -> Node: ...

    async def set_approved_routes(self, node: int, routes: Sequence[str]) -> Node: ...

    async def backfill_addresses(self) -> list[str]:
        """Says what changed."""
        ...

    async def approve_login(self, user: str, auth_id: str) -> Node:
        """`user` is a name."""
        ...

    async def reject_login(self, auth_id: str) -> None: ...

    async def create_api_key(self, expiration: datetime | None) -> str:
        """The whole key."""
        ...

    async def list_api_keys(self) -> list[ApiKey]: ...

    async def expire_api_key(self, *, key: int = 0, prefix: str = "") -> None: ...

    async def delete_api_key(self, *, key: int = 0, prefix: str = "") -> None: ...


class PolicyClient(Protocol):
    """The policy of one tailnet. A version of 0 is the one in force."""

    async def get_policy(self, version: int = 0) -> Policy:
        """Raises NotFound where there is none."""
        ...

    async def set_policy(
        self, text: str, *, etag: str = "", comment: str = "", bypass_file: bool = False
    ) -> Policy:
        """`etag`: only if that one is in force now. `bypass_file`: also if that one is from a file."""
        ...

    async def rollback_policy(
        self, version: int, *, comment: str = "", bypass_file: bool = False
    ) -> Policy: ...

    async def check_policy(self, text: str) -> PolicyChecked:
        """Raises what is wrong with it."""
        ...

    async def test_policy(self, text: str | None = None) -> PolicyTested:
        """Runs the tests of a text, or of the policy in force."""
        ...

    async def explain_policy(
        self, source: str, destination: str, port: int, *, protocol: str = "", text: str | None = None
    ) -> list[PolicyVerdict]:
        """What the policy in force, or a text, says of connections between two ends."""
        ...

    async def policy_history(self) -> list[Policy]:
        """The newest first, without texts."""
        ...

    async def diff_policy(self, before: int, after: int | str) -> str:
        """`after` is a version or a text. "" if they are the same."""
        ...


class ServiceClient(Protocol):
    """Tailnets, clusters and the service's Noise keys."""

    async def create_tailnet(
        self, name: str, *, cluster: int = 0, display_name: str = "", base_domain: str = ""
    ) -> Tailnet:
        """What is not given comes from the configuration."""
        ...

    async def list_tailnets(self) -> list[Tailnet]: ...

    async def show_tailnet(self, name: str) -> Tailnet: ...

    async def update_tailnet(self, name: str, *, domains: Sequence[str] | None) -> Tailnet:
        """None stays as it is."""
        ...

    async def delete_tailnet(self, name: str) -> None: ...

    async def create_cluster(
        self, cluster: int, name: str, *, url: str, region: str, capacity: int
    ) -> Cluster: ...

    async def update_cluster(
        self,
        cluster: int,
        *,
        name: str | None,
        url: str | None,
        region: str | None,
        capacity: int | None,
        state: str | None,
    ) -> Cluster:
        """None stays as it is."""
        ...

    async def list_clusters(self) -> list[Cluster]: ...

    async def list_noise_keys(self) -> list[NoiseKey]: ...

    async def add_noise_key(self, private: PrivateKey | None) -> NoiseKey:
        """None: a new one is made."""
        ...

    async def serve_noise_key(self, key: str) -> NoiseKey:
        """`key` is a public key, or how it begins."""
        ...

    async def noise_key_to_retire(self, key: str) -> NoiseKey:
        """The one that `retire_noise_key` would retire; raises what that would."""
        ...

    async def retire_noise_key(self, key: str) -> NoiseKey: ...


class Client(AdminClient, PolicyClient, ServiceClient, Protocol):
    """All of them."""
