"""What a tailnet is: values and decisions, no SQL, no clock, no sockets.

model      Tailnet, User, Node, AuthKey … as frozen values, and the ids
state      TailnetState: all rows of one tailnet at one version; `replace` makes the next one
changes    Touched: which rows a version touched (pointers, never payloads)
rules      whether a device may join, and as which node
names      DNS labels: safe, unique, found with few questions
tags       what a tag looks like
expiry     when a key expires: clients may shorten, never extend
approval   routes as an admin approves them
addresses  the two address ranges of a tailnet and the order of allocation
routes     which node serves which route now
"""
