"""What a matching SSH rule makes a node do: let in, or ask the server first."""

import msgspec

from headscale_saas.policy.ssh.rules import CompiledRule
from headscale_saas.policy.ssh.sources import Principals
from headscale_saas.tailcfg.ssh import SSHAction, SSHRecorderFailureAction

ACCEPT = SSHAction(
    accept=True,
    allow_agent_forwarding=True,
    allow_local_port_forwarding=True,
    allow_remote_port_forwarding=True,
)
# The host is never looked up: clients ask over the connection they have to us.
CHECK = SSHAction(
    hold_and_delegate="https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER"
)
RECORDER_PORT = 80
NOT_RECORDED = SSHRecorderFailureAction(
    reject_session_with_message="The session cannot be recorded.",
    terminate_session_with_message="The session can no longer be recorded.",
)


def action_of(rule: CompiledRule, recorders: Principals) -> SSHAction:
    """`recorders` are the nodes that record its sessions, if it says that they are recorded."""
    action = CHECK if rule.is_check else ACCEPT
    if not rule.recorders:
        return action
    return msgspec.structs.replace(
        action,
        recorders=tuple(_endpoint(recorder.node_ip) for recorder in recorders),
        on_recording_failure=NOT_RECORDED if rule.must_record else None,
    )


def _endpoint(address: str) -> str:
    return f"[{address}]:{RECORDER_PORT}" if ":" in address else f"{address}:{RECORDER_PORT}"
