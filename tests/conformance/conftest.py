"""What one check says of a plugin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from medssl.conformance import checks_for
from medssl.conformance.running import Subject, name_of, results_of


@pytest.fixture
def problem() -> Callable[..., str | None]:
    """Run one check, by its name in words; return what it found wrong."""

    def find(kind: str, plugin: type[Any], name: str, **what: Any) -> str | None:
        (check,) = (check for check in checks_for(kind, plugin) if name_of(check) == name)
        (result,) = results_of([check], Subject(plugin, what.pop("config", None) or plugin.Config(), **what))
        assert result.not_seen is None
        return result.problem

    return find
