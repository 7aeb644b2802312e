"""What one node is told about its tailnet. Pure: a function of state, policy, environment and viewer.

view      Environment, ClassView (what like viewers share), View (one viewer)
identity  names of nodes, the users behind them, and the ids reserved for tagged nodes
rows      the wire Node of a peer, and of the viewer itself
dns       DNSConfig from the tailnet's settings
members   members of the message that all, or one, are told; spliced JSON
peers     Fragments, Book: peers as JSON, encoded once and cut into chunks
pieces    messages in pieces that can be compressed once and shared
full      the whole netmap, in pieces
patch     the smallest way to turn a peer into another one, minding what clients lose
telling   how changes of peers are told in one step, and messages, for all classes that are told the same
delta     the difference of two views
session   one stream: what it was sent, what is due

Peers are told in two layers: what all viewers of a class are told is computed once for them, and a viewer
that is itself mentioned in it gets a copy of its own without its own row.
"""
