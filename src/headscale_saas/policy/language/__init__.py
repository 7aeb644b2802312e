"""From the text of a policy file to what it says: names are checked here, not looked up in a tailnet.

document   Document and its parts: the sections of a policy, as frozen values
selectors  Selector: one word that names nodes or addresses
"""

from headscale_saas.policy.language.document import Document
from headscale_saas.policy.language.selectors import Kind, Selector

__all__ = ["Document", "Kind", "Selector"]
