"""Scripts, formulas, escapes of terminals and marks of direction in names: shown as text wherever they arrive."""

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from medssl.cli import main

pytestmark = pytest.mark.slow

SCRIPT = '<script>document.title="owned"</script>'
IMAGE = '"><img src=x onerror="document.title=`owned`">'
CLASSES = (
    SCRIPT,
    IMAGE,
    "=cmd|' /C calc'!A0",
    "a/b\x1b[31m",
    "$\\frac$ \u202egnp",
    "</title></script><svg onload=alert(1)>",
)
CATALOGUE = "methods:\n  random:\n    summary: 'baseline; </script><script>document.title=\"owned\"</script>'\n"


class Elements(HTMLParser):
    """Collects elements and their attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    home = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    with (home / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group"])
        for number in range(48):
            name = f"{number} <script>alert(1)<.png"
            Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(home / name)
            rows.writerow([name, CLASSES[number % len(CLASSES)], f"{IMAGE} {number // 6}"])
    (home / "catalogue.yaml").write_text(CATALOGUE)
    words = ["--dataset", "csv", "--data-dir", str(home), "--split", "random", "--image-size", "32", "--device", "cpu"]
    words += ["--backbone", "test_resnet", "--batch-size", "8", "--evaluator", "knn", "--set", "evaluate.bootstrap=20"]
    words += ["--catalog", str(home / "catalogue.yaml"), "--output", str(home / "runs")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_CACHE", str(home / "cache"))
        run = CliRunner().invoke(main, ["run", "--method", "random", *words], catch_exceptions=False)
        assert run.exit_code == 0, run.output
        made = CliRunner().invoke(
            main,
            ["report", str(home / "runs"), "--output", str(home / "report"), *words[-4:-2]],
            catch_exceptions=False,
        )
        assert made.exit_code == 0, made.output
        audit = CliRunner().invoke(main, ["audit", *words[:6]], catch_exceptions=False)
    return home, run.stdout + made.stdout + audit.stdout


def test_the_page_holds_no_element_of_a_name(report):
    home, _ = report
    for page in home.glob("r*/**/report.html"):
        text = page.read_text()
        elements = Elements()
        elements.feed(text)
        scripts = [attrs for tag, attrs in elements.found if tag == "script"]
        assert [attrs for attrs in scripts if attrs.get("type") != "application/json"] == [{}]
        assert not [attrs for _, attrs in elements.found if any(name.startswith("on") for name in attrs)]
        assert not [attrs for tag, attrs in elements.found if tag == "img" and attrs.get("src") == "x"]
        assert "\u202e" not in text
        assert "\x1b" not in text


def test_figures_and_tables_are_written_and_hold_no_formula(report):
    home, _ = report
    figures = [path.name for path in (home / "report" / "figures").iterdir()]
    assert figures
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+\.svg", name) for name in figures)
    for table in (home / "report").glob("*.csv"):
        with table.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "\t")) or re.match(r"[+-][^\d.]", cell)]


def test_a_terminal_gets_no_escapes(report):
    _, said = report
    assert said
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "a/b\\x1b[31m" in said


def test_what_is_shown_of_a_catalogue_and_of_a_table_holds_no_escapes(report):
    home, _ = report
    steering = home / "steering.yaml"
    steering.write_text('methods:\n  random:\n    summary: "a\\e[31m b\\u202e"\n    notes: "c\\e]0;x\\a"\n')
    for words in (["show", "method", "random"], ["list", "methods"], ["show", "data", str(home / "table.csv")]):
        shown = CliRunner().invoke(main, [*words, "--catalog", str(steering)], color=True, catch_exceptions=False)
        assert shown.exit_code == 0, shown.output
        assert not re.search("[\x1b\x07\u202e]", shown.output)
        assert "[31m" in shown.output


def test_predictions_hold_no_formula(report, monkeypatch):
    home, _ = report
    monkeypatch.setenv("MEDSSL_CACHE", str(home / "cache"))
    [run] = (home / "runs").iterdir()
    (home / "new").mkdir()
    shutil.copy(home / "0 <script>alert(1)<.png", home / "new" / "=1+1.png")
    monkeypatch.chdir(home / "new")
    words = ["predict", str(run), "=1+1.png", "--device", "cpu", "--group-pattern", "(=1)"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for name in ("predictions.csv", "predictions_groups.csv"):
        with (home / "new" / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert [cell for cell in cells if cell.startswith("'=1")]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "\t")) or re.match(r"[+-][^\d.]", cell)]


def dom_of(page: str, profile: Path, *more: str) -> str | None:
    """What a browser makes of a page; ``None`` if none works here: in some containers it cannot start."""
    for name in ("chromium-headless-shell", "chromium", "google-chrome"):
        if shutil.which(name):
            words = [
                name,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                *more,
                "--dump-dom",
                page,
            ]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
            except subprocess.TimeoutExpired:
                continue
            if "</html>" in done.stdout:
                return done.stdout
    return None


def test_no_script_of_a_name_runs_in_a_browser(report):
    home, _ = report
    if dom_of("data:text/html,<title>empty</title>", home / "profile") is None:
        pytest.skip("no browser works here")
    shown = dom_of((home / "report" / "report.html").as_uri(), home / "profile")
    assert shown is not None
    title = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert title is not None
    assert title[1].endswith("medssl")
    assert "owned" not in title[1]


PHONE = """<!doctype html><title>not measured</title>
<iframe id="phone" src="PAGE" style="width: 390px; height: 800px; border: 0"></iframe>
<script>
document.getElementById("phone").onload = (event) => {
  const page = event.target.contentDocument;
  const wide = [...page.querySelectorAll("table")].map((table) => [table, table.closest(".wide")]);
  const cut = wide.filter(([table, box]) => !box || (table.offsetWidth > box.clientWidth
    && page.defaultView.getComputedStyle(box).overflowX !== "auto"));
  const scrolled = wide.filter(([table, box]) => box && table.offsetWidth > box.clientWidth);
  document.title = [page.documentElement.scrollWidth, wide.length, cut.length, scrolled.length].join(" ");
};
</script></html>"""


def test_wide_tables_on_phones_are_not_cut_in_a_browser(report, tmp_path):
    home, _ = report
    around = tmp_path / "around.html"
    around.write_text(PHONE.replace("PAGE", (home / "report" / "report.html").as_uri()))
    shown = dom_of(around.as_uri(), tmp_path / "profile", "--allow-file-access-from-files")
    if shown is None:
        pytest.skip("no browser works here")
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title is not None
    width, tables, cut, scrolled = map(int, title[1].split())
    assert width <= 390
    assert tables >= 4
    assert cut == 0
    assert scrolled >= 1  # the classes of this page have long names
