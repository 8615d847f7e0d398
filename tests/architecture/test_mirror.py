"""Each module of the core has a test file of its name, or is listed here with the file that tests it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted(path for path in (ROOT / "medssl").rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))

#: By module, or by folder for all of its other modules: the test file.
COVERED = {
    "catalog": "catalog/test_catalog.py",
    "cli/catalogue.py": "cli/test_main.py",
    "cli/fetch.py": "cli/test_main.py",
    "cli/encoder.py": "encoders/test_convert.py",
    "cli/embed.py": "export/test_embedding.py",
    "cli/launching.py": "study/launch/test_remote.py",
    "cli/options.py": "cli/test_run_command.py",
    "cli/report.py": "cli/test_report_command.py",
    "cli/reveal.py": "integration/test_privacy.py",
    "cli/run.py": "cli/test_run_command.py",
    "cli/share.py": "integration/test_privacy.py",
    "cli/tune.py": "study/search/test_tuning.py",
    "cli/study_table.py": "cli/test_bench.py",
    "cli/views.py": "cli/test_show_views.py",
    "cli/work.py": "study/launch/test_remote.py",
    "conformance/datasets.py": "conformance/test_dataset_checks.py",
    "conformance/devices.py": "conformance/test_method_checks.py",
    "conformance/encoders.py": "encoders/test_checks.py",
    "conformance/evaluators.py": "conformance/test_evaluator_checks.py",
    "conformance/fetching.py": "conformance/test_dataset_checks.py",
    "conformance/launchers.py": "conformance/test_launcher_checks.py",
    "conformance/methods.py": "conformance/test_method_checks.py",
    "conformance/pytest.py": "conformance/test_contract_tests.py",
    "conformance/readers.py": "readers/test_pillow.py",
    "conformance/running.py": "conformance/test_kit.py",
    "conformance/toy.py": "conformance/test_method_checks.py",
    "conformance/trackers.py": "conformance/test_tracker_checks.py",
    "conformance/training.py": "conformance/test_method_checks.py",
    "contracts": "contracts/test_first_edition.py",
    "contracts/crossing": "contracts/test_crossing.py",
    "contracts/kinds.py": "architecture/test_kinds.py",
    "contracts/options.py": "recipe/test_options.py",
    "contracts/targets": "contracts/test_targets.py",
    "contracts/views.py": "contracts/test_augmentation.py",
    "data/audit/duplicates.py": "data/audit/test_findings.py",
    "data/audit/looks.py": "data/audit/test_seen.py",
    "data/audit/overlap.py": "data/audit/test_seen.py",
    "data/origin.py": "integration/test_run.py",
    "data/split": "data/split/test_splits.py",
    "data/split/split_of.py": "cli/test_evaluate_seen.py",
    "data/store": "data/store/test_store.py",
    "data/understanding.py": "cli/test_card.py",
    "data/views": "data/views/test_engine.py",
    "data/views/ops": "data/views/test_colour.py",
    "discovery": "discovery/test_finding.py",
    "errors.py": "integration/test_bad_input.py",
    "evaluation/metrics": "evaluation/test_metrics.py",
    "evaluation/predictions.py": "study/results/test_comparisons.py",
    "evaluation/uncertainty/paired.py": "study/results/test_paired.py",
    "export": "test_api.py",
    "export/documents": "export/documents/test_checklist.py",
    "preview": "preview/test_view_sheet.py",
    "recipe": "recipe/test_recipe.py",
    "report": "report/test_study_report.py",
    "report/figures": "report/figures/test_scores.py",
    "report/words": "report/words/test_answer.py",
    "results": "results/test_arrays.py",
    "runs": "integration/test_run.py",
    "runs/pictures": "runs/pictures/test_pictures.py",
    "runs/stages": "integration/test_run.py",
    "runs/kept": "integration/test_run.py",
    "runs/stages/seen.py": "cli/test_evaluate_seen.py",
    "scaffold": "cli/test_new.py",
    "study/launch/following.py": "study/launch/test_crew.py",
    "study/launch/job.py": "study/launch/test_remote.py",
    "study/launch/task.py": "study/launch/test_remote.py",
    "study/launch/workers.py": "study/launch/test_crew.py",
    "study/missing.py": "study/test_grid.py",
    "study/schedule": "integration/test_study.py",
    "tools": "tools/test_downloading.py",
    "train/encoder": "encoders/test_timm.py",
    "train/loop": "train/loop/test_trainer.py",
    "train/machine": "train/machine/test_device.py",
    "world": "world/test_equal.py",
}


def covering(path: Path) -> Path:
    """Return the test file of a module: its namesake, else the one that is listed for it or for its folder."""
    inner = path.relative_to(ROOT / "medssl")
    namesake = ROOT / "tests" / inner.parent / f"test_{inner.name}"
    if namesake.exists():
        return namesake
    listed = COVERED.get(inner.as_posix()) or COVERED.get(inner.parent.as_posix())
    assert listed, f"write tests/{inner.parent}/test_{inner.name}, or list the file that tests {inner} in COVERED"
    return ROOT / "tests" / listed


def test_every_module_has_a_test() -> None:
    assert [path for path in CORE if not covering(path).is_file()] == []


def test_the_list_names_what_exists_and_has_no_namesake() -> None:
    for listed in COVERED:
        place = ROOT / "medssl" / listed
        assert place.exists(), listed
        if place.is_file():
            assert not (ROOT / "tests" / Path(listed).parent / f"test_{place.name}").exists(), listed
