"""The report of a study: whole, self-contained, true to its results, and without empty places."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from medssl.catalog import load_catalog
from medssl.errors import CheckpointError
from medssl.report.missing import Missing, find_runs
from medssl.report.page import template_environment, write_page
from medssl.report.study import write_report
from medssl.results.metrics_table import metric_text
from medssl.study.results.summary import summarise

MISSING = [Missing(name="phantom-dcl-0", dataset="phantom"), Missing(name="x-dcl-1", dataset="x", failure="why")]
VOID = {"meta", "img", "br"}
EVERYTHING = [
    {"batch_size": 4, "seed": 0, "warnings": ["a <tag> & more"]},
    {"batch_size": 4, "seed": 1},
    {"batch_size": 8, "seed": 0},
    {"batch_size": 4, "seed": 0, "fraction": 0.1},
    {"method": "random", "epochs": 0},
]


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps ids, addresses and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [value for key, value in attrs if key in ("src", "href", "xlink:href", "action", "data")]
        if tag == "img":
            assert found["alt"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory, make_run_in):
    folder = tmp_path_factory.mktemp("study")
    runs = [make_run_in(folder / "runs", **options) for options in EVERYTHING]
    paths = write_report(runs, folder / "report", missing=MISSING)
    return runs, folder, paths


@pytest.fixture(scope="module")
def page(report):
    return plain(report[2][0].read_text())


def plain(page):
    """Leave out the marks of intervals, so that cells read as they are seen."""
    return re.sub(r'<span class="ends">(.*?)</span>', r"\1", page)


def test_the_page_is_well_formed_and_fits_a_phone(page):
    found = Page(page)
    assert len(found.ids) == len(set(found.ids))
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_page_needs_no_network(page):
    assert all(address.startswith(("#", "data:")) for address in Page(page).addresses)
    assert all(address.startswith(('"data:', "#")) for address in re.findall(r"url\(([^)]{6})", page))
    assert not re.search(r"@import|https?://(?!www\.w3\.org/2000/svg)", page)


def test_every_address_inside_the_page_leads_somewhere(page):
    found = Page(page)
    inside = {address[1:] for address in found.addresses if address.startswith("#")}
    assert inside <= set(found.ids)


def test_every_part_is_there(page):
    for title in (
        "What limits this answer",
        "Remarks on data and training",
        "Accuracy on the test part",
        "Batch size",
        "Fewer labels",
        "Maps of the test features",
        "Training images and their views",
        "Nearest neighbours",
        "Confusion matrices",
        "Confidence of the predicted class",
        "Pre-training",
        "Data",
        "Results and commands",
    ):
        assert f"<h3>{title}</h3>" in page, title
    assert (
        "Does pre-training with mae help to tell 4 classes apart, compared with random (the untrained encoder)?" in page
    )
    assert "On these" in page
    assert "a &lt;tag&gt; &amp; more" in page
    assert "<summary>2 runs not included: failed or not finished</summary>" in page
    assert "<li>phantom-dcl-0</li><li>x-dcl-1: failed; study.json says why</li>" in page
    assert "1 run is not finished and is not included." in page
    assert "1 run failed" not in page  # that was on another dataset


def test_a_baseline_is_named_with_what_it_is(page):
    assert "random (the untrained encoder)" in page
    assert "(baseline)" not in page


def test_single_runs_are_shown_with_the_numbers_of_their_result(report, page):
    runs, _, _ = report
    values = json.loads((runs[-1].path / "result.json").read_text())
    table = page[page.index('<table class="scores">') :]
    row = table[table.index('<th scope="row">random</th>') :]
    row = row[: row.index("</tr>")]
    for evaluator in ("knn", "linear"):
        assert metric_text(values["evaluations"][evaluator]["accuracy"]) in row


def test_every_number_of_a_table_is_a_mean_of_results(report, page):
    runs, _, _ = report
    seeds = [run.evaluations["knn"]["accuracy"]["value"] for run in runs[:2]]
    row = page[page.index('<th scope="rowgroup" rowspan="2">mae</th><td>4</td>') :]
    row = row[: row.index("</tr>")]
    assert f"{sum(seeds) / 2:.3f}".lstrip("0") in row
    assert "<td>2</td>" in row


def test_confusion_matrices_add_up_the_runs_of_the_shown_row(report, page):
    runs, _, _ = report
    counts = [int(number) for number in re.findall(r"<small>(\d+)</small></td>", page)]
    test = runs[0].values["data"]["test"]
    assert sum(counts) % test == 0
    assert sum(counts) >= 2 * test


def test_maps_bring_their_images(page):
    found = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)[1])
    assert sorted(found["places"]) == list(range(len(found["ids"])))
    assert len(found["ids"]) == len(found["x"]) == len(found["y"]) == len(found["label"]) == len(found["said"])
    assert ".sprite-phantom-grouped" in page


def test_tables_and_figures_lie_beside_the_page(report):
    _, folder, paths = report
    assert paths[0] == folder / "report" / "report.html"
    names = {path.relative_to(folder / "report").as_posix() for path in paths}
    assert {"rows.csv", "runs.csv", "comparisons.csv", "phantom-grouped.tex"} <= names
    figures = [path for path in paths if path.suffix == ".svg"]
    assert {path.name for path in figures} >= {
        "phantom-grouped-scores-knn.svg",
        "phantom-grouped-batch-knn.svg",
        "phantom-grouped-labels-knn.svg",
        "phantom-grouped-map-0.svg",
        "phantom-grouped-loss.svg",
        "phantom-grouped-reliability.svg",
    }
    for path in figures:
        ET.parse(path)


def test_the_same_runs_give_the_same_files(report):
    runs, folder, paths = report
    again = folder / "again"
    assert [path.relative_to(again) for path in write_report(runs, again, missing=MISSING)] == [
        path.relative_to(folder / "report") for path in paths
    ]
    for path in paths:
        assert path.read_bytes() == (again / path.relative_to(folder / "report")).read_bytes()


def test_a_part_without_data_is_left_out(make_run, tmp_path):
    run = make_run(epochs=0)
    for name in ("pictures.npz", "predictions.npz"):
        (run.path / name).unlink()
    for scores in run.evaluations.values():
        del scores["reliability"]
    page = write_report([run], tmp_path / "report")[0].read_text()
    Page(page)
    for title in (
        "Batch size",
        "Fewer labels",
        "Maps",
        "Training images",
        "Nearest",
        "Most confident",
        "Confidence of",
    ):
        assert f"<h3>{title}" not in page
    assert "<figure></figure>" not in page
    assert "mae, seed 0 has no pictures. To make them, run it again with --force." in page


def test_a_report_without_images_holds_none_and_keeps_its_maps(make_run, tmp_path):
    page = write_report([make_run()], tmp_path / "report", images=False)[0].read_text()
    Page(page)
    assert "This page contains no images" in page
    assert "data:image" not in page
    assert "<h3>Maps of the test features</h3>" in page


def test_the_mistakes_are_those_of_the_best_evaluator_and_other_pictures_stay_away(make_run, tmp_path):
    run = make_run()
    run.evaluations["linear"]["accuracy"]["value"] = 1.0
    page = write_report([run], tmp_path / "report")[0].read_text()
    assert "wrong by linear" in page
    assert "wrong by knn" not in page


def test_the_page_says_what_a_baseline_is(page):
    assert "random (the untrained encoder)" in page
    assert "(baseline)" not in page


def test_a_run_has_a_page_of_its_own(make_run):
    run = make_run()
    path = write_page(run, load_catalog())
    assert path == run.path / "report.html"
    page = plain(path.read_text())
    found = Page(page)
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    for title in (
        "Pre-training",
        "Confusion matrices",
        "Confidence of the predicted class",
        "Most confident mistakes",
        "Data",
    ):
        assert f"<h3>{title}</h3>" in page
    for evaluator in ("knn", "linear"):
        assert metric_text(run.evaluations[evaluator]["auroc"]) in page


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_damaged_files_are_left_out_of_a_page(make_run, damage):
    run = make_run()
    for name in ("pictures.npz", "history.jsonl"):
        (run.path / name).write_bytes(damage)
    page = write_page(run, load_catalog()).read_text()
    assert "has no pictures" in page
    assert "<h3>Pre-training</h3>" not in page


def test_a_cell_breaks_on_a_screen_only_before_its_interval():
    page = template_environment().from_string("{{ text | cell }}")
    assert page.render(text=".8 [.7, .9]") == '.8 <span class="ends">[.7, .9]</span>'
    assert page.render(text="<b> [.7]") == '&lt;b&gt; <span class="ends">[.7]</span>'
    assert page.render(text="a b") == "a b"


def test_what_a_sentence_sets_between_backticks_is_code_and_nothing_else_is_markup():
    page = template_environment().from_string("{{ text | coded }}")
    assert page.render(text="`a --b` keeps <b> & `c`") == "<code>a --b</code> keeps &lt;b&gt; &amp; <code>c</code>"
    assert page.render(text="it's a lone ` one") == "it&#39;s a lone ` one"


def test_several_datasets_have_an_answer_each_at_the_top(make_run, tmp_path):
    page = write_report([make_run(), make_run(protocol="random")], tmp_path / "report")[0].read_text()
    found = Page(page)
    assert {"#phantom-grouped", "#phantom-random"} <= set(found.addresses)
    assert page.count("On these") == 2
    assert r"\begin{tabular}" in (tmp_path / "report" / "phantom-random.tex").read_text()


def test_runs_are_found_in_folders_and_by_name(make_run, tmp_path):
    first, second = make_run(), make_run(seed=1)
    (tmp_path / "runs" / "half").mkdir()
    (tmp_path / "runs" / "half" / "recipe.yaml").write_text("{}")
    results, unfinished = find_runs([tmp_path / "runs", first.path])
    assert {result.path for result in results} == {first.path.resolve(), second.path.resolve()}
    assert len(results) == 2
    assert unfinished == [Missing(name="half")]
    assert len(find_runs([second.path])[0]) == 1


def test_a_study_tells_why_a_run_is_missing(make_run, tmp_path):
    first = make_run()
    cells = [
        {"directory": first.path.name, "state": "done"},
        {"directory": "d-simsiam-1", "dataset": "d", "state": "failed", "message": "the loss is no number"},
        {"directory": "d-dcl-2", "state": "pending"},
    ]
    (tmp_path / "runs" / "study.json").write_text(json.dumps({"cells": cells}))
    (found,) = find_runs([tmp_path / "runs"])[1]
    assert (found.name, found.dataset, found.failure) == ("d-simsiam-1", "d", "the loss is no number")


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_runs_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no finished run in"):
        find_runs([tmp_path / name])


def test_a_report_that_cannot_be_written_is_an_error(make_run, tmp_path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot be made"):
        write_report([make_run()], tmp_path / "report")


def test_runs_that_were_moved_together_keep_their_pictures(make_run, tmp_path):
    run = make_run()
    shutil.copytree(run.path.parent, tmp_path / "moved")
    [moved], _ = find_runs([tmp_path / "moved"])
    page = write_report([moved], tmp_path / "report")[0].read_text()
    assert "<h3>Nearest neighbours</h3>" in page


@pytest.mark.parametrize("key", ["environment", "plugins.method.version"])
def test_a_result_without_a_value_is_named(make_run, tmp_path, key):
    """One wrong bit in the name of a value leaves such a file."""
    runs = [make_run(method="simclr"), make_run(method="dcl")]
    *above, name = key.split(".")
    values = runs[1].values
    for part in above:
        values = values[part]
    values[f"{name}x"] = values.pop(name)
    said = (
        f"{runs[1].path / 'result.json'} is damaged, or another version of medssl wrote it: it lacks the value '{name}'"
    )
    with pytest.raises(CheckpointError, match=re.escape(said)):
        write_report(runs, tmp_path / "report")


def test_an_answer_about_patients_is_about_them_everywhere(make_run, tmp_path):
    options = {"patients": 8, "images": 3, "unit": "group"}
    runs = [make_run(accuracy=0.9, **options), make_run(method="random", epochs=0, accuracy=0.4, **options)]
    page, *_ = write_report(runs, tmp_path / "report")
    text = plain(page.read_text())
    n = runs[0].evaluations["knn"]["per_group"]["n"]
    assert f"On these {n} patients with {runs[0].data.test} test images, mae has the highest accuracy" in text
    assert "Scores and tests are per patient." in text
    for title in ("Accuracy per patient on the test part", "Accuracy per image"):
        assert f"<h3>{title}</h3>" in text
    for name in ("knn", "linear"):
        summary = summarise(runs).rows[0].scores[name]["accuracy"]
        alone = runs[0].evaluations[name]["per_group"]["accuracy"]
        assert summary.value == alone["value"]
        assert metric_text(alone) in text
    rows = csv.DictReader((tmp_path / "report" / "rows.csv").read_text().splitlines())
    assert {row["unit"] for row in rows if row["source"] == "measured here"} == {"group"}
    assert "accuracy per patient on the test part" in (tmp_path / "report" / "phantom-grouped.tex").read_text()


def test_the_page_of_one_run_about_patients(make_run, tmp_path):
    run = make_run(patients=8, images=3, unit="group")
    text = plain(write_report([run], tmp_path / "report")[0].read_text())
    n = run.evaluations["knn"]["per_group"]["n"]
    assert f"On these {n} patients with {run.data.test} test images, the accuracy of mae is" in text
    assert "<h3>Test results per patient</h3>" in text
    assert f"Scores are per patient: {n} patients; predictions pooled by mean." in text
    assert "<h3>Per image</h3>" in text
