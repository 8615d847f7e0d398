"""The colours of a report: told apart by colour-blind readers, readable on white and on black.

Hues follow Okabe & Ito (2008, Color Universal Design), darkened until they stand out from white by 3 to 1 (WCAG 2.2,
1.4.11), with a lighter variant for dark pages. No figure relies on colour alone: each series has its own mark too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["ROLES", "SERIES", "Style", "class_colours", "css_variables", "styles"]

# name of the CSS variable -> (on white, on black); figures are drawn with the first and carry the name in the page
ROLES: Mapping[str, tuple[str, str]] = {
    "ink": ("#1b1f24", "#e6e9ed"),
    "soft": ("#5b6470", "#9aa4b0"),
    "line": ("#d8dde3", "#333b45"),
    "paper": ("#fefefe", "#14181d"),
    "c0": ("#0072b2", "#56b4e9"),  # blue
    "c1": ("#c85200", "#ff914d"),  # vermilion
    "c2": ("#007a5a", "#3ccb9e"),  # green
    "c3": ("#a33f7d", "#e79ac8"),  # purple
    "c4": ("#8a6a00", "#e3b93c"),  # ochre
    "c5": ("#3d4fa8", "#a9b4ff"),  # indigo
    "b0": ("#6a737e", "#98a2ae"),  # baselines: greys
    "b1": ("#3f464e", "#c9d0d8"),
}
SERIES = ("c0", "c1", "c2", "c3", "c4", "c5")
_BASELINES = ("b0", "b1")
_BROKEN = ("--", ":", "-.")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "*")  # of matplotlib


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a method, or a variant of it, is drawn everywhere.

    Attributes:
        role: Name in :data:`ROLES`.
        mark: A marker of matplotlib.
        line: A line style of matplotlib; those of baselines are broken.
    """

    role: str
    mark: str
    line: str

    @property
    def colour(self) -> str:
        """As drawn."""
        return ROLES[self.role][0]


def styles(variants: Iterable[tuple[str, bool]]) -> dict[str, Style]:
    """Give every variant of a method a style of its own, in the order of its first appearance.

    Args:
        variants: Names, and whether each is a baseline.
    """
    found: dict[str, Style] = {}
    for name, baseline in dict(variants).items():
        roles = _BASELINES if baseline else SERIES
        place = sum((style.line != "-") == baseline for style in found.values())
        line = _BROKEN[place % len(_BROKEN)] if baseline else "-"
        found[name] = Style(role=roles[place % len(roles)], mark=_MARKS[len(found) % len(_MARKS)], line=line)
    return found


def class_colours(count: int) -> list[str]:
    """Return a role for each of ``count`` classes."""
    return [SERIES[i % len(SERIES)] for i in range(count)]


def css_variables(*, dark: bool) -> str:
    """Return the declarations of every role for a style sheet."""
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in ROLES.items())
