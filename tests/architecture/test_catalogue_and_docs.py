"""Documentation that fails when it is stale: every plugin has its page, every command line in it works."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.cli.options import recipe_layers
from medssl.contracts.kinds import ENCODER, KINDS
from medssl.recipe import resolve

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
WRITTEN = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
#: The plugins that the tutorials write.
TAUGHT = {"align_uniform", "conv4", "malaria", "prototypes", "ressl", "sqlite", "ward_xrays"}

DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
PLUGINS = [(group.removeprefix("medssl.").removesuffix("s"), name) for group in DECLARED for name in DECLARED[group]]


@pytest.fixture(scope="module")
def generator() -> Iterator[ModuleType]:
    """Import the Sphinx extension that writes the generated pages; it needs no Sphinx to do so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "_ext"))
        yield importlib.import_module("plugins")


@pytest.fixture(scope="module")
def pages(generator: ModuleType) -> Mapping[str, str]:
    """The generated pages by name."""
    made: Mapping[str, str] = generator.pages()
    return made


# ----------------------------------------------------------------------------------------- the catalogue and the pages


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_every_plugin_has_its_line_in_the_catalogue(kind: str, name: str) -> None:
    assert load_catalog().summary(kind, name).strip()


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_the_catalogue_knows_no_plugin_of_ours_that_does_not_exist(kind: str) -> None:
    catalog = load_catalog()
    ours = set(catalog.names(kind)) - set(catalog.packages(kind))
    installed = {name for other, name in PLUGINS if other == kind}
    if kind == ENCODER.name:  # its entries name published weights, which a plugin loads
        assert installed <= ours
    else:
        assert ours == installed


@pytest.mark.parametrize("name", [name for kind, name in PLUGINS if kind == "dataset"])
def test_every_dataset_has_a_page_with_what_a_reader_must_know(name: str) -> None:
    text = (DOCS / "reference" / "datasets" / f"{name}.md").read_text(encoding="utf-8")
    wanted = ("## Layout", "## Split", "## Groups", "## Known leaks", "## Licence", "## Options")
    assert [heading for heading in wanted if heading not in text] == []
    assert f"generated/datasets/{name}.inc" in text


@pytest.mark.parametrize(("kind", "name"), [plugin for plugin in PLUGINS if plugin[0] != "dataset"])
def test_generated_page_lists_every_option_with_its_default(pages: Mapping[str, str], kind: str, name: str) -> None:
    page = pages[f"{kind}s/{name}.rst"]
    module, _, attribute = DECLARED[f"medssl.{kind}s"][name].partition(":")
    config = getattr(importlib.import_module(module), attribute).Config
    for option in fields(config):
        assert re.search(rf"^``[\w.]+\.{option.name}``: .+, default ``.+``$", page, re.MULTILINE)


def test_generated_pages_cover_every_module_of_the_core(pages: Mapping[str, str]) -> None:
    documented = {Path(name).stem for name in pages if name.startswith("api/")}
    assert {"medssl.contracts", "medssl.errors", "medssl.runs.pipeline", "medssl.data.split.splits"} <= documented


@pytest.mark.parametrize("door", ["contracts", "tools"])
def test_page_of_a_public_package_holds_each_public_name_once(pages: Mapping[str, str], door: str) -> None:
    page = pages[f"api/medssl.{door}.rst"]
    found = re.findall(rf"^\.\. (?:autoclass|autofunction|py:data):: medssl\.{door}\.(\w+)$", page, re.MULTILINE)
    assert sorted(found) == sorted(importlib.import_module(f"medssl.{door}").__all__)


def test_types_of_options_are_explained_in_our_words(pages: Mapping[str, str]) -> None:
    page = pages["api/medssl.contracts.rst"]
    assert ".. py:data:: medssl.contracts.Fraction\n\n   A number from 0 to 1.\n" in page


def test_a_sentence_with_a_colon_is_no_type(generator: ModuleType) -> None:
    returned = ["A measure.", "", ":returns: none was", "    seen.", ":rtype: The rank, ``-1``"]
    generator._join_at_colon(None, "function", "rank", None, None, returned)
    assert returned == ["A measure.", "", ":returns: The rank, ``-1``: none was", "    seen.", ""]
    read = ["the same whatever the order.", "", ":type: Ten digits"]
    generator._join_at_colon(None, "property", "hash", None, None, read)
    assert read == ["Ten digits: the same whatever the order.", "", ""]


def test_defaults_are_written_as_they_are_typed(pages: Mapping[str, str]) -> None:
    written = pages["evaluators/knn.rst"]
    assert "default ``[1, 5, 10, 20, 50, 100, 200]``" in written
    assert "default ``cosine``" in written
    assert "default ``null``" in pages["settings-train.inc"]


def test_lists_of_pages_name_every_plugin_and_module(pages: Mapping[str, str]) -> None:
    for kind in ("method", "evaluator"):
        for name in DECLARED[f"medssl.{kind}s"]:
            assert f":doc:`{name} <generated/{kind}s/{name}>`" in pages[f"{kind}s.inc"]
    listed = set(re.findall(r":doc:`([\w.]+) <", pages["api-public.inc"] + pages["api-core.inc"]))
    assert listed == {Path(name).stem for name in pages if name.startswith("api/")}


