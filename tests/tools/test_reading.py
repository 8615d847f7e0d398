"""The installed readers, and those that a recipe names."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

from medssl.catalog import load_catalog
from medssl.data.loading import open_dataset
from medssl.data.store.contents import content_key
from medssl.errors import DataError, OptionError, PluginError
from medssl.recipe import resolve
from medssl.tools import installed_readers
from medssl.tools.reading import readers_with
from medssl_readers.pillow import Pillow

BASE = {"method": "random", "dataset": "folder"}


def resolved(*layers):
    return resolve(load_catalog(), [BASE, *layers])


def test_every_installed_reader_serves_its_suffixes():
    assert Pillow.suffixes <= installed_readers().suffixes


def test_a_named_reader_comes_first_with_its_options_and_others_keep_their_defaults(tmp_path):
    mine = Pillow(Pillow.Config(frames="middle"))
    found = readers_with([("pillow", mine)])
    assert found.reader_of(tmp_path / "a.png") is mine
    assert found.suffixes == installed_readers().suffixes


def test_options_choose_a_reader_and_no_options_leave_the_recipe_as_it_was():
    plain, chosen = resolved(), resolved({"readers": {"pillow": {"frames": "::2"}}})
    assert (plain.data.readers, "readers" in plain.to_dict()) == ((), False)
    assert chosen.data.readers[0].config == Pillow.Config(frames="::2")
    assert chosen.to_dict()["readers"] == [{"plugin": "pillow", "frames": "::2"}]
    assert plain.hash != chosen.hash == resolved(chosen.to_dict()).hash
    with pytest.raises(OptionError, match=r"no option 'frame'\. Did you mean 'frames'"):
        resolved({"readers": {"pillow": {"frame": "::2"}}})


def test_the_stores_key_depends_on_options_only_where_they_differ_from_the_defaults(tmp_path):
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "d" / name / "1.png")
    keys = []
    for layer in ({}, {"readers": ["pillow"]}, {"readers": {"pillow": {"frames": "middle"}}}):
        recipe = resolved(layer)
        dataset = open_dataset(recipe.dataset, load_catalog(), tmp_path / "d", recipe.data.readers)
        keys.append(content_key(dataset, dataset.index().samples, tmp_path / "cache"))
    assert keys[0] == keys[1] != keys[2]


READER = "from medssl.contracts import Reader\nclass X(Reader):\n    suffixes = frozenset({'.bad'})\n    "
READ = "def read(self, path, frame, short_side): pass\n"


@pytest.mark.parametrize(
    ("name", "code", "said", "suffix_known"),
    [
        ("at_import", "import nothing_there", "ModuleNotFoundError: No module named 'nothing_there'", False),
        ("in_exit", "raise SystemExit(3)", "SystemExit: 3", False),
        ("in_init", f"{READER}{READ}    def __init__(self, config): raise OSError('no licence')", "no licence", True),
        ("of_suffixes", f"{READER}{READ}    suffixes = property(lambda self: 1 / 0)", "ZeroDivisionError", False),
        ("of_words", f"{READER}{READ}    suffixes = ['.bad']", "suffixes must be a frozenset of texts", False),
        ("without_read", READER, "read() is missing", False),
    ],
)
def test_a_broken_reader_stops_only_what_needs_it(tmp_path, monkeypatch, caplog, name, code, said, suffix_known):
    folder = tmp_path / "site" / f"{name}-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(f"[medssl.readers]\nbad = {name}:X\n")
    (tmp_path / "site" / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, name, raising=False)
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.bad").write_bytes(b"bad")
    readers = readers_with(())
    assert readers.read(tmp_path / "a.png").shape == (4, 4, 1)
    [text] = caplog.messages
    assert said in text
    assert "reader 'bad'" in text
    with pytest.raises(PluginError if suffix_known else DataError, match="cannot be read") as error:
        readers.read(tmp_path / "a.bad")
    assert said in str(error.value)
    if suffix_known:
        with pytest.raises(PluginError, match="no licence"):
            readers.is_image(tmp_path / "a.bad")
    else:
        assert not readers.is_image(tmp_path / "a.bad")
