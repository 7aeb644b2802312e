"""A diff is right for all texts, short for those that people write, quick for those made to be slow."""

import difflib
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscale_saas.actions.unified import unified

texts = st.text(alphabet="ab\n", max_size=40)


def patched(before: str, diff: str) -> str:
    """Applies it as `patch` would, and checks every line it names."""
    old = before.split("\n")
    old = [line + "\n" for line in old[:-1]] + ([old[-1]] if old[-1] else [])
    new: list[str] = []
    at = 0
    lines = [line + "\n" for line in diff.split("\n")[2:-1]]
    for i, line in enumerate(lines):
        if line.startswith("@@"):
            first, _, count = line.split()[1][1:].partition(",")
            start = int(first) - (count != "0")
            new += old[at:start]
            at = start
            continue
        if line.startswith("\\"):
            continue
        ends = i + 1 < len(lines) and lines[i + 1].startswith("\\")
        text = line[1:-1] if ends else line[1:]
        if line[0] in " -":
            assert old[at] == text
            at += 1
        if line[0] in " +":
            new.append(text)
    return "".join(new + old[at:])


@given(texts, texts)
def test_a_diff_leads_from_one_text_to_the_other(before: str, after: str) -> None:
    diff = unified(before, after, "a", "b")
    assert (diff == "") == (before == after)
    assert patched(before, diff) == after


@given(texts, texts)
def test_no_shorter_diff_is_found_by_the_library(before: str, after: str) -> None:
    def changes(diff: list[str]) -> int:
        return sum(line[:1] in ("+", "-") for line in diff[2:])

    before, after = before + "\n", after + "\n"
    theirs = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="")
    assert changes(unified(before, after, "a", "b").split("\n")) <= changes(list(theirs))


def test_it_is_the_form_that_everybody_knows() -> None:
    before = "".join(f"{i}\n" for i in range(1, 21))
    after = before.replace("5\n15\n", "").replace("3\n", "three\n", 1).replace("20\n", "20")
    assert unified(before, after, "version 1", "version 2") == (
        "--- version 1\n+++ version 2\n"
        "@@ -1,6 +1,6 @@\n 1\n 2\n-3\n+three\n 4\n 5\n 6\n"
        "@@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+20\n\\ No newline at end of file\n"
    )
    assert unified("", "a\n", "x", "y") == "--- x\n+++ y\n@@ -0,0 +1 @@\n+a\n"


@pytest.mark.skipif(shutil.which("diff") is None, reason="needs diff")
@pytest.mark.parametrize("changed", [1, 2, 3, 4, 8, 9, 10, 25])
def test_hunks_are_cut_as_diff_cuts_them(changed: int, tmp_path: Path) -> None:
    lines = [f"{i}\n" for i in range(1, 31)]
    before, after = (
        "".join(lines),
        "".join(line for i, line in enumerate(lines, 1) if i not in (changed, changed + 7)),
    )
    (tmp_path / "a").write_text(before)
    (tmp_path / "b").write_text(after)
    said = subprocess.run(
        ["diff", "-u", "--label", "a", "--label", "b", "a", "b"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert unified(before, after, "a", "b") == said.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x\n" * 300_000 + "y", "z\n" + "x\n" * 300_000),
        ("\n".join("ab" * 250_000), "\n".join("ba" * 250_000) + "c"),
        ("".join(f"{i * 7919 % 10007}\n" for i in range(10_000)), "".join(f"{i}\n" for i in range(10_000))),
    ],
    ids=["one line", "two lines", "shuffled"],
)
def test_texts_made_to_take_long_do_not(before: str, after: str) -> None:
    began = time.process_time()
    diff = unified(before, after, "a", "b")
    assert time.process_time() - began < 5
    assert patched(before, diff) == after
