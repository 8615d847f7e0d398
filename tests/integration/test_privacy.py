"""Names, birth dates, ids and paths are planted wherever a user has them; nothing that may leave the house holds them.

The first zone is everything but the files of ``LEFT_OUT``. In the second zone ids are relative, and only the owner can
read it.
"""

import csv
import json
import os
import stat

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main
from medssl.report.sharing import LEFT_OUT

PLANTED = ("MUELLER", "MRN77", "19530412", "sankt_georg", "dr_meier", "Station9", "Anna")
PATHS = ("dr_meier", "sankt_georg")
OPTIONS = ["--image-size", "32", "--backbone", "test_resnet", "--batch-size", "8", "--evaluator", "knn"]
OPTIONS += ["--set", "evaluate.bootstrap=20", "--device", "cpu"]
PATTERN = ["--set", r"dataset.group_pattern=(MRN\d+[bm])_"]


def plant(root, table):
    """Write images of 24 patients with identifiers in every name, and a table of the same images."""
    rng = np.random.default_rng(0)
    rows = []
    for kind in ("benign", "malign"):
        folder = root / kind / "Station9_Anna"
        folder.mkdir(parents=True)
        for patient in range(12):
            for number in range(2):
                name = f"MRN77{patient:02d}{kind[0]}_MUELLER_19530412_{number}.png"
                pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name)
                rows.append((f"{kind}/Station9_Anna/{name}", kind, f"MUELLER^Anna^19530412^{kind}{patient}"))
    copy = root / "benign" / "Station9_Anna" / "MRN7700b_MUELLER_19530412_copy.png"  # of another patient
    copy.write_bytes((root / rows[4][0]).read_bytes())
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Run every command on the planted images; return the folder and what was printed."""
    home = tmp_path_factory.mktemp("house") / "sankt_georg" / "dr_meier"
    data, table = home / "scans", home / "MUELLER_table.csv"
    home.mkdir(parents=True)
    plant(data, table)
    said = {}

    def call(name, *words):
        done = CliRunner().invoke(main, [name, *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        said[f"{name} {len(said)}"] = done.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_CACHE", str(home / "cache"))
        patch.setenv("USER", "dr_meier")
        folder = ["--dataset", "folder", "--data-dir", data, *PATTERN]
        call("run", "--method", "dcl", "--epochs", 1, *folder, *OPTIONS, "--output", home / "runs")
        [trained] = (home / "runs").iterdir()
        call("run", "--method", "dcl", "--epochs", 1, *folder, *OPTIONS, "--output", home / "runs", "--json")
        by_table = ["--dataset", "csv", "--data-dir", data, "--set", f"dataset.file={table}"]
        call("run", "--method", "random", *by_table, "--split", "grouped", *OPTIONS, "--output", home / "runs")
        left_out = ["--split", "loso", "--set", "split.fold=3"]
        call("run", "--method", "random", *by_table, *left_out, *OPTIONS, "--output", home / "runs")
        call("evaluate", trained, *folder, "--evaluator", "knn", "--output", home / "again", "--device", "cpu")
        call("show", trained)
        call("report", home / "runs", home / "again", "--output", home / "report")
        call("audit", *folder)
        call("audit", *folder, "--json", "--groups", home / "groups.csv")
        call("embed", trained, data, "--output", home / "features.csv", "--device", "cpu")
        call("embed", trained, data / "benign", "--output", home / "features.npz", "--device", "cpu")
        call("share", home / "runs", home / "again", "--output", home / "shared")
        bench = ["--method", "random", "--seeds", 2, *by_table, *OPTIONS[:6], "--evaluator", "knn"]
        call("bench", *bench, "--set", "evaluate.bootstrap=20", "--device", "cpu", "--output", home / "study")
    return home, said


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def holds(content, names):
    """Return the names in some bytes, as UTF-8 or as the UTF-32 of arrays."""
    return [name for name in names if name.encode() in content or name.encode("utf-32-le") in content]


@pytest.mark.slow
def test_what_may_leave_the_house_names_no_one(house):
    home, _ = house
    places = ("runs", "again", "report", "shared", "study")
    first = [path for place in places for path in files(home / place) if path.name not in (*LEFT_OUT, "study.json")]
    assert {"result.json", "report.html", "recipe.yaml", "encoder.safetensors", "runs.csv"} <= {p.name for p in first}
    assert {str(path.relative_to(home)): found for path in first if (found := holds(path.read_bytes(), PLANTED))} == {}


@pytest.mark.slow
def test_standard_output_names_no_one(house):
    _, said = house
    assert {name: found for name, text in said.items() if (found := holds(text.encode(), PLANTED))} == {}


@pytest.mark.slow
def test_what_stays_at_the_desk_has_relative_ids(house):
    home, _ = house
    [trained] = (home / "runs").glob("folder-dcl-*")
    split = json.loads((trained / "splits.json").read_text())
    assert (home / "scans" / split["parts"]["train"][0]).is_file()
    assert split["groups"][split["parts"]["train"][0]].startswith("MRN77")
    with np.load(home / "features.npz") as stored:
        assert (home / "scans" / "benign" / stored["path"][0]).is_file()
    with (home / "features.csv").open(newline="") as file:
        assert (home / "scans" / next(csv.DictReader(file))["path"]).is_file()
    desk = [path for path in files(home) if path.name in (*LEFT_OUT, "features.csv", "groups.csv")]
    desk += files(home / "cache")
    assert len({path.name for path in desk} & {*LEFT_OUT, "pixels", "header.json"}) > 6
    absolute = {p.name: found for p in desk if p.name != "desk.json" and (found := holds(p.read_bytes(), PATHS))}
    assert absolute == {}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of files")
def test_what_stays_at_the_desk_is_readable_by_its_owner_alone(house):
    home, _ = house
    named = (*LEFT_OUT, "study.json", "features.csv", "groups.csv", "pixels", "header.json")
    open_to_others = {
        str(path.relative_to(home)): oct(path.stat().st_mode)
        for path in files(home)
        if path.name in named and stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert open_to_others == {}
    assert stat.S_IMODE((home / "cache" / "stores").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "cache" / "contents").stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_shared_run_has_no_pictures_and_says_what_it_lacks(house):
    home, said = house
    shared = files(home / "shared")
    assert not {path.name for path in shared} & set(LEFT_OUT)
    pages = [path for path in shared if path.name == "report.html"]
    assert len(pages) == 4
    assert all("data:image" not in page.read_text() for page in pages)
    [text] = [text for name, text in said.items() if name.startswith("share")]
    for name in ("splits.json", "features.npz", "predictions.npz", "pictures.npz", "desk.json"):
        assert f"left out: {name}: {LEFT_OUT[name]}" in text


@pytest.mark.slow
def test_a_group_that_is_left_out_is_revealed_at_the_desk(house):
    home, _ = house
    results = [json.loads(path.read_text())["data"] for path in (home / "runs").glob("csv-*/result.json")]
    [name] = [data["fold"]["left_out"] for data in results if data["fold"]]
    answer = CliRunner().invoke(main, ["reveal", name])
    assert answer.output.startswith(f"{name}: MUELLER^Anna^19530412^")
    unknown = CliRunner().invoke(main, ["reveal", "patient-000000000000"])
    assert unknown.exit_code == 1
    assert "is not known" in unknown.output


@pytest.mark.slow
def test_the_audit_shows_names_when_asked(house, monkeypatch):
    home, _ = house
    monkeypatch.setenv("MEDSSL_CACHE", str(home / "cache"))
    words = ["audit", "--dataset", "folder", "--data-dir", str(home / "scans"), *PATTERN, "--names"]
    assert "MRN7700b_MUELLER_19530412_copy.png" in CliRunner().invoke(main, words).output
