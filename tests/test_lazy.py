"""A package loads its names on first use; its stub is the only list of them."""

import subprocess
import sys

import pytest

STUB = "from first import one as one\nfrom second import two as two\n\n__version__: str\n"
PACKAGE = "from medssl.lazy import lazy_names\n__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, 'made')\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "shop" / "__init__.pyi").write_text(STUB)
    (tmp_path / "first.py").write_text("one = 1\n")
    (tmp_path / "second.py").write_text("raise ImportError('it was imported')\n")
    return tmp_path


def run(statement, folder):
    return subprocess.run([sys.executable, "-c", statement], cwd=folder, capture_output=True, text=True, check=False)


def test_a_name_loads_its_own_module_and_no_other(package):
    done = run("import shop, sys; assert 'first' not in sys.modules; print(shop.one, dir(shop), shop.__all__)", package)
    assert done.stdout == "1 ['made', 'one', 'two'] ['made', 'one', 'two']\n", done.stderr
    assert "it was imported" in run("import shop; shop.two", package).stderr


def test_an_unknown_name_is_an_attribute_error(package):
    assert "AttributeError: module 'shop' has no attribute 'three'" in run("import shop; shop.three", package).stderr
