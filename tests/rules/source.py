"""The source as syntax trees, read once. Rules look at what is written, not at what runs."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "headscale_saas"
SOURCE = ROOT / "src" / PACKAGE


@dataclass(frozen=True)
class Module:
    path: Path

    @property
    def name(self) -> str:
        """Below the package: `store.nodes`; a package's `__init__` has the package's name."""
        parts = self.path.relative_to(SOURCE).with_suffix("").parts
        return ".".join(part for part in parts if part != "__init__")

    @property
    def room(self) -> str:
        """The package or top-level module it belongs to; "" for the whole's `__init__`."""
        return self.name.split(".")[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """`(line, absolute name)` of all imports, those inside functions and for types only as well."""
        return list(self._imports())

    def _imports(self) -> Iterator[tuple[int, str]]:
        package = self.name.split(".") if self.path.name == "__init__.py" else self.name.split(".")[:-1]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = package[: len(package) - node.level + 1] if node.level else []
                root = [PACKAGE, *start] if node.level else []
                source = ".".join([*root, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)

    def at(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT)}:{line}"


MODULES = sorted((Module(path) for path in SOURCE.rglob("*.py")), key=lambda module: module.name)


def tracked_files() -> list[Path]:
    """What the repository holds; in an unpacked archive, nothing."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False, timeout=60
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
