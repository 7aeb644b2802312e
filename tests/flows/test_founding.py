"""What `serve` does before and when it serves."""

import io
import sys

import pytest

from headscale_saas import founding
from headscale_saas.config import Config


class Recorder(io.StringIO):
    """Keeps each write apart, as a file without a buffer would."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_the_join_line_is_one_write_with_both_its_line_ends(
    database_dsn: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.model_validate({"state_dir": str(tmp_path), "database": {"url": database_dsn}})
    founded = founding.found(config, database_dsn)
    written = Recorder()
    monkeypatch.setattr(sys, "stdout", written)
    founding.announce(config, founded, join_line=True)
    (line,) = [text for text in written.writes if "tailscale up" in text]
    assert line.startswith("\ntailscale up --login-server=http://127.0.0.1:8080 --auth-key=hskey-auth-")
    assert line.endswith("\n")
