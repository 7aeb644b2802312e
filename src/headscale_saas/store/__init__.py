"""The only SQL. Nothing above this package knows a table.

database       Database: the ways into PostgreSQL, each a transaction with a role and a purpose
transactions   what those ways hand out: TailnetTx, DirectoryTx, FeedTx
lanes          the write lane: one open write transaction per tailnet, shared by those who wait
batch          that transaction: lock, verbs, version, log, audit, commit
pool           connections: bounded, first come first served, dropped together when the server went away
turns          places given in turns, by who asks
newcomers      which tailnets the keys in registrations belong to, asked for many of them at once
constraints    what the database refuses -> what we say (errors.py)
roles          hs_owner, hs_app, hs_feed, hs_directory: made, granted, checked
migrate        brings a database to our schema; `migrations/` holds the steps
directory/     the few tables that know all tailnets: heads, keys, logins, processes, clusters
changelog      a tailnet's state: load it, or catch up from a version
audit          sweeps the audit log by age
feed           doorbells: who moved, without saying what
heartbeat      says that this process lives, from a thread of its own
policy_texts   the policies of all tailnets, for those who come before the schema is ours
nodes, users, tailnets, …   one file per noun: row <-> value, and the queries
"""

from headscale_saas.store.migrate import migrate

__all__ = ["migrate"]
