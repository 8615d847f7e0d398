"""Kinds of plugins stand in one table: the core names none of them, and an entry more is a kind more."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medssl.contracts.kinds import KINDS, kind_named
from medssl.errors import OptionError

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted(path for path in (ROOT / "medssl").rglob("*.py") if path.name != "kinds.py")
WORDS = {word for kind in KINDS for word in (kind.name, kind.plural)}

#: Files in which such a word is something else than the name of a kind, and what.
EXCEPTIONS = {
    "medssl/cli/__init__.py": "the name of a command",
    "medssl/cli/audit.py": "a field of its JSON",
    "medssl/cli/card.py": "fields of its JSON and of a plan",
    "medssl/cli/export.py": "names of options",
    "medssl/export/documents/answers.py": "fields of result.json",
    "medssl/report/sharing.py": "fields of result.json",
    "medssl/cli/predict.py": "names of options and a field of recipe.yaml",
    "medssl/report/tables/operating_table.py": "a column",
    "medssl/report/tables/published_table.py": "columns of a table",
    "medssl/report/tables/score_tables.py": "a column",
    "medssl/results/heads.py": "fields of heads.safetensors",
    "medssl/runs/stages/external.py": "a field of result.json",
    "medssl/cli/embed.py": "an argument",
    "medssl/cli/encoder.py": "the name of a command",
    "medssl/cli/evaluate.py": "an argument",
    "medssl/conformance/methods.py": "a part of the toy's state",
    "medssl/data/store/building.py": "a field of what a store's key is made from",
    "medssl/report/words/gains.py": "a field of result.json",
    "medssl/runs/description.py": "fields of result.json",
    "medssl/results/directory.py": "fields of result.json",
    "medssl/report/figures/maps.py": "a column",
    "medssl/report/missing.py": "fields of recipe.yaml and study.json",
    "medssl/report/page.py": "fields of result.json",
    "medssl/report/sections.py": "fields of result.json",
    "medssl/report/tables/table_files.py": "columns of tables",
    "medssl/study/grid.py": "fields of study.json",
    "medssl/study/results/rows.py": "fields of result.json",
    "medssl/study/results/summary.py": "fields of published results",
    "medssl/study/results/table.py": "columns of tables",
    "medssl/runs/stages/pretraining.py": "a field of result.json",
    "medssl/runs/tracking.py": "a section of a recipe",
    "medssl/tools/weights.py": "an entry of a checkpoint",
    "medssl/train/loop/method.py": "the name of a random stream",
    "medssl/train/loop/trainer.py": "a field of state.pt",
}


def kinds_named_in(source: str) -> Iterator[str]:
    """Yield ``line: word`` for each text that is exactly the name or the plural of a kind."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in WORDS:
            yield f"line {node.lineno}: {node.value}"


def test_the_core_names_no_kind() -> None:
    every = {path.relative_to(ROOT).as_posix(): list(kinds_named_in(path.read_text(encoding="utf-8"))) for path in CORE}
    found = {path: lines for path, lines in every.items() if lines}
    assert {path: lines for path, lines in found.items() if path not in EXCEPTIONS} == {}
    assert [path for path in EXCEPTIONS if path not in found] == [], "excepted, and names none: take it off the list"


def test_the_search_sees_a_kind_and_not_a_sentence() -> None:
    assert list(kinds_named_in('x = {"method": 1}\ny = "a method"\n')) == ["line 1: method"]


def test_an_unknown_kind_suggests_the_closest() -> None:
    with pytest.raises(
        OptionError, match=r"kind of plugin 'methd' does not exist. Did you mean 'method'\? Kinds: method, dataset"
    ):
        kind_named("methd")


# -------------------------------------------------------------------------------------------------- a kind more

CONTRACT = '''
"""The contract of a throw-away kind."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


class Sounder(ABC):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config):
        self.config = config

    @abstractmethod
    def epoch(self, number, values):
        """Hear of an epoch."""
'''

CHECKS = '''
"""Its checks."""

from medssl.conformance.running import require


def check_hears_of_an_epoch(subject):
    """epoch() takes a number and values."""
    require(subject.plugin(subject.config).epoch(1, {}) is None, "epoch() must return nothing")


CHECKS = (check_hears_of_an_epoch,)
'''

