"""Sphinx configuration. Build: ``sphinx-build -W docs docs/_build``."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT), str(ROOT / "plugins")]

project = "medssl"
author = "The medssl developers"
copyright = f"2026, {author}"  # noqa: A001  (Sphinx reads this name)
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "plugins",  # docs/_ext/plugins.py: one page per method and evaluator, tables of options
]
exclude_patterns = ["results/*/notes.md", "_build", "reference/generated/*.inc"]
suppress_warnings: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

default_role = "literal"  # one backtick in a docstring or a help text is code, as in Markdown

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list, because autodoc already lists members

# examples run in an empty folder with their own cache
doctest_global_setup = """
import os, tempfile
_folder = tempfile.TemporaryDirectory()
os.environ["MEDSSL_CACHE"] = _folder.name + "/cache"
os.environ.pop("MEDSSL_DATA", None)
_before = os.getcwd()
os.chdir(_folder.name)
"""
doctest_global_cleanup = """
os.chdir(_before)
_folder.cleanup()
"""
doctest_test_doctest_blocks = ""  # only marked examples are run

smartquotes = False  # command lines are copied: do not replace two hyphens by an en dash
html_theme = "furo"
html_title = f"medssl {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
