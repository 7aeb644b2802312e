"""The files that a server reads before it serves."""

from pathlib import Path

import pytest

from headscale_saas.cli import main
from headscale_saas.config import ConfigInvalid, load
from headscale_saas.config.files import demand_files


def faults(home: Path, text: str) -> list[str]:
    file = home / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as refused:
        demand_files(load(file, {}))
    return refused.value.faults


def test_files_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    text = "tls_cert_path: /no/a.crt\ntls_key_path: /no/a.key\nderp: {paths: [/no/derp.yaml, /]}\n"
    assert faults(tmp_path, text) == [
        "tls_cert_path /no/a.crt: no such file.",
        "tls_key_path /no/a.key: no such file.",
        "derp.paths /no/derp.yaml: no such file.",
        "derp.paths /: cannot be read: is a directory.",
    ]


@pytest.mark.parametrize("content", ["hello", "a: [", "regions: {x: {nodes: [{}]}}", "regions: 3", "\x00"])
def test_a_derp_map_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "derp.yaml").write_text(content)
    (fault,) = faults(tmp_path, "derp: {paths: [derp.yaml]}")
    assert fault.startswith(f"derp.paths {tmp_path}/derp.yaml: no DERP map in YAML: ")
    assert "\n" not in fault


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("hello")
    (fault,) = faults(tmp_path, "tls_cert_path: a.pem\ntls_key_path: a.pem")
    assert fault.endswith("a.pem: not a certificate and a private key in PEM.")


@pytest.mark.parametrize("command", ["configtest", "serve"])
def test_both_commands_say_so_in_a_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"state_dir: {tmp_path}/state\ntls_cert_path: /no/a.crt\ntls_key_path: /no/a.key\n")
    assert main([command, "-c", str(config)]) == 1
    said = capsys.readouterr().err
    assert "tls_cert_path /no/a.crt: no such file." in said
    assert "Traceback" not in said
    assert not (tmp_path / "state").exists()
