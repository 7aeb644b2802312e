"""A worker's full collections hold everything up, so they look only at what is new."""

import subprocess
import sys

SCRIPT = """
import gc
from headscale_saas.worker import _spare_collections
_spare_collections()
at_first = gc.get_freeze_count()
stays = [[number] for number in range(100_000)]
gc.collect()
assert gc.get_freeze_count() - at_first >= 100_000, "later collections pass over them"
assert len(gc.get_objects()) < 10_000
del stays
assert gc.get_freeze_count() - at_first < 10_000, "they go all the same"
"""


def test_what_stayed_is_not_looked_at_again_and_goes_when_nothing_needs_it() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
