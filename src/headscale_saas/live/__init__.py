"""This process's share of the tailnets: caches and connections, nothing that cannot be rebuilt.

compiling policies, compiled beside the loop
cache     tailnet id -> Snapshot (state, compiled policy, environment): load, catch up, evict
follower  doorbells, attaching clients and the safety poll, all leading to the one catch-up
hub       the map sessions of this process by tailnet; publishes snapshots to them in fair slices
frames    what is encoded and compressed once and shared: chunks of full netmaps, deltas
session   one map stream: what it was sent, and whether it keeps up
presence  tells the database who is connected here
troubles  tailnets that cannot be served, for the log
takeovers ends what a newer stream elsewhere replaced
"""
