"""Finds plugins through entry points: lists them without importing, finds one by name, loads it, checks its contract.

Only this package searches for plugins and imports them. Listing reads package metadata only, so it is fast, and a
broken plugin does not affect it. Every error says what the user typed, where the problem is, and what to do next.
"""

from medssl.discovery.contract import violations
from medssl.discovery.finding import find
from medssl.discovery.loading import load, load_plugin
from medssl.discovery.scanning import Plugin, discover, package_summary, scan_installed

__all__ = ["Plugin", "discover", "find", "load", "load_plugin", "package_summary", "scan_installed", "violations"]
