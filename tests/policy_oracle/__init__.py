"""What a policy means, told a second time: naively, pair by pair, from the specification of the language.

Slow and plain on purpose, and it imports nothing of the policy engine: where the two differ, one is wrong.

ranges     sets of addresses as lists of ranges
world      a policy as plain JSON and the devices it is applied to; who serves which route
selectors  what a word of the policy stands for in a world
postures   whether a device fits
rules      from grants and ACLs to the rules that one device is about
reach      who sees whom, with which routes; what may come in where; who has which capabilities
ssh        rules for Tailscale SSH
grants     attributes, tags and routes that need no admin
client     what clients do with a packet filter and an SSH policy as they are sent
"""

from tests.policy_oracle.world import Device, World

__all__ = ["Device", "World"]
