"""The client that needs no server: it runs the verbs itself, in a transaction on the database."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from headscale_saas import founding, noise_keys
from headscale_saas.actions import api_keys, auth_keys, clusters, logins, nodes, tailnets, users
from headscale_saas.actions import noise_keys as noise_key_actions
from headscale_saas.actions.approvals import policy_of
from headscale_saas.actions.domains import set_domains
from headscale_saas.cli import messages, translate
from headscale_saas.cli.direct_policies import DirectPolicies
from headscale_saas.errors import Invalid, NotFound
from headscale_saas.tailcfg.keys import PrivateKey
from headscale_saas.tailnet.model import ClusterId, KeyId, Node, NodeId, User, UserId
from headscale_saas.tailnet.routes import served_routes


class DirectClient(DirectPolicies):
    """Acts on the tailnet called `tailnet`, which need not exist for what stands above tailnets."""

    async def health(self) -> messages.Health:
        async with self._database.directory():
            return messages.Health(database_connectivity=True)

    # Users

    async def create_user(
        self, name: str, *, display_name: str = "", email: str = "", picture_url: str = ""
    ) -> messages.User:
        return translate.user_message(
            await users.create_user(
                self._database,
                self._actor,
                await self._tailnet(),
                name,
                display_name=display_name,
                email=email,
                picture_url=picture_url,
            )
        )

    async def list_users(self, *, user: int = 0, name: str = "", email: str = "") -> list[messages.User]:
        found = await users.list_users(
            self._database,
            await self._tailnet(),
            user=UserId(user) if user else None,
            name=name or None,
            email=email or None,
        )
        return [translate.user_message(one) for one in found]

    async def rename_user(self, user: int, new_name: str) -> messages.User:
        tailnet = await self._tailnet()
        renamed = await users.rename_user(self._database, self._actor, tailnet, UserId(user), new_name)
        return translate.user_message(renamed)

    async def delete_user(self, user: int) -> None:
        await users.destroy_user(self._database, self._actor, await self._tailnet(), UserId(user))

    async def _user_named(self, name: str) -> User:
        found = await users.list_users(self._database, await self._tailnet(), name=name)
        if not found:
            raise NotFound(f'looking up user: user not found: "{name}"')
        return found[0]

    async def _users_by_id(self) -> dict[UserId, User]:
        return {user.id: user for user in await users.list_users(self._database, await self._tailnet())}

    # Auth keys

    async def create_auth_key(
        self, *, user: int, reusable: bool, ephemeral: bool, expiration: datetime | None, tags: Sequence[str]
    ) -> messages.PreAuthKey:
        made = await auth_keys.create_auth_key(
            self._database,
            self._actor,
            await self._tailnet(),
            user=UserId(user) if user else None,
            tags=tags,
            reusable=reusable,
            ephemeral=ephemeral,
            expires_at=expiration,
        )
        return translate.auth_key_message(made.key, await self._users_by_id(), made.text)

    async def list_auth_keys(self) -> list[messages.PreAuthKey]:
        found = await auth_keys.list_auth_keys(self._database, await self._tailnet())
        owners = await self._users_by_id()
        return [translate.auth_key_message(key, owners) for key in found]

    async def expire_auth_key(self, key: int) -> None:
        await auth_keys.expire_auth_key(self._database, self._actor, await self._tailnet(), KeyId(key))

    async def delete_auth_key(self, key: int) -> None:
        await auth_keys.delete_auth_key(self._database, self._actor, await self._tailnet(), KeyId(key))

    # Nodes

    async def _messages(self, wanted: Callable[[Node], bool]) -> list[messages.Node]:
        """Which routes a node serves depends on all nodes, so all are read."""
        tailnet = await self._tailnet()
        rows = await nodes.list_nodes(self._database, tailnet)
        owners = await self._users_by_id()
        keys = {key.id: key for key in await auth_keys.list_auth_keys(self._database, tailnet)}
        served, now = served_routes(rows), self._clock.now()
        return [translate.node_message(node, owners, keys, served, now) for node in rows if wanted(node)]

    async def _message(self, node: Node) -> messages.Node:
        found = await self._messages(lambda row: row.id == node.id)
        if not found:
            raise NotFound("node not found")
        return found[0]

    async def list_nodes(self, *, user: str = "") -> list[messages.Node]:
        if not user:
            return await self._messages(lambda _: True)
        owner = await self._user_named(user)
        return await self._messages(lambda node: node.user_id == owner.id)

    async def get_node(self, node: int) -> messages.Node:
        return await self._message(await nodes.get_node(self._database, await self._tailnet(), NodeId(node)))

    async def rename_node(self, node: int, new_name: str) -> messages.Node:
        tailnet = await self._tailnet()
        return await self._message(
            await nodes.rename_node(self._database, self._actor, tailnet, NodeId(node), new_name)
        )

    async def expire_node(
        self, node: int, *, expiry: datetime | None = None, never: bool = False
    ) -> messages.Node:
        tailnet = await self._tailnet()
        return await self._message(
            await nodes.expire_node(
                self._database, self._actor, tailnet, NodeId(node), at=expiry, never=never
            )
        )

    async def delete_node(self, node: int) -> None:
        await nodes.delete_node(self._database, self._actor, await self._tailnet(), NodeId(node))

    async def set_tags(self, node: int, tags: Sequence[str]) -> messages.Node:
        tailnet = await self._tailnet()
        return await self._message(
            await nodes.tag_node(self._database, policy_of, self._actor, tailnet, NodeId(node), tags)
        )

    async def set_approved_routes(self, node: int, routes: Sequence[str]) -> messages.Node:
        tailnet = await self._tailnet()
        return await self._message(
            await nodes.approve_routes(self._database, self._actor, tailnet, NodeId(node), routes)
        )

    async def backfill_addresses(self) -> list[str]:
        return await nodes.backfill_addresses(self._database, self._actor, await self._tailnet())

    # Logins

    async def approve_login(self, user: str, auth_id: str) -> messages.Node:
        owner = await self._user_named(user)
        tailnet = await self._tailnet()
        node = await logins.approve_login(self._database, policy_of, self._actor, tailnet, owner.id, auth_id)
        self._doorbell.ring_logins()
        return await self._message(node)

    async def reject_login(self, auth_id: str) -> None:
        await logins.reject_login(self._database, self._actor, auth_id)
        self._doorbell.ring_logins()

    # API keys

    async def create_api_key(self, expiration: datetime | None) -> str:
        tailnet = await self._tailnet()
        made = await api_keys.create_api_key(self._database, self._actor, tailnet, expires_at=expiration)
        return made.text

    async def list_api_keys(self) -> list[messages.ApiKey]:
        found = await api_keys.list_api_keys(self._database, await self._tailnet())
        return [translate.api_key_message(key) for key in found]

    async def expire_api_key(self, *, key: int = 0, prefix: str = "") -> None:
        await api_keys.expire_api_key(
            self._database,
            self._actor,
            await self._tailnet(),
            key=KeyId(key) if key else None,
            prefix=translate.bare_prefix(prefix) or None,
        )

    async def delete_api_key(self, *, key: int = 0, prefix: str = "") -> None:
        await api_keys.delete_api_key(
            self._database,
            self._actor,
            await self._tailnet(),
            key=KeyId(key) if key else None,
            prefix=translate.bare_prefix(prefix) or None,
        )

    # Tailnets and clusters

    async def create_tailnet(
        self, name: str, *, cluster: int = 0, display_name: str = "", base_domain: str = ""
    ) -> messages.Tailnet:
        settings = founding.settings_of_new_tailnet(self._config, name)
        settings = msgspec.structs.replace(
            settings, display_name=display_name, base_domain=base_domain or settings.base_domain
        )
        place = ClusterId(cluster or self._config.cluster_id)
        made = await tailnets.create_tailnet(self._database, self._actor, name, place, settings)
        return translate.tailnet_message(made)

    async def list_tailnets(self) -> list[messages.Tailnet]:
        return [translate.head_message(head) for head in await tailnets.list_tailnets(self._database)]

    async def show_tailnet(self, name: str) -> messages.Tailnet:
        return translate.tailnet_message(await tailnets.show_tailnet(self._database, name))

    async def update_tailnet(self, name: str, *, domains: Sequence[str] | None) -> messages.Tailnet:
        found = await tailnets.show_tailnet(self._database, name)
        if domains is None:
            raise Invalid("nothing to change: --domains says what")
        await set_domains(self._database, self._actor, found.id, domains)
        return await self.show_tailnet(name)

    async def delete_tailnet(self, name: str) -> None:
        default = self._config.tailnet.name
        await tailnets.delete_tailnet(self._database, self._actor, name, default=default)

    async def create_cluster(
        self, cluster: int, name: str, *, url: str, region: str, capacity: int
    ) -> messages.Cluster:
        return translate.cluster_message(
            await clusters.create_cluster(
                self._database,
                self._actor,
                ClusterId(cluster),
                name,
                url=url,
                region=region,
                capacity=capacity,
            )
        )

    async def update_cluster(
        self,
        cluster: int,
        *,
        name: str | None,
        url: str | None,
        region: str | None,
        capacity: int | None,
        state: str | None,
    ) -> messages.Cluster:
        return translate.cluster_message(
            await clusters.update_cluster(
                self._database,
                self._actor,
                ClusterId(cluster),
                name=name,
                url=url,
                region=region,
                capacity=capacity,
                state=state,
            )
        )

    async def list_clusters(self) -> list[messages.Cluster]:
        return [translate.cluster_message(one) for one in await clusters.list_clusters(self._database)]

    # Noise keys

    async def list_noise_keys(self) -> list[messages.NoiseKey]:
        found = await noise_key_actions.list_noise_keys(self._database)
        return [translate.noise_key_message(one) for one in found]

    async def add_noise_key(self, private: PrivateKey | None) -> messages.NoiseKey:
        added = await noise_keys.add(self._database, self._config.secrets.key_path, private)
        return translate.noise_key_message(added)

    async def serve_noise_key(self, key: str) -> messages.NoiseKey:
        return translate.noise_key_message(await noise_key_actions.serve_noise_key(self._database, key))

    async def noise_key_to_retire(self, key: str) -> messages.NoiseKey:
        return translate.noise_key_message(await noise_key_actions.noise_key_to_retire(self._database, key))

    async def retire_noise_key(self, key: str) -> messages.NoiseKey:
        return translate.noise_key_message(await noise_key_actions.retire_noise_key(self._database, key))
