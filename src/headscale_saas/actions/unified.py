"""The difference of two texts as a unified diff, in bounded time whatever the texts are.

E. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), on lines. Where the texts differ in more
than the budgets allow, everything between their common beginning and end is replaced: that is a right diff,
only not a short one. (The standard library's takes cubic time on texts made for it.)
"""

from collections.abc import Iterator, Sequence

MOST_EDITS = 600
MOST_STEPS = 2_000_000
"""Less than a second."""
CONTEXT = 3
NO_NEWLINE = "\n\\ No newline at end of file\n"

Edit = tuple[str, str]
"""One line of the script: " " (in both), "-" (only before) or "+" (only after), and the line with its end."""


def unified(before: str, after: str, before_name: str, after_name: str) -> str:
    """What `diff -u` prints; "" for equal texts."""
    script = list(_script(_lines(before), _lines(after)))
    hunks = "".join(_hunk(script, start, end) for start, end in _spans(script))
    return f"--- {before_name}\n+++ {after_name}\n{hunks}" if hunks else ""


def _lines(text: str) -> list[str]:
    """Only "\\n" ends a line."""
    *whole, rest = text.split("\n")
    return [*(line + "\n" for line in whole), *([rest] if rest else [])]


def _script(a: list[str], b: list[str]) -> Iterator[Edit]:
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    old, new = a[head : len(a) - tail], b[head : len(b) - tail]
    yield from ((" ", line) for line in a[:head])
    yield from _shortest(old, new) or [*(("-", line) for line in old), *(("+", line) for line in new)]
    yield from ((" ", line) for line in a[len(a) - tail :])


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


# ── The shortest script ─────────────────────────────────────────────────────────────────────────────────────

Round = list[int]
"""How far along `a` so many edits lead, on each diagonal they can reach: -edits, -edits + 2, … edits."""


def _shortest(a: list[str], b: list[str]) -> list[Edit] | None:
    """None where the budgets do not suffice."""
    rounds: list[Round] = []
    steps = 0
    for edits in range(min(len(a) + len(b), MOST_EDITS) + 1):
        reached: Round = []
        for place in range(edits + 1):
            diagonal = 2 * place - edits
            start = _one_edit_on(rounds[-1], place) if rounds else 0
            end = start + _common_from(a, b, start, start - diagonal, MOST_STEPS - steps)
            steps += end - start + 1
            reached.append(end)
            if end >= len(a) and end - diagonal >= len(b):
                return _walked_back(a, b, [*rounds, reached], place)
        rounds.append(reached)
        if steps >= MOST_STEPS:
            return None
    return None


def _one_edit_on(before: Round, place: int) -> int:
    return before[place] if _inserts(before, place) else before[place - 1] + 1


def _inserts(before: Round, place: int) -> bool:
    """Whether the last edit on the way there takes a line of `b` (else it drops one of `a`)."""
    if place in (0, len(before)):
        return place == 0
    return before[place - 1] < before[place]


def _common_from(a: list[str], b: list[str], x: int, y: int, most: int) -> int:
    count = 0
    while count <= most and x + count < len(a) and y + count < len(b) and a[x + count] == b[y + count]:
        count += 1
    return count


def _walked_back(a: list[str], b: list[str], rounds: list[Round], place: int) -> list[Edit]:
    script: list[Edit] = []
    x, y = len(a), len(b)
    for before in rounds[-2::-1]:
        start = _one_edit_on(before, place)
        script += ((" ", line) for line in a[start:x][::-1])
        y -= x - start
        x = start
        if _inserts(before, place):
            y -= 1
            script.append(("+", b[y]))
        else:
            x, place = x - 1, place - 1
            script.append(("-", a[x]))
    script += ((" ", line) for line in a[:x][::-1])
    return script[::-1]


# ── Hunks ───────────────────────────────────────────────────────────────────────────────────────────────────


def _spans(script: list[Edit]) -> Iterator[tuple[int, int]]:
    """Where the hunks begin and end: changes with lines around them, those that touch taken together."""
    start = end = -1
    for i, (sign, _) in enumerate(script):
        if sign == " ":
            continue
        if start >= 0 and i - CONTEXT > end:
            yield start, end
            start = -1
        if start < 0:
            start = max(0, i - CONTEXT)
        end = min(len(script), i + 1 + CONTEXT)
    if start >= 0:
        yield start, end


def _hunk(script: list[Edit], start: int, end: int) -> str:
    before, after = (_range(script, start, end, only) for only in "-+")
    lines = (sign + (line if line.endswith("\n") else line + NO_NEWLINE) for sign, line in script[start:end])
    return f"@@ -{before} +{after} @@\n" + "".join(lines)


def _range(script: list[Edit], start: int, end: int, only: str) -> str:
    """`line,count` of one side; a side without lines names the line before."""
    first = sum(sign in (" ", only) for sign, _ in script[:start]) + 1
    count = sum(sign in (" ", only) for sign, _ in script[start:end])
    if count == 1:
        return str(first)
    return f"{first if count else first - 1},{count}"
