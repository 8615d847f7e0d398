"""``medssl audit``: the table, the JSON, and what stops it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main
from medssl.io.identities import private_id, revealed


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDSSL_DATA", raising=False)

    def run(*words):
        return CliRunner().invoke(main, ["audit", *words])

    return run


@pytest.fixture
def folder(tmp_path):
    """Two classes; one image of the one is the same as one of the other."""
    rng = np.random.default_rng(0)
    for name in ("benign", "malignant"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 256, (30, 40), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"p{i // 2}_{i:02}.png")
    copy = tmp_path / "images" / "malignant" / "p0_00.png"
    copy.write_bytes((tmp_path / "images" / "benign" / "p3_07.png").read_bytes())
    return tmp_path / "images"


def test_the_table_shows_counts_copies_and_findings(call, folder):
    outcome = call("--dataset", "folder", "--data-dir", str(folder), "--set", r"dataset.group_pattern=(p\d)_")
    assert outcome.exit_code == 0, outcome.output
    lines = [line.split() for line in outcome.stdout.splitlines()]
    assert "split: grouped" in outcome.stdout.splitlines()[0]
    (counts,) = [line for line in lines if line[:1] == ["malignant"]]
    assert counts[-2:] == ["12", "6"]  # images and groups
    assert sum(map(int, counts[1:4])) == 12
    assert "24 images, 0 without a label, 0 in no part" in outcome.stdout
    assert "height 30, width 40 px in 1 shapes, grey, uint8" in outcome.stdout
    assert f"{private_id('image', 'benign/p3_07.png')} (benign, " in outcome.stdout
    assert "p3_07" not in outcome.stdout
    assert "1 set of identical images with several labels" in outcome.stdout


def test_json_holds_everything_and_nothing_else(call, folder):
    outcome = call("--dataset", "folder", "--data-dir", str(folder), "--split", "random", "--json")
    values = json.loads(outcome.stdout)
    assert {revealed(image["id"]) for image in values["equal"][0]} == {
        ("image", "benign/p3_07.png"),
        ("image", "malignant/p0_00.png"),
    }
    assert values["split"] == "random"
    assert values["images"] == 24
    assert values["near"] == []
    assert any("with several labels" in warning for warning in values["warnings"])


def test_the_phantom_has_nothing_to_be_found(call):
    few = ("--set", "dataset.images_per_patient=2", "--set", "dataset.patients_per_class=20")
    outcome = call("--dataset", "phantom", *few)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.rstrip().endswith("findings: none")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dataset", "phantm"), "Did you mean 'phantom'?"),
        ((), "no dataset is named"),
        (("--dataset", "phantom", "--split", "kfold"), "Choose it with --set split.fold=N"),
        (("--dataset", "phantom", "--set", "split.foldd=1"), "Did you mean 'fold'?"),
    ],
)
def test_what_is_missing_or_mistyped_is_said_in_one_sentence(call, words, message):
    outcome = call(*words)
    assert outcome.exit_code == 1
    assert message in outcome.output
    assert "Traceback" not in outcome.output


def test_the_table_of_groups_keeps_copies_on_one_side(call, folder, tmp_path):
    words = ("--dataset", "folder", "--data-dir", str(folder))
    table = tmp_path / "copies.csv"
    first = call(*words, "--groups", str(table))
    assert first.exit_code == 0, first.output
    assert "copies.csv: 2 images in 1 group\n" in first.stderr
    lines = table.read_text().splitlines()
    assert lines[0] == "path,label,group"
    assert len(lines) == 25
    assert "benign/p3_07.png,benign,benign/p3_07.png" in lines
    assert "malignant/p0_00.png,malignant,benign/p3_07.png" in lines
    assert "benign/p0_00.png,benign," in lines

    for seed in range(5):  # in one of them a random split would tear the two apart
        grouped = call(*words, "--set", f"dataset.groups={table}", "--set", f"split.seed={seed}", "--json")
        values = json.loads(grouped.stdout)
        assert values["split"] == "grouped"
        assert len({image["part"] for image in values["equal"][0]}) == 1
        assert "no group" not in grouped.stderr  # the table says so itself

    listed = call("--dataset", "csv", "--data-dir", str(folder), "--set", f"dataset.file={table}", "--json")
    assert json.loads(listed.stdout)["groups"]["count"] == 1


def test_a_table_of_groups_takes_no_files_place(call, folder, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("path,group\n")
    outcome = call("--dataset", "folder", "--data-dir", str(folder), "--groups", str(table))
    assert outcome.exit_code != 0
    assert "mine.csv already exists" in outcome.stderr
    assert table.read_text() == "path,group\n"


def test_a_table_that_a_killed_call_left_is_taken_and_an_edited_one_is_not_replaced(call, folder, tmp_path):
    table = tmp_path / "copies.csv"
    words = ("--dataset", "folder", "--data-dir", str(folder), "--groups", str(table))
    assert call(*words).exit_code == 0
    written = table.read_bytes()
    again = call(*words)
    assert again.exit_code == 0, again.output
    assert "copies.csv: 2 images in 1 group\n" in again.stderr
    assert table.read_bytes() == written
    table.write_bytes(edited := written.replace(b"benign/p3_07.png\n", b"mine\n", 1))
    refused = call(*words)
    assert refused.exit_code == 1
    assert "copies.csv already exists. It is not replaced" in refused.stderr
    assert table.read_bytes() == edited


def test_without_copies_and_groups_there_is_no_table_to_write(call, folder, tmp_path):
    (folder / "malignant" / "p0_00.png").unlink()
    outcome = call("--dataset", "folder", "--data-dir", str(folder), "--groups", str(tmp_path / "copies.csv"))
    assert outcome.exit_code == 0, outcome.output
    assert "is not written" in outcome.stderr
    assert not (tmp_path / "copies.csv").exists()


def test_copies_on_both_sides_lead_to_the_table(call, folder):
    words = ("--dataset", "folder", "--data-dir", str(folder), "--split", "random", "--set")
    outcomes = [call(*words, f"split.seed={seed}").stdout for seed in range(5)]
    torn = ["identical to a" in text for text in outcomes]
    assert torn == ["next: --groups FILE" in text for text in outcomes]
    assert any(torn)


def test_a_large_set_of_duplicates_is_cut_on_the_screen(call, folder):
    black = np.zeros((30, 40), np.uint8)
    for i in range(9):
        Image.fromarray(black).save(folder / "benign" / f"black{i}.png")
    words = ("--dataset", "folder", "--data-dir", str(folder), "--split", "random", "--names")
    (line,) = [line for line in call(*words).stdout.splitlines() if line.startswith("  benign/black")]
    assert [word for word in line.split() if word.startswith("benign/")] == [f"benign/black{i}.png" for i in range(5)]
    assert line.endswith("and 4 more; --json lists all")
    equal = json.loads(call(*words, "--json").stdout)["equal"]
    assert max(map(len, equal)) == 9
