"""The names a policy file defines, so that no other part of it names anything else."""

import re
from collections.abc import Collection, Mapping

import msgspec

from headscale_saas.policy.language.errors import PolicyError
from headscale_saas.policy.language.quoting import quoted
from headscale_saas.policy.language.recognition import LEGACY_MEMBER
from headscale_saas.policy.language.selectors import MEMBER, Kind, Selector
from headscale_saas.policy.language.values import Value
from headscale_saas.tailnet.model import IPNetwork

_LIKE_A_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Names(msgspec.Struct, kw_only=True):
    """`domains` are those of the tailnet; none = not known, then any will do.

    `member_spelling` is which of the two spellings of `autogroup:member` the file has used so far.
    """

    groups: Collection[str] = ()
    hosts: Mapping[str, IPNetwork] = {}
    ipsets: Collection[str] = ()
    tags: Collection[str] = ()
    postures: Collection[str] = ()
    domains: Collection[str] = ()
    member_spelling: str = ""

    def undefined(self, selector: Selector) -> str | None:
        """What to say if the selector names something the file does not define."""
        shown = quoted(selector.name)
        if selector.kind is Kind.TAG and selector.name not in self.tags:
            return f"tag not found: {shown}"
        if selector.kind is Kind.GROUP and selector.name not in self.groups:
            return f"group not defined in policy: {shown}"
        if selector.kind is Kind.IPSET and selector.name not in self.ipsets:
            return f"ipset not defined in policy: {shown}"
        if selector.kind is Kind.HOST and selector.name not in self.hosts:
            is_name = _LIKE_A_HOST.fullmatch(selector.name)
            return f"host not defined in policy: {shown}" if is_name else f"{shown}: invalid address"
        return None

    def foreign(self, domain: str) -> str | None:
        """What to say of `user:*@<domain>` for a domain that is not the tailnet's. Case counts."""
        if domain in self.domains or (not self.domains and "*" not in domain):
            return None
        reason = "is not associated with this Tailnet and cannot be used in user:*@<domain> expressions"
        return f"{domain[:200]} {reason}"

    def note_spelling(self, value: Value, word: str, selector: Selector) -> None:
        """Refuses a file that writes both `autogroup:member` and its old name."""
        if selector != MEMBER:
            return
        if self.member_spelling not in ("", word):
            raise self._mixed(value)
        self.member_spelling = word

    def _mixed(self, value: Value) -> PolicyError:
        both = f"{quoted(MEMBER.name)} and {quoted(LEGACY_MEMBER)}"
        return value.refused(f"{both} are the same and cannot both be used in one policy")
