"""Who may reach whom: a tailnet's policy, compiled against one state of it.

compiled   Compiled, the seam: what netmap and the doors ask of a policy
allow_all  the policy of a tailnet that has none
engine     compile_policy, advance: from a policy text to a Compiled
"""

from headscale_saas.policy.compiled import Audience, Compiled, Filters
from headscale_saas.policy.engine import advance, compile_policy

__all__ = ["Audience", "Compiled", "Filters", "advance", "compile_policy"]
