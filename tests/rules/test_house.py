"""What the documents promise is there: goals of the Makefile, files, programs."""

import os
import re
import subprocess
import tomllib

import pytest

from rules.source import ROOT

DOCUMENTS = [name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md") if (ROOT / name).exists()]
GOALS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
SCRIPTS = [".ci/run", *(f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if path.is_file())]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_goals_a_document_names_exist(name: str) -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", (ROOT / name).read_text()))
    assert named <= GOALS


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_files_a_document_names_exist(name: str) -> None:
    named = re.findall(
        r"`((?:deploy|docs|scripts|tests|src|bench)/[\w./-]*[\w-])/?`", (ROOT / name).read_text()
    )
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_can_be_run_and_read(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    if "bash" in path.read_text().split("\n", 1)[0]:
        subprocess.run(["bash", "-n", path], check=True, timeout=30)


def test_every_goal_says_what_it_does() -> None:
    shown = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory", "help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert {line.split()[1] for line in shown.splitlines()} == GOALS


def test_what_is_pinned_is_what_is_needed() -> None:
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    pinned = {plain(line.split("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {plain(re.split(r"[\[>=<]", one)[0]) for one in needed} <= pinned


def test_only_one_place_looks_again_and_again() -> None:
    """Other tests wait with it, or for what tells that it happened (the linter finds the loops)."""
    others = (
        path for path in (ROOT / "tests").rglob("*.py") if path.name not in ("waiting.py", "test_house.py")
    )
    assert not [path for path in others if "ASYNC110" in path.read_text()]
