"""Who may reach whom: a tailnet's policy, compiled against one state of it.

compiled   Compiled, the seam: what netmap and the doors ask of a policy
allow_all  the policy of a tailnet that has none
engine     compile_policy, advance: from a policy text to a Compiled
checking   check: may this text be put in force; its tests run (policy_tests, ssh_tests; tested, connections)
approvers  Approvers: tags, routes and address pools that need no admin
explain    explain: why a connection is allowed, or what is missing (verdicts, parties)
ssh        who may log in (ssh_sources); attributes, postures: nodeAttrs, and what devices report
"""

from headscale_saas.policy.approvers import Approvers
from headscale_saas.policy.checking import FailedTests, check
from headscale_saas.policy.chunks import changed_chunks
from headscale_saas.policy.compiled import Audience, Compiled, Filters
from headscale_saas.policy.engine import advance, compile_policy
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
    "explain",
]
