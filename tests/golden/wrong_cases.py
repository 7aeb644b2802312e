"""Recordings that cannot be right, by name, with the reason. Named by the people who made the collection."""

VERDICT = {
    "sshtest-malformed-dst-bare-ipv6": (
        "the lab's IPv6 addresses were rewritten after the recording, so the literal matched no node then"
    ),
}
"""The whole recording: such a case is run, and may fail."""

ERROR = {
    "nodeattrs-error-e3-autogroup-self": "an internal error of the recorded service: only the refusal counts",
}
"""The text of the refusal."""

DOMAIN = {
    "ssh-e1": "the domain was replaced in the policy but not in the recorded text",
}
"""Which domain the text of the refusal names."""
