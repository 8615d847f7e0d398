"""Texts that people read are in plain English: some turns of phrase are refused wherever they appear."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = (".py", ".md", ".yaml", ".j2", ".toml")
PLACES = ("medssl", "plugins", "docs", "benchmarks", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "registry.yaml")
KEPT = ROOT / "docs" / "results"  # recorded with the words of their time

# What a reader stumbles over, and what to write instead.
REFUSED = {
    r"\bcan(not| not)? be had\b|\bto be had\b": "is not available",
    r"\bwhich there (is|are) not\b": "which does not exist",
    r"\b(the )?(file|result|one|version)s? of before\b": "the previous",
    r"\bwhat (became|came|comes) (of|to)\b": "the result of",
    r"\blaid over\b|\blay over\b|\blays .{1,20} over\b": "merged with",
    r"\bthe same command goes on\b": "run the same command again to continue",
    r"\bhears? (of )?what\b": "receives",
    r"\bwhoever\b|\bnobody\b": "someone who; no one",
    r"\bnames? [a-z ]{0,12}\bthat are none\b": "contains unknown",
    r"\bowes something\b|\bmust be had\b|\bhitherto\b|\bthereof\b|\bfor want of\b": "plain words",
    r"\b(at work) (on|there)\b": "running",
}


def files() -> list[Path]:
    found = [ROOT / place for place in PLACES if (ROOT / place).is_file()]
    for place in PLACES:
        found += [path for path in sorted((ROOT / place).rglob("*")) if path.suffix in SUFFIXES]
    return [
        path
        for path in found
        if KEPT not in path.parents and "generated" not in path.parts and "_build" not in path.parts
    ]


@pytest.mark.parametrize("turn", REFUSED)
def test_a_turn_of_phrase_is_used_nowhere(turn: str) -> None:
    pattern = re.compile(turn, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, f"write: {REFUSED[turn]}"


def test_the_search_finds_a_planted_turn() -> None:
    assert any(re.search(turn, "The weights cannot be had.") for turn in REFUSED)
