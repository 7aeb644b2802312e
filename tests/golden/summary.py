"""The last word of a run with golden cases: how many passed."""

from collections.abc import Iterable
from typing import Any

from golden.cases import folder

FILE = "golden/test_golden.py"
CASE = FILE + "::test_case["
ENDINGS = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Imported by the outermost conftest: the process that controls xdist's workers knows only that one."""
    ended = {ending: _reported(terminalreporter, ending) for ending in ENDINGS}
    cases = {name for names in ended.values() for name in names if CASE in name}
    passed = (ended["passed"] | ended["xpassed"]) - ended["failed"] - ended["error"]
    if cases:
        terminalreporter.write_line(f"golden: {len(cases & passed)} of {len(cases)} passed")
    elif ended["skipped"]:
        terminalreporter.write_line(f"golden: no cases in {folder()} (GOLDEN_DIR names another folder)")


def _reported(terminalreporter: Any, ending: str) -> set[str]:
    reports: Iterable[Any] = terminalreporter.stats.get(ending, ())
    names = (getattr(report, "nodeid", "") for report in reports)
    return {name for name in names if FILE in name}
