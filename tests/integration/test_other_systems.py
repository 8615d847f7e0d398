"""What Windows and macOS ask of names, paths, processes and errors, tried on this system."""

from __future__ import annotations

import importlib
import inspect
import json
import multiprocessing
import pickle
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import medssl
from medssl.cli import main
from medssl.errors import BreachError, MedsslError
from medssl.io.plain_text import is_device
from medssl.recipe import Recipe
from medssl.report.sections import _unique
from medssl.report.study import _write

REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]$')  # Microsoft, Naming Files, Paths, and Namespaces
LONGEST = 160  # characters below the folder that the user gives; Windows has 260 for the whole path
NAMES = ("CON", "nul.", "aux.png", "a:b", "what? *", "ends with a dot.", "Lung", "x" * 250, "肺", "a/b\\c")


def problems(folder: Path) -> list[str]:
    """What another system would refuse of the files below a folder."""
    found, seen = [], set()
    for path in sorted(folder.rglob("*")):
        name, relative = path.name, path.relative_to(folder).as_posix()
        if REFUSED.search(name) or is_device(name) or len(name) > 120 or not name.isascii():
            found.append(f"the name {name!r}")
        if len(relative) > LONGEST:
            found.append(f"{len(relative)} characters: {relative}")
        if relative.casefold() in seen:
            found.append(f"differs by case only: {relative}")
        seen.add(relative.casefold())
    return found


def test_the_search_finds_what_other_systems_refuse(tmp_path):
    for name in ("con.txt", "dot.", "a?b", "x" * 200, "Case", "case"):
        (tmp_path / name).touch()
    assert len(problems(tmp_path)) == 6  # the long name is too long as a path too


@pytest.mark.parametrize("name", NAMES)
def test_a_run_s_directory_may_have_any_plugin_s_name(tmp_path, name):
    one = SimpleNamespace(name=name)
    slug = Recipe.slug.func(SimpleNamespace(dataset=one, method=one, hash="0123456789"))
    (tmp_path / slug).mkdir()
    assert problems(tmp_path) == []
    assert slug.endswith("-0123456789")


def test_a_run_s_directory_keeps_a_plain_name():
    dataset, method = SimpleNamespace(name="hf:lung"), SimpleNamespace(name="dcl")
    assert Recipe.slug.func(SimpleNamespace(dataset=dataset, method=method, hash="ab")) == "hf_lung-dcl-ab"


def test_sections_have_keys_that_differ_on_every_system():
    keys = list(_unique(["Lung-random", "lung-random", "lung random", "lung-random-2", "x" * 300, "X" * 300]))
    assert len({key.lower() for key in keys}) == 6
    assert keys[0] == "Lung-random"
    assert max(map(len, keys)) < 100
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", key) for key in keys)


def test_files_of_a_report_do_not_replace_each_other_where_case_is_ignored(tmp_path):
    paths = _write({"figures/x-KNN.svg": "1", "figures/x-knn.svg": "2", "figures/x-knn-2.svg": "3"}, tmp_path)
    assert [path.read_text() for path in paths] == ["1", "2", "3"]
    assert len({path.name.lower() for path in paths}) == 3


# ----------------------------------------------------------------------------------------------- commands in one piece


def draw(folder: Path, number: int = 40) -> Path:
    """A table of images whose classes have the names of devices, end with dots, or are very long."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["path\tlabel\tgroup"]
    for i in range(number):
        Image.fromarray(rng.integers(0, 256, (24, 24), np.uint8)).save(folder / f"{i}.png")
        lines.append(f"{i}.png\t{NAMES[i % len(NAMES)]}\tg{i // 2}")
    (folder / "table.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def call(*words: str) -> str:
    found = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.slow
@pytest.mark.parametrize("depth", [0, 8], ids=["short", "long"])
def test_names_of_devices_long_names_and_long_paths_are_written_and_read(tmp_path, monkeypatch, depth):
    home = tmp_path.joinpath(*["a folder with a rather long name " + "x" * 10] * depth)
    monkeypatch.setenv("MEDSSL_CACHE", str(home / "cache"))
    data = draw(home / "data")
    assert (len(str(data)) > 260) == bool(depth)
    small = ["--image-size", "24", "--backbone", "test_resnet", "--batch-size", "8", "--device", "cpu"]
    small += ["--split", "random", "--evaluator", "linear", "--set", "evaluate.bootstrap=20"]
    call("run", "--method", "random", "--data", str(data / "table.tsv"), *small, "--output", str(home / "runs"))
    [run] = (home / "runs").iterdir()
    call("report", str(home / "runs"), "--output", str(home / "report"))
    call("predict", str(run), str(data / "0.png"), "--device", "cpu", "--output", str(home / "new" / "p.csv"))
    call("share", str(run), "--output", str(home / "shared"))
    call("export", str(run), "hub", "--evaluator", "linear", "--output", str(home / "hub"))
    for folder in ("runs", "report", "new", "shared", "hub", "cache"):
        assert problems(home / folder) == []
    assert list((home / "new").iterdir())
    names = json.loads((run / "result.json").read_text(encoding="utf-8"))["data"]["target"]["names"]
    assert set(names) <= set(NAMES)
    assert len(names) == len(NAMES)


# --------------------------------------------------------------------------------------------------- spawned processes


def errors() -> list[type[MedsslError]]:
    """Every class of error that medssl raises."""
    for module in pkgutil.walk_packages(medssl.__path__, "medssl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, left = [], [MedsslError]
    while left:
        found.append(left.pop())
        left += [each for each in found[-1].__subclasses__() if each.__module__.startswith("medssl.")]
    return found


def test_every_error_crosses_from_one_process_to_another():
    """A pool of processes hangs, or loses the message, if an error cannot be copied."""
    for kind in errors():
        plain = "__init__" not in vars(kind)
        error = kind("what, why, what next") if plain else kind(dict, "fit", ["it is no tensor"])
        copied = pickle.loads(pickle.dumps(error))
        assert type(copied) is kind
        assert str(copied) == str(error)
    breach = pickle.loads(pickle.dumps(BreachError(dict, "fit()", ["a", "b"])))
    assert (breach.plugin, breach.function, breach.problems) == (dict, "fit()", ("a", "b"))
    assert list(inspect.signature(BreachError).parameters) == ["plugin", "function", "problems"]


def train(folder: str, epochs: int) -> tuple[bytes, dict[str, object]]:
    """What a script does in a process of a pool."""
    settings = {
        "dataset": {"patients_per_class": 4, "images_per_patient": 2, "size": 32},
        "views": {"image_size": 32},
        "encoder": {"backbone": "test_resnet"},
        "train": {"batch_size": 8, "epochs": epochs},
        "evaluators": "knn",
        "evaluate": {"bootstrap": 10, "baseline": False},
    }
    result = medssl.run("dcl", "phantom", place=medssl.Place(output=Path(folder), device="cpu"), **settings)
    return (result.path / "encoder.safetensors").read_bytes(), dict(result.values["evaluations"]["knn"]["accuracy"])


@pytest.mark.slow
def test_a_spawned_process_computes_the_same_and_hands_over_errors(tmp_path, monkeypatch):
    """Windows and macOS start processes anew: nothing is inherited but what is pickled."""
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(train, (str(tmp_path / "spawned"), 1)) == train(str(tmp_path / "here"), 1)
        with pytest.raises(MedsslError, match="epochs: expected"):
            pool.apply(train, (str(tmp_path / "spawned"), 0))
