"""Who may reach whom: a tailnet's policy, compiled against one state of it.

compiled    Compiled, the seam: what netmap and the doors ask of a policy
engine      compile_policy, advance: from a policy text to a Compiled; allow_all: where there is no policy
language/   from text to a document

For people and doors
checking    check: may this text be put in force? Runs its tests (policy_tests, ssh_tests; tested)
approvers   Approvers: tags, routes and address pools that need no admin
strangers   strangers_of: logins in it that nobody has
explain     explain: why a connection is allowed, or what is missing (parties, verdicts)
connections, questions   may this address open that port, asked of the clauses one pair at a time
printed, ssh_printed   what a node is told as the real service writes it

How it is compiled
program     a document, ready for any state: clauses, rules made of them, what each selector means
atoms       selectors as bits, so that a mask says which contain a node (resolving, prefixes, spans)
members     the masks of all nodes of a state; classes: nodes that nothing tells apart
resolution  a program at one state: implements Compiled; steps: from one state to the next
ssh, attributes, postures   the sections of that name (ssh_plans, ssh_policies, ssh_sources)
The other modules are parts of these, and say of which.
"""

from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.checking import FailedTests, check
from headscale_saas.policy.chunks import changed_chunks
from headscale_saas.policy.compiled import Audience, Compiled, Filters
from headscale_saas.policy.engine import advance, compile_policy, compile_whole
from headscale_saas.policy.explain import explain

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
