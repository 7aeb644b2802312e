"""Measurements, against servers started here and only on this machine. `python -m bench.run` runs them all.

run         what is measured, in which order, and what is printed
server      a server with its own database in a temporary directory, pinned to a core
usage       what its processes spent: CPU seconds, memory; PostgreSQL apart
goload      the official clients' Noise and HTTP/2 as load (workloads W1, W2, W3, W4, W6)
ownload     the same workloads by our own swarm, where the Go program is not to be had
many        2,000 tailnets of 8 clients
neighbours  what a tailnet that misbehaves costs the others; `noise` is that tailnet
policies    policies and tailnets for them: P0 all to all, P1 a company, P2 everyone for himself
compiling   what a policy costs the process that carries it out; policed: W1 to W4 and W7 under a policy
floor       what the machine charges for one small message, with our wire code and without
rows        what is said of a load      table  Markdown
tailnets    many of them, with keys
transport_write  the transport alone
"""
