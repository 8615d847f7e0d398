"""The conformance kit as tests of a plugin package: one test per property.

Three lines are enough::

    from medssl.conformance.pytest import contract_tests
    from my_package import MyMethod

    test_contract = contract_tests("method", MyMethod)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from medssl.conformance.kit import checks_for
from medssl.conformance.running import Check, ContractError, NotSeen, Subject, require
from medssl.discovery import violations

__all__ = ["contract_tests"]


def contract_tests(
    kind: str,
    plugin: type[Any],
    *,
    config: Any = None,
    root: Path | None = None,
    files: Callable[[Path], object] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Callable[..., None]:
    """Make a test function that pytest runs once for each check. Give it a name that starts with ``test``.

    Args:
        kind: Name of a kind: ``method``.
        plugin: The class.
        config: Its options; ``None`` for the defaults.
        root: Folder with a dataset's files.
        files: Used instead of ``root``: called with an empty folder to write a few images in the dataset's layout.
        facts: Entries of the catalogue about a dataset: sources, counts.
    """
    broken = violations(kind, plugin)

    def check_keeps_the_signature(_subject: Subject | None) -> None:
        require(not broken, "; ".join(broken))

    checks: tuple[Callable[[Any], None], ...] = (check_keeps_the_signature,)
    subject = None
    if not broken:
        checks += checks_for(kind, plugin)
        subject = Subject(plugin, plugin.Config() if config is None else config, root, facts or {})

    @pytest.mark.parametrize("check", checks, ids=lambda check: check.__name__.removeprefix("check_"))
    def test_contract(check: Check, tmp_path: Path) -> None:
        seen = subject
        if subject is not None and files is not None:
            files(tmp_path)
            seen = replace(subject, root=tmp_path)
        with torch.random.fork_rng(devices=[]):
            try:
                check(cast(Subject, seen))
            except NotSeen as reason:
                pytest.skip(str(reason))
            except ContractError as violation:
                pytest.fail(str(violation), pytrace=False)

    return test_contract
