"""What the operator decided: headscale's config.yaml, environment variables, defaults.

settings    the sections, with type, default and meaning of each setting
root        `Config`, which holds them, and defaults that follow from others
durations   90d, 1h30m       addresses   host:port
tree        all settings by name             rules   what must hold between them
files       what a server reads before it serves: certificate, DERP maps, policy
loader      `load`: find, read, merge, check; every fault told at once
reference   docs/configuration.md, made from all that
"""

from headscale_saas.config.addresses import host_port
from headscale_saas.config.durations import format_duration, parse_duration
from headscale_saas.config.loader import ConfigInvalid, Loaded, load
from headscale_saas.config.root import Config

__all__ = ["Config", "ConfigInvalid", "Loaded", "format_duration", "host_port", "load", "parse_duration"]