# ------------------------------------------------------------------------------------------------------ command lines


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each ``medssl ...`` line in the shell blocks of a Markdown page."""
    for block in re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        joined = re.sub(r"\\\n\s*", " ", block)
        for line in joined.splitlines():
            for part in line.removeprefix("$ ").split("&&"):
                words = shlex.split(part, comments=True)
                words = words[: words.index(">")] if ">" in words else words
                while words and "=" in words[0]:  # MEDSSL_DATA=... medssl run
                    words.pop(0)
                if words and words[0] == "medssl":
                    yield words[1:]


LINES = [(path, words) for path in WRITTEN for words in command_lines(path.read_text(encoding="utf-8"))]


def test_the_documentation_holds_command_lines() -> None:
    assert len(LINES) > 20


@pytest.mark.parametrize(("path", "words"), LINES, ids=[f"{p.name}: {' '.join(w)[:60]}" for p, w in LINES])
def test_command_line_in_the_documentation_is_understood(path: Path, words: list[str]) -> None:
    """Parsed, not run: the command exists, its options exist, its plugins exist."""
    context = click.Context(main)
    options = [word for word in words if word.startswith("-")]
    if not words or words[0].startswith("-"):
        assert set(options) <= {"--help", "--version", "--traceback"}
        return
    command = main.get_command(context, words[0])
    assert command is not None, f"there is no command {words[0]}"
    parsed = command.make_context(words[0], list(words[1:]), parent=context).params
    known = {(kind, name) for kind, name in PLUGINS}
    for kind in ("method", "dataset"):
        if (name := parsed.get(kind)) and name not in {*TAUGHT, "none"}:
            assert (kind, name.rpartition(":")[2]) in known
    for name in parsed.get("evaluators") or ():
        assert ("evaluator", name) in known or name in TAUGHT


def with_entry_points() -> None:
    try:
        metadata.distribution("medssl")
    except metadata.PackageNotFoundError:
        pytest.skip("medssl runs from its sources and is not installed: its own plugins have no entry points")


RUNS = [(path, words) for path, words in LINES if words[:1] == ["run"] and not TAUGHT & set(words)]


@pytest.mark.parametrize(("path", "words"), RUNS, ids=[f"{p.name}: {' '.join(w)[:60]}" for p, w in RUNS])
def test_settings_of_a_documented_run_are_accepted(path: Path, words: list[str]) -> None:
    """As far as `medssl run` comes before it looks for images: every option has a valid name, type and value."""
    with_entry_points()
    command = main.get_command(click.Context(main), "run")
    assert command is not None
    parsed = command.make_context("run", words[1:]).params
    if str(parsed["recipe"]).endswith(".yaml"):
        assert parsed["recipe"] in path.read_text(encoding="utf-8")  # a file that the page has its reader write
        parsed["recipe"] = None
        parsed |= {"method": "random", "dataset": "phantom"}
    if parsed["data"]:
        parsed["dataset"] = "csv" if "table" in str(parsed["data"]) else "folder"  # as the path's name says
    assert resolve(load_catalog(), recipe_layers(parsed)).hash


def test_the_recipe_file_in_the_documentation_is_accepted() -> None:
    with_entry_points()
    text = (DOCS / "how-to" / "change-an-option.md").read_text(encoding="utf-8")
    block = re.search(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    recipe = resolve(load_catalog(), [yaml.safe_load(block[1])])
    assert (recipe.train.batch_size, recipe.encoder.config.backbone) == (32, "resnet50")


def test_every_command_is_shown_in_use() -> None:
    shown = {words[0] for _, words in LINES if words}
    assert set(main.list_commands(click.Context(main))) <= shown


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_help_of_a_command_shows_no_markup(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert "\\b" not in command.get_help(click.Context(command, info_name=name))  # click's mark, left unread in r"""


def test_the_command_line_reference_covers_all_commands() -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert ".. click:: medssl.cli:main" in text
    assert ":nested: full" in text


# ------------------------------------------------------------------------------------------------------------- README


def test_readme_begins_with_its_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks[0] == "$ pip install . && medssl run --method dcl --dataset phantom\n"
    assert blocks[1] == '$ pip install -e ".[test]" && pytest\n'


def test_ci_runs_both_readme_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for words in (
        'pip install --quiet -e ".[test]"',
        'stage "pytest" pytest\n',
        "medssl run --method dcl --dataset phantom\n",
    ):
        assert words in script


def test_readme_method_is_the_one_that_the_tutorial_tests() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tutorial = (DOCS / "tutorials" / "method-plugin.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert code is not None
    assert code[1] in tutorial


def test_the_result_page_names_every_field_of_the_schema() -> None:
    schema = json.loads((ROOT / "medssl" / "results" / "result.schema.json").read_text(encoding="utf-8"))
    text = (DOCS / "reference" / "result.md").read_text(encoding="utf-8")
    words = set(re.findall(r"`([\w.]+)`", text))
    top = schema["properties"]
    wanted = set(top) - {"plugins", "environment", "data", "pretrain", "evaluations"}
    for section in ("plugins", "data", "pretrain"):
        wanted |= {f"{section}.{field}" for field in top[section]["properties"]}
    wanted |= set(schema["$defs"]["evaluation"]["properties"])
    assert wanted - words == set()


def test_readme_tree_names_every_room_of_the_core_and_nothing_else() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("\nmedssl/ ")[2].partition("\nplugins/")[0]
    named = set(re.findall(r"^  ([\w.]+/?) ", tree, re.MULTILINE))
    rooms = {path.name for path in (ROOT / "medssl").glob("*.*") if path.suffix in (".py", ".json")} - {"__init__.py"}
    rooms |= {f"{path.parent.name}/" for path in (ROOT / "medssl").glob("*/__init__.py")}
    assert named == rooms


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in WRITTEN
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target and path.name != "notes.md"  # of a study: it becomes a part of docs/results.md
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_decision_records_are_short_and_complete() -> None:
    records = sorted((DOCS / "adr").glob("0*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40, path.name
        assert all(heading in text for heading in ("## Context", "## Decision", "## Consequences")), path.name
