"""docs/configuration.md, made from the settings: `python -m headscale_saas.config.reference`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import get_args

from pydantic import SecretStr

from headscale_saas.config.durations import format_duration
from headscale_saas.config.root import Config
from headscale_saas.config.rules import NOT_YET, REMOVED, RENAMED
from headscale_saas.config.tree import SETTINGS, Setting, all_settings, inner_section

HEAD = """\
# Configuration

<!-- Made by `python -m headscale_saas.config.reference`; change src/headscale_saas/config instead. -->

The server needs no configuration to try it. A headscale `config.yaml` works as it is: what has no effect here
is named once in the log, and keys that headscale removed are refused with the name of their successor.

* **File**: `-c FILE`, else `HEADSCALE_CONFIG`, else `config.yaml` in `/etc/headscale`, `~/.headscale` or the
  current directory. YAML or JSON. Relative paths are relative to the file.
* **Environment**: each key is also a variable, `HEADSCALE_` and the key in capitals with `_` for `.`, as in
  `HEADSCALE_DATABASE_POSTGRES_PASS`; it wins over the file. Lists are words between spaces, mappings YAML.
  An empty one is as if not set. `serve` and `configtest` warn of variables that begin with `HEADSCALE_` and
  are none of these.
* **Durations**: `30s`, `1h30m`, `90d`, `1y`.
* *Not yet* marks what is read and checked, and has no effect in this version; the log says so when it is set.
* `headscale configtest` says what is wrong, all of it at once, without starting anything; the files that
  the configuration names are looked at once nothing else is wrong.
"""


def shown_default(setting: Setting) -> str:
    if text := setting.note("shown"):
        return text
    default = setting.field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, timedelta):
        default = format_duration(default)
    if isinstance(default, tuple):
        default = " ".join(default)
    if default in (None, "", {}):
        return "—"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def meaning(setting: Setting) -> str:
    if ignored := setting.note("ignored"):
        return f"*No effect:* {ignored}."
    text = setting.field.description or ""
    choices = [choice for choice in get_args(setting.field.annotation) if isinstance(choice, str) and choice]
    if setting.path.startswith(NOT_YET):
        text = f"{text} *Not yet.*"
    return text or (f"One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else "—")


def table(settings: list[Setting]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "| --- | --- | --- |"
    for setting in settings:
        yield f"| `{setting.path}` | {shown_default(setting)} | {meaning(setting)} |"
    yield ""


def chapters() -> Iterator[str]:
    yield HEAD
    yield "## General\n"
    yield from table([setting for setting in SETTINGS.values() if "." not in setting.path])
    for name, field in Config.model_fields.items():
        if section := inner_section(field):
            yield f"## {name}\n\n{(section.__doc__ or '').strip()}\n"
            yield from table(list(all_settings(section, f"{name}.")))
    yield "## Keys that are gone\n\nA configuration with one of these is refused.\n"
    yield from (f"* `{gone}`: {instead}." for gone, instead in sorted(REMOVED.items()))
    yield ""
    yield from (f"* `{old}` is still read as `{new}`, with a warning." for old, new in RENAMED.items())


def reference() -> str:
    return "\n".join(chapters()) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
