"""What a plugin package's own tests get from three lines."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TESTS = """
import numpy as np
from PIL import Image

from medssl.conformance.pytest import contract_tests
from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.errors import DataError
from medssl.tools import read_image


class Tiles(Dataset):
    def index(self):
        if not list(self.root.glob("*.png")):
            raise DataError(f"{self.root} holds no tiles. They are PNG files. Put them there.")
        samples = [Sample(id=path.name, y=0) for path in sorted(self.root.glob("*.png"))]
        return Listing(samples=samples, target=Classes(("a",)))

    def read(self, sample):
        return read_image(self.root / sample.id)


class Flat(Tiles):
    def read(self, sample):
        return super().read(sample)[..., 0]


def write(folder):
    for number in range(3):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / f"{number}.png")


test_good = contract_tests("dataset", Tiles, files=write)
test_without_files = contract_tests("dataset", Tiles)
test_broken = contract_tests("dataset", Flat, files=write)
test_other = contract_tests("method", Tiles)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The tests' output, and the outcome of each by name; in a process of their own, as their author runs them."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-v", "--no-header", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("test_it.py::")]
    return done.stdout, {words[0].removeprefix("test_it.py::"): words[1] for words in lines}


def of(outcomes, test):
    return {name.partition("[")[2].rstrip("]"): outcome for name, outcome in outcomes.items() if name.startswith(test)}


def test_there_is_one_test_per_property(run):
    found = of(run[1], "test_good")
    assert {"keeps_the_signature", "images_can_be_read", "fetch_refuses_a_wrong_file"} <= set(found)
    skipped = {name for name, outcome in found.items() if outcome == "SKIPPED"}
    assert set(found.values()) == {"PASSED", "SKIPPED"}, run[0]
    assert skipped <= {
        "counts_are_the_published_ones",
        "official_test_part_is_apart",
        "fetch_without_a_network_is_explained",
        "fetch_refuses_a_wrong_file",
        "reduced_images_are_the_same",
    }


def test_checks_that_need_files_are_skipped_without_them(run):
    found = of(run[1], "test_without_files")
    assert found["images_can_be_read"] == "SKIPPED"
    assert found["missing_files_are_explained"] == "PASSED"


def test_a_failure_shows_the_message_and_no_inner_frames(run):
    assert [name for name, outcome in of(run[1], "test_broken").items() if outcome == "FAILED"] == [
        "images_can_be_read"
    ]
    assert "read() of 0.png: the result is an array of shape (4, 4)" in run[0]
    assert "conformance/datasets.py" not in run[0]


def test_a_broken_signature_is_a_failed_test(run):
    assert of(run[1], "test_other") == {"keeps_the_signature": "FAILED"}
    assert "Tiles is not a subclass of medssl.contracts.Method" in run[0]


def test_the_kit_works_without_pytest(tmp_path):
    program = "import sys; sys.modules['pytest'] = None; from medssl.conformance import check_plugin"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
