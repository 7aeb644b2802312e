"""Who may reach whom: a tailnet's policy, compiled against one state of it.

compiled    Compiled, the seam: what netmap and the doors ask of a policy
engine      compile_policy, advance: from a policy text to a Compiled; allow_all: where there is no policy
language/   from text to a document

For people and doors
checking    check: may this text be put in force? (budget, floods: does it ask for too much)
testing/    a policy's own tests
answers/    may this one reach that one, and why
approvers   Approvers: tags, routes and address pools that need no admin
strangers   logins in a policy that nobody has
printed     a node's packet filter as the real service writes it

How it is compiled
program     a document, ready for any state: its clauses (clauses), rules made of them (rules), and which
            rules a kind of node is a source or a destination of (reach)
atoms       selectors as bits, so that a mask says which contain a node (resolving, prefixes, spans)
members     the masks of all nodes of a state, in buckets (buckets)
classes     kinds of nodes that nothing tells apart; who sees whom
routing     which routes are shown to whom
filtering   what may come in at a class: its chunks (chunks), of sources (sources) and destinations
            (destinations, place); for how many nodes there is room (fitting)
ssh/, attributes, postures   the sections of that name
resolution  all of this at one state: implements Compiled; from one state to the next (steps)
"""

from headscale_saas.policy.answers.explain import explain
from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.checking import FailedTests, check
from headscale_saas.policy.chunks import changed_chunks
from headscale_saas.policy.compiled import Audience, Compiled, Filters
from headscale_saas.policy.engine import advance, compile_policy, compile_whole

__all__ = [
    "Approvers",
    "Audience",
    "Compiled",
    "FailedTests",
    "Filters",
    "advance",
    "changed_chunks",
    "check",
    "compile_policy",
    "compile_whole",
    "explain",
]
