"""Generate pages from the code when the documentation is built, so that they are always up to date.

Each first-party plugin has a page with its docstring and every option with its default and source. If a kind has pages
written by hand, its plugins have a fragment for these pages instead. Each section of settings has a fragment, and so
have the augmentations. Each module of the core has an API page. There are lists of all these pages. Everything is
written to ``docs/reference/generated/``, which git ignores.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metric_tables
import performance_tables

from medssl.catalog import load_catalog
from medssl.cli import COMMANDS
from medssl.contracts import Augmentation
from medssl.contracts.kinds import KINDS, Kind
from medssl.recipe import options, settings

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
UNDOCUMENTED = ("medssl.cli", "medssl.report")  # the command line has a page of its own
PUBLIC = ("medssl.contracts", "medssl.tools", "medssl.errors", "medssl.conformance")  # modules that a plugin may import
HEADINGS = {"f1_weighted": "weighted F1", "batch_size": "batch size", "test": "test images"}  # of published results
DOORS = {  # public packages: headings of the page, each with a module and its first name
    "medssl.contracts": {
        **{kind.plural.capitalize(): tuple(kind.contract.split(":")) for kind in KINDS},
        "Targets": ("medssl.contracts.targets", "Target"),
        "Views": ("medssl.contracts.views", "ViewSpec"),
        "Options": ("medssl.contracts.options", ""),
    },
    "medssl.tools": {
        "Files": ("medssl.tools.downloading", "download"),
        "Archives": ("medssl.tools.unpacking", "unpack"),
        "Images": ("medssl.tools.images", "read_image"),
        "Reading files": ("medssl.io.reading", "read_content"),
        "Limits": ("medssl.io.limits", "TABLE_ROWS"),
        "Readers": ("medssl.tools.reading", "installed_readers"),
        "Identifiers of patients": ("medssl.io.identities", "private_id"),
        "Training": ("medssl.tools.training", "train"),
        "Layers": ("medssl.tools.layers", "layer_groups"),
        "A momentum teacher": ("medssl.tools.teacher", "Teacher"),
        "A queue": ("medssl.tools.queue", "Queue"),
        "Measures": ("medssl.tools.measures", ""),
        "Weights": ("medssl.tools.weights", "read_weights"),
    },
}
# an example command for the plugins of each kind; other kinds have none
EXAMPLES = {
    "method": "medssl run --method {} --dataset phantom",
    "dataset": "medssl run --method dcl --dataset {}",
    "evaluator": "medssl run --method dcl --dataset phantom --evaluator {}",
}
TYPED = {"None": "null", "True": "true", "False": "false"}  # as on the command line, not as in Python


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda built: write(Path(built.srcdir) / "reference" / "generated"))
    app.connect("autodoc-process-docstring", _name_symbols)
    app.connect("autodoc-process-docstring", _join_at_colon, priority=900)  # after napoleon's
    app.connect("autodoc-process-signature", _shorten_signature)
    app.connect("autodoc-skip-member", _skip_fields)
    app.connect("doctree-read", _say_attributes)
    app.connect("sphinx-click-process-arguments", lambda _app, _context, lines: lines.clear())  # the usage names them
    app.connect("sphinx-click-process-options", _name_values)
    app.connect("html-page-context", _keep_options_whole)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path) -> None:
    """Write every page below ``folder``; pages that have not changed are not written, so Sphinx skips them."""
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
    for kind in KINDS:
        written = has_written_pages(kind)
        for name, target in entry_points(kind).items():
            make, suffix = (_fragment, "inc") if written else (_plugin_page, "rst")
            found[f"{kind.plural}/{name}.{suffix}"] = make(kind, name, target, catalog)
        if not written:
            found[f"{kind.plural}.inc"] = _plugin_list(kind, catalog, "generated/")
    unwritten = [kind for kind in KINDS if not has_written_pages(kind) and not written_page(kind).exists()]
    found |= {f"{kind.plural}.rst": _kind_page(kind, catalog) for kind in unwritten}
    found["more-kinds.inc"] = _toctree(f"generated/{kind.plural}" for kind in unwritten)
    found |= _settings_fragments()
    found |= performance_tables.fragments()
    found |= metric_tables.fragments()
    found["augmentations.inc"] = _augmentation_table(catalog)
    found["commands.inc"] = _command_list()
    found["api-public.inc"] = _module_list(PUBLIC)
    found["api-core.inc"] = _module_list(name for name in core_modules() if name not in PUBLIC)
    return found


def has_written_pages(kind: Kind) -> bool:
    """Tell whether the plugins of a kind have pages written by hand, which include generated fragments."""
    return (ROOT / "docs" / "reference" / kind.plural).is_dir()


def written_page(kind: Kind) -> Path:
    """Return the path of the page of a kind, which need not exist."""
    return ROOT / "docs" / "reference" / f"{kind.plural}.md"


def entry_points(kind: Kind) -> dict[str, str]:
    """Return this distribution's own plugins of a kind, ``module:class`` by name, as declared in ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(sorted(project["entry-points"].get(kind.group, {}).items()))


