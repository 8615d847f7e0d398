"""``medssl report``, from the outside."""

import pytest
from click.testing import CliRunner

from medssl.cli import main


def test_a_folder_without_runs_ends_in_one_line(tmp_path):
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 1
    assert "there is no finished run in" in result.output
    assert "Traceback" not in result.output


def test_no_runs_named_is_a_question_of_usage():
    assert CliRunner().invoke(main, ["report"]).exit_code == 2


@pytest.mark.slow
def test_two_small_runs_end_in_a_report(tmp_path):
    runs, output = tmp_path / "runs", tmp_path / "report"
    common = ["--dataset", "phantom", "--image-size", "16", "--evaluator", "knn", "--output", str(runs)]
    common += ["--backbone", "resnet10t", "--epochs", "1", "--set", "dataset.patients_per_class=4", "--device", "cpu"]
    for method in ("random", "simclr"):
        assert CliRunner().invoke(main, ["run", "--method", method, "--batch-size", "8", *common]).exit_code == 0
    result = CliRunner().invoke(main, ["report", str(runs), "--output", str(output)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "report.html" in result.output.splitlines()
    assert str(tmp_path) not in result.output
    page = (output / "report.html").read_text()
    assert "On these" in page
    assert "<h3>Nearest neighbours</h3>" in page
