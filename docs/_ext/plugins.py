"""Pages made from the code at build time, so that they cannot fall behind it.

For each first-party method and evaluator a page (what the module says of itself, every option with its default and
source); for each dataset, settings section and augmentation a fragment that a written page includes; for each module of
the core an API page. All of it goes to ``docs/reference/generated/``, which git ignores.
"""

from __future__ import annotations

import inspect
import re
import shutil
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import performance_tables

from medssl import options, settings
from medssl.catalog import load_catalog
from medssl.contracts import Augmentation

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"method": "methods", "dataset": "datasets", "evaluator": "evaluators"}
UNDOCUMENTED = ("medssl.cli", "medssl.report")  # the command line has a page of its own; tables are its furniture


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda built: write(Path(built.srcdir) / "reference" / "generated"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path) -> None:
    """Write every page below ``folder``, leaving alone those that are as they should be (Sphinx then skips them)."""
    wanted = {folder / name: text for name, text in pages().items()}
    for path in folder.rglob("*.*"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        if path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)


def pages() -> dict[str, str]:
    """Return the text of every generated page by its path below ``reference/generated``."""
    catalog = load_catalog()
    found = {f"api/{name}.rst": _api_page(name) for name in core_modules()}
    for kind in ("method", "evaluator"):
        for name, target in entry_points(kind).items():
            found[f"{KINDS[kind]}/{name}.rst"] = _plugin_page(kind, name, target, catalog)
    for name, target in entry_points("dataset").items():
        found[f"datasets/{name}.inc"] = _dataset_fragment(name, target, catalog)
    found |= _settings_fragments()
    found |= performance_tables.fragments()
    found["augmentations.inc"] = _augmentation_table(catalog)
    return found


def entry_points(kind: str) -> dict[str, str]:
    """Return this distribution's own plugins of a kind, ``module:class`` by name, as declared in ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(sorted(project["entry-points"][f"medssl.{KINDS[kind]}"].items()))


def core_modules() -> list[str]:
    """Return the dotted names of the core's modules that have something to document."""
    names: list[str] = []
    whole: set[Path] = {ROOT / "medssl"}  # packages that have one page: they name what is public themselves
    for path in sorted((ROOT / "medssl").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if path.name == "__init__.py":
            if "__all__" not in path.read_text(encoding="utf-8") or path.parent in whole:
                continue
            whole.add(path.parent)
        elif path.parent in whole - {ROOT / "medssl"}:
            continue
        if not name.startswith(UNDOCUMENTED):
            names.append(name)
    return names


# ------------------------------------------------------------------------------------------------------------- pages


def _api_page(name: str) -> str:
    return f"{_title(name)}.. automodule:: {name}\n"


def _plugin_page(kind: str, name: str, target: str, catalog: Any) -> str:
    module_name, _, attribute = target.partition(":")
    module = import_module(module_name)
    plugin = getattr(module, attribute)
    use = "--method" if kind == "method" else "--evaluator"
    example = f"medssl run {use} {name} --dataset phantom" if kind == "method" else f"medssl run ... {use} {name}"
    parts = [
        _title(name),
        f"{catalog.summary(kind, name)}\n",
        _facts(catalog.entry(kind, name)),
        f".. code-block:: console\n\n   $ {example}\n",
        f".. automodule:: {module_name}\n   :no-members:\n",
        _title("Options", "-"),
        options_list(plugin.Config, prefix="method" if kind == "method" else f"evaluators.{name}"),
    ]
    functions = [n for n in getattr(module, "__all__", ()) if inspect.isfunction(getattr(module, n))]
    if functions:
        parts += [_title("Functions", "-"), *(f".. autofunction:: {module_name}.{n}\n" for n in functions)]
    return "\n".join(part for part in parts if part)


def _dataset_fragment(name: str, target: str, catalog: Any) -> str:
    module_name, _, attribute = target.partition(":")
    plugin = getattr(import_module(module_name), attribute)
    parts = [options_list(plugin.Config, prefix="dataset")]
    if rows := catalog.published(name):
        columns = [key for key in rows[0] if key != "dataset" and any(row.get(key) is not None for row in rows)]
        cells = [[str(row.get(key, "")) if row.get(key) is not None else "" for key in columns] for row in rows]
        parts += [".. rubric:: Published results\n", _table(columns, cells)]
    return "\n".join(parts)


def _settings_fragments() -> dict[str, str]:
    sections = {
        "train": settings.TrainSettings,
        "views": settings.ViewSettings,
        "encoder": settings.EncoderSettings,
        "split": settings.SplitSettings,
        "evaluate": settings.EvaluateSettings,
    }
    found = {f"settings-{name}.inc": options_list(kind, prefix=name) for name, kind in sections.items()}
    return {**found, "augmentation-fields.inc": options_list(Augmentation, prefix="views")}


def _augmentation_table(catalog: Any) -> str:
    """Write each recipe's summary and where it differs from the defaults."""
    default = Augmentation()
    rows = []
    for name in catalog.augmentation_names():
        recipe = options.build(Augmentation, catalog.augmentation(name), name)
        values = {field.name: getattr(recipe, field.name) for field in fields(Augmentation)}
        changed = [f"``{k}`` {_value(v)}" for k, v in values.items() if v != getattr(default, k)]
        rows.append([f"``{name}``", _escape(catalog.summary("augmentation", name)), ", ".join(changed) or "nothing"])
    return _table(["name", "what it is", "differs from the defaults in"], rows)


# ----------------------------------------------------------------------------------------------------------- fragments


def options_list(config: type, prefix: str) -> str:
    """List the options of a settings class: key, type, default, meaning, source."""
    described = options.describe(config)
    if not described:
        return "None.\n"
    meanings = attribute_docs(config)
    lines: list[str] = []
    for option in described:
        lines.append(f"``{prefix}.{option.name}``: {_escape(option.type)}, default ``{_plain(option.default)}``")
        meaning = meanings.get(option.name, "")
        source = f"*Source:* {_escape(option.comment)}." if option.comment else ""
        lines += [f"   {text}\n" for text in (meaning, source) if text] or ["   .. \n"]
    return "\n".join(lines) + "\n"


def attribute_docs(config: type) -> dict[str, str]:
    """Read the ``Attributes:`` section of a Google docstring: text by name."""
    lines = inspect.getdoc(config) or ""
    _, _, section = lines.partition("Attributes:\n")
    found: dict[str, list[str]] = {}
    name = None
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break  # the next section
        if match := re.match(r" {4}(\w+): (.*)", line):
            name = match[1]
            found[name] = [match[2]]
        elif name and line.strip():
            found[name].append(line.strip())
    return {key: " ".join(words) for key, words in found.items()}


def _facts(entry: Any) -> str:
    """Write the paper of a catalogue entry as one reference."""
    paper = entry.get("paper")
    if not paper:
        return ""
    words = ", ".join(str(paper[key]) for key in ("authors", "venue", "year") if key in paper)
    links = {"arxiv": "https://arxiv.org/abs/{}", "doi": "https://doi.org/{}", "url": "{}"}
    found = [f"`{key} {paper[key]} <{link.format(paper[key])}>`__" for key, link in links.items() if key in paper]
    return f"*{_escape(paper['title'])}.* {_escape(words)}. {', '.join(found)}\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
    for row in ([_escape(cell) for cell in header], *rows):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _title(text: str, underline: str = "=") -> str:
    return f"{text}\n{underline * len(text)}\n"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_value(item) for item in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    return repr(value).replace("`", "'")


def _escape(text: str) -> str:
    return re.sub(r"([*`|\\]|_(?=\W|$))", r"\\\1", text)
