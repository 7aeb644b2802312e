"""Simulated Tailscale clients: for tests of whole flows, for load, and as an oracle of what clients are told.

It shares only `wire` and `tailcfg` with the server; HTTP/2, merging and the rest are its own.

client      one client: join, report, get lost, come back; the API of flow tests
identity    its keys, and the marks of its tailnet in all it says
inbox       what it was told; who waits for what
netmap      how a client merges the messages of its poll
oracle      nothing told to one tailnet carries the mark of another
poller      keeps the long poll open, with the official back-off (`backoff`)
poll        one long poll: frames, watchdog
sayings     what it says of itself in its requests
calls       its requests and their `replies`
connection  one Noise connection: `upgrade`, handshake, `http2` on `frames`
site        the server's address and key
crowd       many clients: phases, measured
report      what a crowd found, for people and programs
command     `headscale-saas swarm`
"""
