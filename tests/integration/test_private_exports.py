"""What other commands write names no one: predictions, searches, exports, trackers, other hospitals, failed studies.

As ``test_privacy.py``, with identifiers also in columns, sites, headers of images, the user's name and the computer's.
"""

import csv
import getpass
import json
import os
import socket
import stat
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medssl.cli import main
from medssl.io.identities import private_id
from medssl.report.sharing import LEFT_OUT

PLANTED = ("MUELLER", "MRN77", "19530412", "sankt_georg", "dr_meier", "Station9", "Anna", "Georgsklinik", "georg-pc")
PATHS = ("dr_meier", "sankt_georg", "georg-pc")
DESK = (*LEFT_OUT, "study.json", "search.json", "trials.log", "new.csv", "new_groups.csv", "table.csv")
SMALL = ["--image-size", "32", "--backbone", "test_resnet", "--batch-size", "8", "--evaluator", "linear"]
SMALL += ["--set", "evaluate.bootstrap=20", "--device", "cpu"]
TABLE = ["--split", "grouped", "--set", "dataset.site_column=site", "--set", "evaluate.least_groups=1"]
#: SQLAlchemy warns of what MLflow does
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
EXTRAS = {"tensorboard": "tensorboard", "mlflow": "mlflow", "onnx": "onnxscript", "croissant": "mlcroissant"}
EXTRAS |= {"tune": "optuna", "wandb": "wandb"}


def plant(folder, table, patients, *, broken=False):
    """Write images with identifiers in names and headers, and a table of them with more in its columns."""
    rng = np.random.default_rng(patients)
    rows = []
    for patient in range(patients):
        kind = ("benign", "malign")[patient % 2]
        place = folder / kind / f"Station9_Anna_{patients}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            name = f"MRN77{patient:02d}_MUELLER_19530412_{patients}_{number}.png"
            said = PngInfo()
            said.add_text("Patient", "MUELLER^Anna 19530412")
            pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(place / name, pnginfo=said)
            person = f"MUELLER^Anna^19530412^{patients}.{patient}"
            row = (
                str((place / name).relative_to(folder)),
                kind,
                person,
                f"Georgsklinik {patient // 2 % 2}",
                "Anna",
                "19530412",
            )
            rows.append(row)
    if broken:
        (folder / rows[0][0]).write_bytes(b"\x89PNG\r\n\x1a\n no image")
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group", "site", "name", "birth"), *rows])


def has(extra):
    return extra not in EXTRAS or find_spec(EXTRAS[extra]) is not None


class House:
    """A folder with planted data, and a run on it; keeps what every command writes to standard output."""

    def __init__(self, home):
        self.home, self.said = home, {}
        home.mkdir(parents=True)
        self.table, self.torn = home / "MUELLER_table.csv", home / "MUELLER_torn.csv"
        plant(home / "scans", self.table, 24)
        plant(home / "scans2", home / "MUELLER_other.csv", 10)
        plant(home / "torn", self.torn, 12, broken=True)

    def data(self, folder="scans"):
        table = self.table if folder == "scans" else self.torn
        return ["--dataset", "csv", "--data-dir", self.home / folder, "--set", f"dataset.file={table}", *TABLE]

    def call(self, *words, status=0):
        done = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == status, done.output
        assert holds(done.stdout.encode(), PLANTED) == []
        return done

    @property
    def run(self):
        [run] = (self.home / "runs").iterdir()
        return run


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Make one run, with every tracker that is installed and with another hospital's images."""
    house = House(tmp_path_factory.mktemp("exports") / "sankt_georg" / "dr_meier")
    home = house.home
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_CACHE", str(home / "cache"))
        for name in ("USER", "LOGNAME", "USERNAME"):
            patch.setenv(name, "dr_meier")
        patch.setattr(socket, "gethostname", lambda: "georg-pc")
        patch.setattr(getpass, "getuser", lambda: "dr_meier")
        trackers = ["--tracker", "csv"]
        for name in ("tensorboard", "wandb", "mlflow"):
            trackers += ["--tracker", name] if has(name) else []
        trackers += ["--set", f"trackers.mlflow.uri=sqlite:///{home / 'server.db'}"] if has("mlflow") else []
        others = ["--external", f"leiden={home / 'MUELLER_other.csv'}"]
        words = ["--method", "dcl", "--epochs", 1, *house.data(), *SMALL, *trackers, *others]
        patch.chdir(home)  # MLflow puts files beside its database into the current folder
        done = house.call("run", *words, "--output", home / "runs")
        assert "is left out from now on" not in done.output
        yield house


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def holds(content, names):
    """Return the names in some bytes, as UTF-8 or as the UTF-32 of arrays."""
    return [name for name in names if name.encode() in content or name.encode("utf-32-le") in content]


