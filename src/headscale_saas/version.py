"""Which version this is, and which headscale it stands in for."""

from importlib.metadata import version

OWN = version("headscale-saas")

# Web interfaces read /version and choose their requests by it: headscale's number, then ours.
COMPATIBLE = f"v0.29.2+saas.{OWN}"
