"""docs/configuration.md lists every setting, and no two settings share a variable."""

from pathlib import Path

import pytest

from headscale_saas.config.reference import meaning, reference
from headscale_saas.config.tree import SETTINGS, Setting

DOCUMENT = Path(__file__).parents[3] / "docs/configuration.md"


def test_the_reference_is_what_the_settings_say() -> None:
    assert DOCUMENT.read_text() == reference(), "run `make docs`"


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_is_listed_with_its_meaning(setting: Setting) -> None:
    assert f"| `{setting.path}` |" in reference()
    assert meaning(setting) != "—"


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert len({setting.environment for setting in SETTINGS.values()}) == len(SETTINGS)
