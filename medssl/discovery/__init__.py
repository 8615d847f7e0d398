"""From entry points to plugins: lists them without importing, finds one by name, loads it, checks its contract.

This is the only place that looks for plugins and the only one that imports them. Listing reads package metadata and
nothing else, so it is quick, and works beside a plugin that is broken. Every error names what the user typed, where the
trouble is, and what to do next.
"""

from medssl.discovery.contract import violations
from medssl.discovery.finding import find
from medssl.discovery.loading import load, load_plugin
from medssl.discovery.scanning import Plugin, discover, package_summary, scan_installed

__all__ = [
    "Plugin",
    "discover",
    "find",
    "load",
    "load_plugin",
    "package_summary",
    "scan_installed",
    "violations",
]