def core_modules() -> list[str]:
    """Return the dotted names of the core's modules that have documentation."""
    names: list[str] = []
    whole: set[Path] = {ROOT / "medssl"}  # packages with one page for all their public names
    for path in sorted((ROOT / "medssl").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if path.name == "__init__.py":
            if "__all__" not in path.read_text(encoding="utf-8") or path.parent in whole:
                continue
            whole.add(path.parent)
        elif path.parent in whole - {ROOT / "medssl"}:
            continue
        if not name.startswith((*UNDOCUMENTED, *(f"{door}." for door in DOORS))):  # a door has a page of its own
            names.append(name)
    return names


# ---------------------------------------------------------------------------------- changes of other extensions' output


def _name_symbols(_app: Sphinx, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Mark the last line of a module's docstring, such as ``N samples, F features``, as the list of symbols."""
    lines[:] = [_no_enumeration(line) for line in lines]
    if what == "module":
        last = max((i for i, line in enumerate(lines) if line and not lines[i - 1]), default=0)
        if re.match(r"[B-Zn]( x [A-Z])? [a-z]", lines[last]):
            lines[last] = f"*Symbols:* {lines[last]}"


def _join_at_colon(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Restore a sentence if napoleon took its text before the first colon for a type; types are annotations."""
    for split, whole in ((":rtype: ", ":returns: "), (":type: ", "")):
        ends = [i for i, line in enumerate(lines) if line.startswith(split)]
        begins = [i for i, line in enumerate(lines) if line.startswith(whole)]
        for end, begin in zip(ends, begins, strict=False):
            lines[begin] = f"{whole}{lines[end].removeprefix(split)}: {lines[begin].removeprefix(whole)}"
            lines[end] = ""


def _no_enumeration(line: str) -> str:
    """Escape ``K.`` alone after a field's name, so that it does not become the letter of a list."""
    return re.sub(r"^(\s*(?::\w+ \w+:)?\s*[A-Z])\.$", r"\1\\.", line)


def _shorten_signature(
    _app: Sphinx, _what: str, _name: str, found: Any, _options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Remove bounds and module names from a signature; the text below it explains them."""
    if getattr(found, "_is_protocol", False):
        return "", returned  # a protocol has no constructor to call
    if signature is not None:
        signature = re.sub(r"~?\btyping\.", "", signature)
        signature = re.sub(r"~?\b[\w.]*Annotated\[(\w+)(?:, ~?[\w.]+\([^)]*\))+\]", r"\1", signature)
        signature = signature.replace(" = <factory>", "").replace("=<factory>", "")
    return signature, returned


def _skip_fields(_app: Sphinx, _what: str, _name: str, member: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples: the attributes of the class explain them better."""
    return True if (getattr(member, "__doc__", None) or "").startswith("Alias for field number") else None


def _say_attributes(_app: Sphinx, tree: Any) -> None:
    """Rename the heading ``Variables`` to ``Attributes``, and remove base classes without information."""
    from docutils import nodes  # noqa: PLC0415  # the tests use this module without it

    for paragraph in list(tree.findall(nodes.paragraph)):
        if paragraph.astext() in ("Bases: object", "Bases: ABC"):
            paragraph.parent.remove(paragraph)
    for name in tree.findall(nodes.field_name):
        if name.astext() == "Variables":
            name.children = [nodes.Text("Attributes")]


def _name_values(_app: Sphinx, context: Any, lines: list[str]) -> None:
    """Show the type of an option's value where click's page has the name of a variable."""
    kinds = {option.name: option.type.name.upper() for option in context.command.params if option.metavar is None}
    for i, line in enumerate(lines):
        if line.startswith(".. option::"):
            lines[i] = re.sub(r"<(\w+)>", lambda found: f"<{kinds.get(found[1], found[1])}>", line)


def _keep_options_whole(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Mark the options in commands and texts, so that lines do not break at their hyphens (``style.css``)."""
    body = context.get("body", "").replace('<span class="pre">--', '<span class="pre option">--')
    context["body"] = re.sub(
        r'<div class="highlight-console.*?</pre>',
        lambda block: re.sub(r"(?<=[\s>])(--[a-z][\w-]*)", r'<span class="option">\1</span>', block[0]),
        body,
        flags=re.DOTALL,
    )


# ------------------------------------------------------------------------------------------------------------- pages


def _api_page(name: str) -> str:
    if name in DOORS:
        return _door_page(name)
    return f"{_title(name)}.. automodule:: {name}\n"


def _door_page(name: str) -> str:
    """Document a public package in the order in which a plugin's author needs its names."""
    parts = [_title(name), f".. automodule:: {name}\n   :no-members:\n"]
    for title, (module, first) in DOORS[name].items():
        home = import_module(module)
        source = inspect.getsource(home)
        listed = set(home.__all__) & set(import_module(name).__all__)
        found = sorted(listed, key=lambda each: (each != first, source.find(f"class {each}"), each))
        parts += [_title(title, "-"), *(_documented(name, each) for each in found)]
    return "\n".join(parts)


def _documented(module: str, name: str) -> str:
    value = getattr(import_module(module), name)
    if not (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value))):  # a cached function too
        return f".. py:data:: {module}.{name}\n\n   {_text_below(name)}\n"
    kind = "autoclass" if inspect.isclass(value) else "autofunction"
    called = inspect.isclass(value) and "__call__" in vars(value)
    return f".. {kind}:: {module}.{name}\n" + "   :special-members: __call__\n" * called


def _text_below(name: str) -> str:
    """Return the text below the assignment of a value; the value itself only has the docstring of its type."""
    for path in sorted((ROOT / "medssl").rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for assigned, below in pairwise(body):
            if (
                _assigned_names(assigned) == [name]
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                return inspect.cleandoc(str(below.value.value))
    raise LookupError(f"{name} has no text below its assignment. Write one.")


def _assigned_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.AnnAssign):
        return [ast.unparse(statement.target)]
    return [ast.unparse(target) for target in statement.targets] if isinstance(statement, ast.Assign) else []


def _module_list(names: Iterable[str]) -> str:
    """List modules with the first sentence of each."""
    return "\n".join(f"- :doc:`{name} <generated/api/{name}>`: {_first_sentence(name)}" for name in names) + "\n"


def _first_sentence(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    first, _, _ = " ".join(text.split("\n\n")[0].split()).partition(". ")
    return f"{first.rstrip('.')}."


def _plugin_list(kind: Kind, catalog: Any, above: str) -> str:
    """List the plugins of a kind with one line each."""
    rows = [
        [f":doc:`{name} <{above}{kind.plural}/{name}>`", _escape(catalog.summary(kind.name, name))]
        for name in entry_points(kind)
    ]
    return _table(["Name", "What it is"], rows)


def _kind_page(kind: Kind, catalog: Any) -> str:
    """Write the page of a kind that has no page written by hand."""
    plugins = [f"{kind.plural}/{name}" for name in entry_points(kind)]
    return "\n".join([_title(kind.plural.capitalize()), _plugin_list(kind, catalog, ""), _toctree(plugins)])


def _toctree(pages: Iterable[str]) -> str:
    listed = [f"   {page}" for page in pages]
    return "\n".join([".. toctree::", "   :hidden:", "", *listed, ""]) if listed else "\n"


def _command_list() -> str:
    """List the commands with one line each, in the order of ``medssl --help``."""
    rows = [[f"`{name} <#medssl-{name}>`__", _escape(line)] for name, (_, line) in COMMANDS.items()]
    return _table(["Command", "What it does"], rows)


def _plugin_page(kind: Kind, name: str, target: str, catalog: Any) -> str:
    module_name, _, attribute = target.partition(":")
    module = import_module(module_name)
    plugin = getattr(module, attribute)
    parts = [
        _title(name),
        f"{catalog.summary(kind.name, name)}\n",
        _facts(catalog.entry(kind.name, name)),
        _example(kind, name, plugin),
        f".. automodule:: {module_name}\n   :no-members:\n",
        _title("Options", "-"),
        options_list(plugin.Config, prefix=".".join(kind.place_of_options(name))),
    ]
    functions = [n for n in getattr(module, "__all__", ()) if inspect.isfunction(getattr(module, n))]
    if functions:
        parts += [_title("Functions", "-"), *(f".. autofunction:: {module_name}.{n}\n" for n in functions)]
    return "\n".join(part for part in parts if part)


def _example(kind: Kind, name: str, plugin: Any) -> str:
    """Return a command line that works, as a block."""
    if kind.name not in EXAMPLES:
        return ""
    backbone = " --backbone vit_tiny_patch16_224 --image-size 64" * getattr(plugin, "transformer_only", False)
    return f".. code-block:: console\n\n   $ {EXAMPLES[kind.name].format(name)}{backbone}\n"


def _fragment(kind: Kind, name: str, target: str, catalog: Any) -> str:
    module_name, _, attribute = target.partition(":")
    plugin = getattr(import_module(module_name), attribute)
    parts = [options_list(plugin.Config, prefix=".".join(kind.place_of_options(name)))]
    if kind.reads_files and (rows := catalog.published(name)):
        columns = [key for key in rows[0] if key != kind.name and any(row.get(key) is not None for row in rows)]
        cells = [[_cell(row.get(key)) for key in columns] for row in rows]
        warning = "As in their source, with its own split, network and training, and without intervals.\n"
        parts += [".. rubric:: Published results\n", warning, _table([HEADINGS.get(k, k) for k in columns], cells)]
    return "\n".join(parts)


def default_encoder() -> Any:
    """Return the class of the encoder that a recipe uses if it names none; ``None``: it is not one of ours."""
    kind = next(kind for kind in KINDS if kind.name == "encoder")
    target = entry_points(kind).get(load_catalog().default(kind.name))
    if target is None:
        return None
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _settings_fragments() -> dict[str, str]:
    sections: dict[str, Any] = {
        "train": settings.TrainSettings,
        "views": settings.ViewSettings,
        "split": settings.SplitSettings,
        "evaluate": settings.EvaluateSettings,
    }
    if (encoder := default_encoder()) is not None:
        sections["encoder"] = encoder.Config
    found = {f"settings-{name}.inc": options_list(kind, prefix=name) for name, kind in sections.items()}
    return {**found, "augmentation-fields.inc": options_list(Augmentation, prefix="views")}


def _augmentation_table(catalog: Any) -> str:
    """Write each augmentation's summary and its differences from the defaults."""
    default = Augmentation()
    rows = []
    for name in catalog.augmentation_names():
        recipe = options.build(Augmentation, catalog.augmentation(name), name)
        values = {field.name: getattr(recipe, field.name) for field in fields(Augmentation)}
        changed = [f"``{k}`` {_value(v)}" for k, v in values.items() if v != getattr(default, k)]
        rows.append([f"``{name}``", _escape(catalog.summary("augmentation", name)), ", ".join(changed) or "nothing"])
    return _table(["Name", "What it is", "Differs from the defaults in"], rows)


# ----------------------------------------------------------------------------------------------------------- fragments


def options_list(config: type, prefix: str) -> str:
    """List the options of a settings class: key, type, default, meaning, source."""
    described = options.describe(config)
    if not described:
        return "This plugin has no options.\n"
    lines: list[str] = []
    for option in described:
        lines.append(f"``{prefix}.{option.name}``: {_escape(option.type)}, default ``{_typed(option.default)}``")
        meaning = re.sub("``(None|True|False)``", lambda found: f"``{TYPED[found[1]]}``", option.meaning)
        source = f"*Source:* {_escape(option.comment)}." if option.comment else ""
        lines += [f"   {_no_enumeration(text)}\n" for text in (meaning, source) if text] or ["   .. \n"]
    return "\n".join(lines) + "\n"


def _facts(entry: Any) -> str:
    """Write the paper of a catalogue entry as one reference."""
    paper = entry.get("paper")
    if not paper:
        return ""
    words = ", ".join(str(paper[key]) for key in ("authors", "venue", "year") if key in paper)
    links = {
        "arxiv": ("arXiv {}", "https://arxiv.org/abs/{}"),
        "doi": ("doi {}", "https://doi.org/{}"),
        "url": ("paper", "{}"),
    }
    found = [
        f"`{text.format(paper[key])} <{link.format(paper[key])}>`__"
        for key, (text, link) in links.items()
        if key in paper
    ]
    return f"*{_escape(paper['title'])}.* {_escape(words)}. {', '.join(found)}.\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1", ""]
    for row in ([_escape(cell) for cell in header], *rows):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _title(text: str, underline: str = "=") -> str:
    return f"{text}\n{underline * len(text)}\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_value(item) for item in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _typed(value: Any) -> str:
    """Write a value as a user types it after ``--set`` or in a recipe file."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_typed, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return TYPED.get(str(value)) or str(value).replace("`", "'") or '""'


def _escape(text: str) -> str:
    """Write a plain text as reStructuredText; text between single backticks is code."""
    pieces = re.split(r"`([^`]+)`", text)
    plain = (re.sub(r"([*`|\\]|_(?=\W|$))", r"\\\1", piece) for piece in pieces[::2])
    code = [f"``{piece}``" for piece in pieces[1::2]]
    return "".join(part for pair in zip_longest(plain, code, fillvalue="") for part in pair)
