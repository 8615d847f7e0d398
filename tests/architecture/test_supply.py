"""What medssl is built from: bounds, the lock file of development, answered findings, honest classifiers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = DECLARED["optional-dependencies"]
LOCK = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE
)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for name, version, _ in PIN.findall(LOCK):
        found.setdefault(plain(name), []).append(Version(version))
    return found


LOCKED = [Requirement(each) for each in (*DECLARED["dependencies"], *EXTRAS["test"], *EXTRAS["docs"], *EXTRAS["dev"])]


@pytest.mark.parametrize(
    "wanted", [each for each in LOCKED if plain(each.name) != "medssl"], ids=lambda each: each.name
)
def test_the_lock_file_has_what_pyproject_asks_for(wanted: Requirement) -> None:
    versions = pins().get(plain(wanted.name), [])
    assert versions, f"{wanted.name} is not locked: run the command in CONTRIBUTING.md"
    assert all(wanted.specifier.contains(version, prereleases=True) for version in versions)


def test_the_lock_file_has_hashes_and_names_no_place() -> None:
    assert PIN.sub("", LOCK) == ""
    assert not re.search(r"https?:|file:|--index|--find-links|/", LOCK)


@pytest.mark.parametrize("text", [*DECLARED["dependencies"], *(each for extra in EXTRAS.values() for each in extra)])
def test_a_requirement_has_a_lower_bound_and_no_upper_one(text: str) -> None:
    wanted = Requirement(text)
    if wanted.name == "medssl" or wanted.name.startswith("types-"):
        return
    assert [each.operator for each in wanted.specifier] == [">="], "an upper bound breaks other packages"


def test_classifiers_name_the_versions_of_python_that_are_allowed() -> None:
    versions = [each.rpartition(" ")[2] for each in DECLARED["classifiers"] if "Python :: 3." in each]
    least = DECLARED["requires-python"].removeprefix(">=")
    assert versions
    assert min(versions, key=Version) == least


def test_an_answered_finding_has_a_reason() -> None:
    answers = [
        (path.relative_to(ROOT), line)
        for folder in ("medssl", "plugins")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "nosec" in line
    ]
    assert answers
    for path, line in answers:
        assert re.search(r"# nosec B\d{3}( # \w.+)?$", line), f"{path}: {line.strip()}: name the finding and the reason"


def test_the_parts_of_the_check_are_carried_out() -> None:
    checks = (ROOT / ".ci/run").read_text(encoding="utf-8")
    for stage in ("bandit", "pytest -m fuzz", "the wheel is reproducible"):
        assert f'stage "{stage}"' in checks
