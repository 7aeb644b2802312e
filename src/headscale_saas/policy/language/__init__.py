"""From the text of a policy file to what it says: names are checked here, not looked up in a tailnet.

parse        parse: text to Document
document     Document and its parts: the sections of a policy, as frozen values
selectors    Selector: one word that names nodes or addresses
errors       PolicyError: why a policy is refused, and where

How it is read
hujson       text to values; values, positions: values that know where they stand
shapes       values of the shape a place asks for: members, lists, strings
recognition  which selector a word is; places: which may stand where; names: what the file defines
ports, durations, quoting   words as Go reads and writes them
definitions, ipsets, postures, acls, grants, rules, ssh, node_attrs, approvers, policy_tests, relays
             one section each (or two)
"""

from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.language.parse import parse
from headscale_saas.policy.language.positions import Position
from headscale_saas.policy.language.selectors import Kind, Selector

__all__ = ["Document", "Kind", "PolicyError", "Position", "Selector", "parse"]