PLUGIN = '''
"""Prints: what a module says of itself."""

from dataclasses import dataclass

from toy_contract import Sounder


class Printer(Sounder):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int = 80  # a terminal's

    def epoch(self, number, values):
        pass
'''

PROGRAM = """
import json
import sys
from importlib import import_module
from pathlib import Path

from medssl.contracts import kinds

kinds.KINDS = (
    *kinds.KINDS,
    kinds.Kind(
        name="sounder",
        plural="sounders",
        group="medssl.sounders",
        contract="toy_contract:Sounder",
        checks=("toy_checks",),
        part="run",
        many=True,
        required=False,
    ),
)
kinds.RUN_KINDS = tuple(kind for kind in kinds.KINDS if kind.part != "study")

from click.testing import CliRunner

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.recipe import resolve

lines = {
    "list": ["list", "sounders"],
    "show": ["show", "sounder", "printer"],
    "check": ["check", "printer"],
    "new": ["new", "sounder", "own"],
    "swapped": ["check", "--kind", "method", "printer"],
    "help": ["run", "--help"],
}
answers = {key: CliRunner().invoke(main, words).output for key, words in lines.items()}

lab = load_catalog(Path("lab.yaml"))
named = {"method": "random", "dataset": "phantom"}
plain = resolve(lab, [named])
chosen = resolve(lab, [named, {"sounders": {"printer": {"width": 3}}}, {"sounders": ["printer"]}])
answers["recipe"] = [chosen.to_dict()["sounders"], chosen.per_kind(lambda choice: choice.name)["sounders"]]
answers["hash"] = [plain.hash == chosen.hash, "sounders" in plain.to_dict()]
answers["summary"] = lab.summary("sounder", "printer")

sys.path.insert(0, sys.argv[1])
generator = import_module("plugins")
generator.entry_points = lambda kind: {"printer": "toy_plugin:Printer"} if kind.name == "sounder" else {}
generator.load_catalog = lambda: lab
generator.core_modules = lambda: []
generator.performance_tables.fragments = dict
pages = generator.pages()
answers["pages"] = {name: pages[name] for name in ("sounders/printer.rst", "sounders.rst", "more-kinds.inc")}
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_a_kind_is_an_entry_a_contract_and_its_checks(tmp_path: Path) -> None:
    for name, text in {"contract": CONTRACT, "checks": CHECKS, "plugin": PLUGIN}.items():
        (tmp_path / f"toy_{name}.py").write_text(text, encoding="utf-8")
    info = tmp_path / "medssl_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: medssl-toy\nVersion: 1.0\nSummary: Prints.\n")
    (info / "entry_points.txt").write_text("[medssl.sounders]\nprinter = toy_plugin:Printer\n")
    (tmp_path / "lab.yaml").write_text("sounders: {printer: {summary: Writes a line.}}\n")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py", str(ROOT / "docs" / "_ext")],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "plugins")])},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["list"] == "sounders:\n  printer  Prints.  (medssl-toy 1.0)\n"
    assert "  width: integer = 80  # a terminal's\n" in answers["show"]
    assert "sounder printer (medssl-toy 1.0)\n" in answers["check"]
    assert "  ok    hears of an epoch\n" in answers["check"]
    assert "'printer' is a sounder, not a method; did you swap --method and --sounder?" in answers["swapped"]
    assert "--sounder NAME" in answers["help"]
    assert answers["recipe"] == [[{"plugin": "printer", "width": 3}], ["printer"]]
    assert answers["hash"] == [True, False], "a kind beside the parts of a recipe changes no result"
    assert answers["summary"] == "Writes a line."
    assert "medssl-own\n" in answers["new"]
    written = (tmp_path / "medssl-own" / "medssl_own.py").read_text()
    assert "from toy_contract import Sounder\n" in written
    assert "    def epoch(self, number, values):\n" in written
    assert 'contract_tests("sounder", Own)' in (tmp_path / "medssl-own" / "tests" / "test_medssl_own.py").read_text()
    assert '"medssl.sounders"' in (tmp_path / "medssl-own" / "pyproject.toml").read_text()
    compile(written, "medssl_own.py", "exec")
    assert "``sounders.printer.width``: integer, default ``80``" in answers["pages"]["sounders/printer.rst"]
    assert ":doc:`printer <sounders/printer>`" in answers["pages"]["sounders.rst"]
    assert "   generated/sounders\n" in answers["pages"]["more-kinds.inc"]
