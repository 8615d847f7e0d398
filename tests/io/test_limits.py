"""Every limit is stated in the documentation, and the module of limits holds nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medssl.io import limits

PAGE = (Path(__file__).parents[2] / "docs/reference/limits.md").read_text()


@pytest.mark.parametrize("name", limits.__all__)
def test_a_limit_stands_in_the_documentation_with_its_value(name: str) -> None:
    row = next((line for line in PAGE.splitlines() if f"`{name}`" in line), "")
    (number,) = re.findall(r"\*\*([\d,.]+)\*\*", row) or [""]
    assert float(number.replace(",", "")) == getattr(limits, name)
