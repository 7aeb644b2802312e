"""The few tables that know all tailnets: narrow, and behind a handle of their own so that they can move out.

tailnets    heads: make, find, list, place, delete
clusters    the units of placement
keys        which tailnet a key belongs to; reservations of keys
logins      logins that wait for a person
processes   who runs, who is dead, who holds a lease
noise_keys  the keys of the service

Functions that take a DirectoryTx see all rows. Those that take a TailnetTx reserve for that tailnet, inside
its own transaction: the primary key turns a collision with another tailnet into a plain Conflict.
"""

from headscale_saas.store.directory.clusters import (
    Cluster,
    ClusterState,
    create_cluster,
    get_cluster,
    list_clusters,
    set_cluster_state,
    update_cluster,
)
from headscale_saas.store.directory.keys import (
    NodeRef,
    forget_resting_keys,
    node_of_key,
    nodes_of_machine,
    release_api_key,
    release_auth_key,
    release_node,
    release_node_key,
    reserve_api_key,
    reserve_auth_key,
    reserve_machine,
    reserve_node_key,
    tailnet_of_api_key,
    tailnet_of_auth_key,
)
from headscale_saas.store.directory.logins import (
    PendingLogin,
    decide_login,
    delete_expired_logins,
    find_login,
    find_logins,
    put_login,
)
from headscale_saas.store.directory.noise_keys import (
    NoiseKey,
    add_noise_key,
    list_noise_keys,
    retire_noise_key,
    revive_noise_key,
    set_noise_key_state,
)
from headscale_saas.store.directory.processes import (
    Process,
    declare_dead,
    forget_dead,
    heartbeat,
    list_processes,
    register_process,
    release_lease,
    sign_off,
    take_lease,
)
from headscale_saas.store.directory.tailnets import (
    STATE_TABLES,
    create_tailnet,
    delete_tailnet,
    list_tailnets,
    move_tailnet,
    tailnet_by_name,
    tailnet_head,
    versions,
)
from headscale_saas.store.tailnets import TailnetHead

__all__ = [
    "STATE_TABLES",
    "Cluster",
    "ClusterState",
    "NodeRef",
    "NoiseKey",
    "PendingLogin",
    "Process",
    "TailnetHead",
    "add_noise_key",
    "create_cluster",
    "create_tailnet",
    "decide_login",
    "declare_dead",
    "delete_expired_logins",
    "delete_tailnet",
    "find_login",
    "find_logins",
    "forget_dead",
    "forget_resting_keys",
    "get_cluster",
    "heartbeat",
    "list_clusters",
    "list_noise_keys",
    "list_processes",
    "list_tailnets",
    "move_tailnet",
    "node_of_key",
    "nodes_of_machine",
    "put_login",
    "register_process",
    "release_api_key",
    "release_auth_key",
    "release_lease",
    "release_node",
    "release_node_key",
    "reserve_api_key",
    "reserve_auth_key",
    "reserve_machine",
    "reserve_node_key",
    "retire_noise_key",
    "revive_noise_key",
    "set_cluster_state",
    "set_noise_key_state",
    "sign_off",
    "tailnet_by_name",
    "tailnet_head",
    "tailnet_of_api_key",
    "tailnet_of_auth_key",
    "take_lease",
    "update_cluster",
    "versions",
]
