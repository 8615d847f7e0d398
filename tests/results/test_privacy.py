"""Identifiers are hidden in what may leave the house."""

import os
from pathlib import Path

import pytest

from medssl.contracts import Sample
from medssl.io.identities import private_id, revealed
from medssl.results.directory import RunDirectory
from medssl.results.privacy import Desk, Veil, hidden_folder, hidden_paths, named_run, read_desk, restored

SAMPLES = [
    Sample(id="clinic/benign/MRN700_MUELLER_1.nii.png", group="MRN700", site="St. Mary"),
    Sample(id="images/17.png", group="17"),
]


@pytest.fixture
def veil():
    return Veil(SAMPLES, frozenset(["benign", "malign"]), Path("/mnt/ward 7/scans"), "patient")


@pytest.mark.parametrize(
    "text",
    [
        "clinic/benign/MRN700_MUELLER_1.nii.png",
        "cannot identify '/mnt/ward 7/scans/clinic/benign/MRN700_MUELLER_1.nii.png'",
        "MRN700_MUELLER_1 is odd",
        "patient MRN700: few images",
        "St. Mary, 3 images",
        "see /home/meier/log.txt.",
        "see 'C:\\Users\\Meier Anna\\x.png'",
        "read \\\\server\\share\\meier",
        "~/meier/x",
        f"in {Path.home()}/meier" if str(Path.home()) != "/" else "/x/meier",
        f"{os.getcwd()}/meier",  # noqa: PTH109
    ],
)
def test_a_text_names_no_one(veil, text):
    hidden = veil.text(text)
    for name in ("MRN700", "MUELLER", "Mary", "eier", "ward 7", "clinic"):
        assert name not in hidden
    assert veil.text(hidden) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "17 of 20 images have no label",
        "grouped split: the test part has no image of class 'benign'",
        "k=100, k=200 and/or 5 / 7 of N/A",
        "see https://example.org/a/b",
        "",
    ],
)
def test_an_ordinary_text_stays(veil, text):
    assert veil.text(text) == text


def test_values_are_hidden_at_any_depth_but_classes_stay(veil):
    values = {"by": {"MRN700": 0.5, "benign": 1.0}, "notes": ["MRN700 is odd", 3, None, True], "malign": "benign"}
    hidden = veil.values(values)
    name = private_id("patient", "MRN700")
    assert hidden == {"by": {name: 0.5, "benign": 1.0}, "notes": [f"{name} is odd", 3, None, True], "malign": "benign"}
    assert revealed(name) == ("patient", "MRN700")


def test_paths_of_a_recipe_are_hidden_and_come_back(tmp_path):
    recipe = {"a": {"file": "tables/mueller.csv", "pattern": r"(MRN\d+)_"}, "b": ["/home/x", "label"], "n": 3}
    names = {}
    hidden = hidden_paths(recipe, ["tables/mueller.csv"], names)
    assert "mueller" not in str(hidden)
    assert "/home" not in str(hidden)
    assert (hidden["a"]["pattern"], hidden["b"][1], hidden["n"]) == (r"(MRN\d+)_", "label", 3)
    assert restored(hidden, Desk(names=names)) == recipe
    assert restored(hidden, Desk()) == recipe, "from the user's own table"


def test_a_directory_is_claimed_by_the_recipe_with_its_paths(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    recipe = {"encoder": {"weights": "/home/x/a.safetensors"}}
    directory.claim(recipe)
    assert "/home" not in directory.recipe.read_text()
    directory.claim(recipe)
    assert directory.read_recipe() == recipe
    with pytest.raises(Exception, match="another recipe"):
        directory.claim({"encoder": {"weights": "/home/x/b.safetensors"}})
    directory.remember(Path("/data"))
    assert read_desk(directory.desk).directory == "/data"
    assert directory.desk.stat().st_mode & 0o777 == 0o600
    directory.abandon()
    assert list(directory.path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", "[]", "{", "[" * 100_000, '{"directory": 3, "names": 4}', "\0"])
def test_a_desk_file_that_is_damaged_is_empty(tmp_path, content):
    if content is not None:
        (tmp_path / "desk.json").write_text(content)
    assert read_desk(tmp_path / "desk.json") in (Desk(), Desk(directory="3"))


def test_a_folder_is_hidden_and_a_bare_name_is_not():
    assert hidden_folder("/home/x").startswith("directory-")
    assert hidden_folder("malaria") == "malaria"


def test_a_run_is_named_only_if_medssl_named_its_folder(tmp_path):
    own, renamed = tmp_path / "folder-dcl-0123456789", tmp_path / "mueller-anna-0123456789"
    for run in (own, renamed):
        run.mkdir()
        (run / "recipe.yaml").write_text("method:\n  plugin: dcl\ndataset:\n  plugin: folder\n")
    assert named_run(own) == own.name
    assert named_run(renamed).startswith("file-")
    assert named_run(tmp_path / "none").startswith("file-")


def test_files_that_are_no_samples_are_hidden_in_warnings(tmp_path):
    (tmp_path / "Ward 7").mkdir()
    (tmp_path / "Ward 7" / "Anna Mueller").touch()
    (tmp_path / "SCAN0815").touch()
    veil = Veil([], frozenset(), tmp_path, "patient").with_all_files()
    hidden = veil.text("passed over: Ward 7/Anna Mueller, Anna Mueller, SCAN0815")
    assert hidden.startswith("passed over: image-")
    assert not any(name in hidden for name in ("Ward", "Anna", "Mueller", "SCAN0815"))
