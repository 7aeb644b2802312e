"""What goes wrong with one worker is not the end of the others."""

import errno
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from tests.waiting import until

from headscale_saas import supervisor


async def test_a_worker_that_cannot_be_started_again_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals, started, popen = 2, 0, subprocess.Popen

    def scarce(_command: object, **how: Any) -> subprocess.Popen[bytes]:
        """A worker that ends at once, in a system that has no process to spare for a while."""
        nonlocal refusals, started
        if started and refusals:
            refusals -= 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started += 1
        return popen([sys.executable, "-c", "import sys; sys.stdin.read()"], **how)

    monkeypatch.setattr(supervisor, "FIRST_RESTART_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "LAST_RESTART_SECONDS", 0.02)
    monkeypatch.setattr(subprocess, "Popen", scarce)
    with socket.socket() as listener:
        worker = supervisor.Worker(0, listener, None, "postgresql://nobody@nowhere.example/none")
        worker.start()

        def is_started_again() -> bool:
            worker.look()
            return started == 2

        await until(is_started_again)
        assert refusals == 0
        worker.end()
        worker.wait(0.0)