def leaks(house, folder, names=PLANTED):
    """Return the names in the files of a folder that may leave the house, and in what they are called."""
    found = {}
    assert files(house.home / folder)
    for path in files(house.home / folder):
        if path.name not in DESK and path.name != "debug.log":  # of wandb, for its owner alone
            name = str(path.relative_to(house.home))
            held = holds(name.encode(), names) + holds(path.read_bytes(), names)
            found |= {name: held} if held else {}
    return found


@pytest.mark.slow
def test_a_run_with_trackers_and_another_hospital_names_no_one(house):
    assert leaks(house, "runs") == {}


@pytest.mark.slow
@pytest.mark.skipif(not has("mlflow"), reason="mlflow is not installed")
def test_a_server_gets_no_names_and_no_pictures(house):
    place = (str(house.home).encode(), b"")  # MLflow itself notes where its files are
    assert holds((house.home / "server.db").read_bytes().replace(*place), PLANTED) == []
    [page] = (house.home / "mlruns").rglob("report.html")
    assert "data:image" not in page.read_text()
    assert leaks(house, "mlruns") == {}


@pytest.mark.slow
def test_a_report_without_images_and_a_copy_to_share_name_no_one(house):
    house.call("report", house.home / "runs", "--no-images", "--output", house.home / "report")
    house.call("share", house.home / "runs", "--output", house.home / "shared")
    assert leaks(house, "report") == leaks(house, "shared") == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("card", ["card"]),
        ("checklist", ["checklist", "claim"]),
        ("hub", ["hub", "--evaluator", "linear"]),
        ("onnx", ["onnx", "--int8"]),
        ("croissant", ["croissant", "--with-groups"]),
    ],
)
def test_an_export_names_no_one_and_no_folder_of_the_computer(house, form, words):
    if not has(form):
        pytest.skip("its extra is not installed")
    file = {"onnx": "model.onnx", "card": "card.md", "checklist": "claim.md"}.get(form, "")
    house.call("export", house.run, *words, "--output", house.home / form / file)
    here = (str(Path(os.__file__).parent), str(Path(np.__file__).parent), str(Path(__file__).parents[2]))
    assert leaks(house, form, PLANTED + here) == {}
    if form == "croissant":
        split = json.loads((house.run / "splits.json").read_text())
        name = split["parts"]["train"][0]
        with (house.home / form / "samples.csv").open(newline="") as opened:
            rows = {row["id"]: row for row in csv.DictReader(opened)}
        assert rows[private_id("image", name)]["group"] == private_id("group", split["groups"][name])


@pytest.mark.slow
@pytest.mark.skipif(not has("tune"), reason="optuna is not installed")
def test_a_search_names_no_one(house):
    words = [*SMALL, "--method", "dcl", "--epochs", 1, "--trials", 1, "--output", house.home / "search"]
    house.call("tune", *house.data(), *words, "--json")
    house.call("tune", *house.data("torn"), *words, "--json")
    assert leaks(house, "search") == {}
    require_private(house, {"search.json", "trials.log"})


@pytest.mark.slow
def test_a_study_with_a_failed_cell_names_no_one(house):
    words = ["--method", "random", *house.data("torn"), *SMALL, "--output", house.home / "study", "--json"]
    house.call("bench", *words, status=1)
    assert leaks(house, "study") == {}
    require_private(house, {"study.json", "worker.log"})


@pytest.mark.slow
def test_predictions_have_relative_ids(house):
    home = house.home
    new = [home / "scans2", "--group-pattern", r"(MRN77\d+)"]
    house.call("predict", house.run, *new, "--output", home / "new.csv", "--device", "cpu")
    house.call("predict", house.run, "--data", house.table, "--output", home / "table.csv", "--device", "cpu")
    with (home / "new.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert all((home / "scans2" / row["image"]).is_file() for row in rows)
    assert all((home / "scans" / row["nearest_1"]).is_file() for row in rows)
    with (home / "table.csv").open(newline="") as file:
        assert all((home / row["image"]).is_file() for row in csv.DictReader(file))
    require_private(house, {"new.csv", "new_groups.csv", "table.csv", "external.npz"})


def require_private(house, names):
    """Check that files at the desk are the owner's alone, and that those with ids have no absolute paths."""
    desk = [path for path in files(house.home) if path.name in DESK]
    assert names <= {path.name for path in desk}
    if os.name != "nt":
        assert {str(path) for path in desk if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()
    with_paths = ("desk.json", "study.json", "worker.log", "search.json", "trials.log")  # settings and messages
    relative = [path for path in desk if path.name not in with_paths]
    assert {path.name: found for path in relative if (found := holds(path.read_bytes(), PATHS))} == {}
