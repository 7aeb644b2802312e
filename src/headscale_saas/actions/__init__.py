"""The only writers: what can happen to a tailnet, as verbs.

A verb is `async def verb(db, actor, tailnet, …) -> value`. It writes in one transaction of that tailnet,
says what it touched, leaves an audit row, and raises `headscale_saas.errors` when it says no.

outcome    what a registration came to, before a door words it
approvals  the port to the tailnet's policy: who may have a tag, which routes need no admin
apart      threads that read and check policies
register   a device asks to be let in: the one state machine of registration
joins      letting a device in: with an auth key, or because a person approved it
places     the addresses and the name a node is given
leaving    a device logs out, or wants its key to expire sooner
repeats    audit rows of what a device can do again and again
misses     auth keys that lead nowhere, for the log
logins     a login that waits for a person: begin, follow up, approve, reject
report     what a connected node says of itself
presence   streams begin and end; online and offline
upkeep     what time alone changes: expiry, ephemeral nodes, things that are swept away
nodes      what an admin does to a node
users, auth_keys, api_keys     the same for their nouns
policies   a tailnet's policy: set it, its versions (unified: their differences)
policy_checks   policies against a tailnet, without writing
stored_policies which of those in force this release does not understand
at_rest    what is checked against a whole tailnet before it is written
settings   what the configuration says of a tailnet
domains    those of its members' e-mail addresses, which the policy may name
tailnets, clusters, noise_keys the same for what stands above a tailnet
"""
