"""How the source looks: sizes, names, maps, and what must be written nowhere."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from rules.layers import PROGRAMS
from rules.source import MODULES, ROOT, Module, tracked_files

MOST_LINES = 600
EMPTY_NAMES = {"util", "utils", "common", "base", "manager", "service", "helper", "helpers", "misc"}
EMPTY_ENDINGS = ("Manager", "Helper", "Helpers", "Util", "Utils")

# Written in two halves, so that this file may itself be looked at.
REGISTRIES = [
    first + "." + second
    for first, second in (
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
        ("proxy.golang", "org"), ("sum.golang", "org"), ("crates", "io"), ("rubygems", "org"),
        ("deb.debian", "org"), ("security.debian", "org"), ("archive.ubuntu", "com"),
    )
]  # fmt: skip
PLACE = re.compile(r"(?<![\w.~}])/(?:home/\w+|Users/\w+|work)/\w")

SECRET = re.compile(r"(^|_)(secret|password|signature|hmac|bearer|verifier|csrf|api_key)s?$", re.I)
WALL_CLOCK = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
}
MAY_ASK_TIME = {
    "clock": "it is the clock",
    "transport.edge": "the Date header of HTTP answers",
    "actions.logins": "when a login began; only the one who waits sees it",
    "actions.register": "whether a wish lies in the past; the lane decides by the database's time",
}
"""Module and reason."""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name or "headscale_saas")
def test_no_module_is_long(module: Module) -> None:
    assert len(module.text.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name or "headscale_saas")
def test_every_module_begins_with_what_it_is_for(module: Module) -> None:
    if module.text.strip():
        assert ast.get_docstring(module.tree), f"{module.path} has no docstring"


def test_every_package_has_a_map() -> None:
    packages = {module.path.parent for module in MODULES}
    mapped = {
        module.path.parent for module in MODULES if module.path.name == "__init__.py" and module.text.strip()
    }
    ours = {path for path in packages if "versions" not in path.parts}
    assert ours <= mapped, ours - mapped


def test_names_say_what_a_thing_is() -> None:
    wrong = [module.name for module in MODULES if EMPTY_NAMES & set(re.split(r"[._]", module.name))]
    wrong += [
        module.at(node.lineno) + f" class {node.name}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and (node.name.endswith(EMPTY_ENDINGS) or node.name.startswith("Base"))
    ]
    assert not wrong, "\n".join(wrong)


def written_in_files(words: list[str]) -> Iterator[str]:
    for path in tracked_files():
        text = path.read_bytes().decode(errors="replace")
        yield from (f"{path.relative_to(ROOT)}: {word}" for word in words if word in text)


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the machine's business: mirrors and proxies must work unchanged."""
    wrong = list(written_in_files(REGISTRIES))
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_place_of_the_machine_it_was_written_on() -> None:
    texts = ((path, path.read_bytes().decode(errors="replace")) for path in tracked_files())
    wrong = [f"{path.relative_to(ROOT)}: {found[0]}" for path, text in texts if (found := PLACE.search(text))]
    assert not wrong, "\n".join(wrong)


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


def is_fixed(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Tuple | ast.List) and not node.elts)


def compared_secrets(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = [node.left, *node.comparators]
            if any(SECRET.search(last_name(side)) for side in sides) and not any(map(is_fixed, sides)):
                yield f"{module.at(node.lineno)} compares a secret with == or !=: use hmac.compare_digest"


def test_secrets_are_compared_in_constant_time() -> None:
    wrong = [fault for module in MODULES for fault in compared_secrets(module)]
    assert not wrong, "\n".join(wrong)


def test_only_the_clock_and_the_programs_ask_what_time_it_is() -> None:
    wrong = [
        module.at(node.lineno)
        for module in MODULES
        if module.room not in PROGRAMS and module.name not in MAY_ASK_TIME
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (last_name(node.func.value), node.func.attr) in WALL_CLOCK
    ]
    assert not wrong, "\n".join(wrong)


def test_test_files_have_names_of_their_own() -> None:
    """Test directories are not packages: two files of one name would be one module."""
    names = Counter(path.stem for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, count in names.items() if count > 1]
