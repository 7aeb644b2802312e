"""What a tailnet is: values and decisions, no SQL, no clock, no sockets.

model      Tailnet, User, Node, AuthKey … as frozen values, and the ids
state      TailnetState: all rows of one tailnet at one version; `replace` makes the next one
changes    Touched: which rows a version touched (pointers, never payloads)
rules      decisions as functions: admit a node, choose a name, expiry, tags, limits
addresses  the two address ranges of a tailnet and the order of allocation
routes     which node serves which route now
"""
