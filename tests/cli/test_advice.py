"""An error that advises an option which the command lacks says so, and names the command that has it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from medssl.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OF_OTHER_PROGRAMS = {
    *("--font", "--force-reinstall", "--help", "--int", "--logdir", "--master-port", "--upgrade"),
    "--head",  # of Ray
    *("--array", "--format", "--jobs", "--name", "--noheader", "--states"),  # of Slurm
}
#: Commands that use a module of the core, where an option is advised that `medssl run` lacks.
USERS = {
    "export/formats.py": "export",
    "export/model.py": "predict",
    "export/tables.py": "predict",
    "report/gallery.py": "report",
    "scaffold/addition.py": "new",
    "medssl_launchers/slurm.py": "bench",
    "study/launch/crew.py": "bench",
    "study/plan.py": "tune",
    "study/search/tuning.py": "tune",
}


def options(command: click.Command) -> set[str]:
    found = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        found = found.union(*(options(command.get_command(context, name)) for name in command.list_commands(context)))
    return found


def command(name: str) -> click.Command:
    return main.get_command(click.Context(main), name)


def advised() -> dict[str, set[str]]:
    """The options in the texts of each file, docstrings left out."""
    found = {}
    for place in ("medssl", "plugins"):
        for path in sorted((ROOT / place).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            documented = ast.Module | ast.ClassDef | ast.FunctionDef
            for node in ast.walk(tree):
                if isinstance(node, documented) and ast.get_docstring(node) is not None:
                    texts.discard(node.body[0].value.value)
            names = {name for text in texts if isinstance(text, str) for name in OPTION.findall(text)}
            if names := names - OF_OTHER_PROGRAMS:
                found[path.relative_to(ROOT / place).as_posix()] = names
    return found


ADVISED = sorted(set().union(*advised().values()))


def test_every_advised_option_belongs_to_run_or_to_the_only_command_that_gives_the_advice():
    of_run = options(command("run")) | options(main)
    for file, names in advised().items():
        if not file.startswith("cli/") and (others := names - of_run):
            assert others <= options(command(USERS[file])), file


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_the_command_lacks_is_not_advised_without_a_word(name):
    context = click.Context(main)
    context.invoked_subcommand = name
    own, of_run = options(command(name)), options(command("run"))
    for option in ADVISED:
        remark = main._lacking(context, f"It cannot be read. Try {option} X.")
        expected = f" (`medssl {name}` has no {option}; `medssl run` has it.)"
        assert remark == (expected if option in of_run - own else ""), option
    assert main._lacking(context, "Train it with `medssl run --force`.") == ""


@pytest.fixture
def bad_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    for number in range(12):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    return tmp_path / "images"


@pytest.mark.parametrize(
    "words",
    [
        ["show", "views", "--dataset", "folder", "--data-dir"],
        ["audit", "--dataset", "folder", "--data-dir"],
        ["run", "--method", "random", "--image-size", "24", "--dataset", "folder", "--data-dir"],
    ],
    ids=["show views", "audit", "run"],
)
def test_the_advice_about_a_bad_image_can_be_followed_or_is_corrected(words, bad_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(main, [*words, str(bad_folder)])
    assert found.exit_code == 1, found.output
    assert "--on-bad-image skip" in found.stderr
    assert found.stderr.count("`medssl show` has no --on-bad-image; `medssl run` has it.") == (words[0] == "show")
