"""One run on each kind of real files: the card is shown, and scikit-learn computes the same numbers again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn import metrics as sk

import medssl
from medssl.cli import main

FAST = [
    *("run", "--method", "dcl", "--epochs", "1", "--image-size", "32", "--backbone", "test_resnet", "--device", "cpu"),
    *("--set", "encoder.stem=standard", "--batch-size", "8", "--set", "evaluate.bootstrap=10"),
    *("--set", "evaluate.pooling=mean", "--evaluator", "knn", "--evaluator", "linear"),
]
KNEE_GROUPS = r"dataset.group_pattern=/(\d+)[LR]\.png"
COVID = ["dataset.against_rest=COVID-19", "dataset.where=[modality == X-ray]"]

# dataset below MEDSSL_DATA, its folder or table, settings, the target, and whether patients have several images
SETS = {
    "dicom": ("ct_contrast_age", "", ["readers.dicom.window=soft"], "classes", True),
    "dicom-quantity": (
        "ct_contrast_age",
        "overview.csv",
        ["dataset.label_column=Age", "dataset.target=quantity", "dataset.unit=years", "readers.dicom.window=file"],
        "quantity",
        True,
    ),
    "findings": ("odir5k", "images.csv", ["dataset.where=[ID < 2000]"], "findings", True),
    "findings-with-lists": ("nih_chestxray14", "", ["dataset.where=[View Position == AP]"], "findings", True),
    "grades": ("knee_oai_kl", "", [KNEE_GROUPS, "train.batch_size=64"], "grades", True),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_CACHE", str(tmp_path / "cache"))


def run(tmp_path: Path, *words: object, settings: list[str] | tuple[str, ...] = ()) -> tuple[medssl.RunResult, str]:
    """Run, and return the result and the output."""
    own = [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(main, [*FAST, *map(str, words), *own, "--output", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    (directory,) = (tmp_path / "runs").iterdir()
    return medssl.load_run(directory), done.output


def values_of_classes(y, p):
    """Accuracy and the like from probabilities ``(n, K)``."""
    decided, present = p.argmax(axis=1), np.unique(y)
    found = {
        "accuracy": sk.accuracy_score(y, decided),
        "f1_macro": sk.f1_score(y, decided, average="macro", labels=present, zero_division=0),
        "f1_weighted": sk.f1_score(y, decided, average="weighted", zero_division=0),
        "balanced_accuracy": np.mean([(decided[y == c] == c).mean() for c in present]),
        "mcc": sk.matthews_corrcoef(y, decided),
        "log_loss": -np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).eps)).mean(),
    }
    if p.shape[1] == 2:
        found["brier"] = sk.brier_score_loss(y, p[:, 1])
        columns = [1]
    else:
        found["brier"] = np.square(p - np.eye(p.shape[1])[y]).sum(axis=1).mean()
        columns = [c for c in present if (y != c).any()]
    if len(present) > 1:
        found["auroc"] = np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in columns])
        found["average_precision"] = np.mean([sk.average_precision_score(y == c, p[:, c]) for c in columns])
    return found


def values_of_grades(y, p):
    decided = p.argmax(axis=1)
    found = {
        "kappa_quadratic": sk.cohen_kappa_score(y, decided, weights="quadratic"),
        "mean_absolute_error": sk.mean_absolute_error(y, decided),
    }
    return {**values_of_classes(y, p), **found}


def values_of_findings(y, p):
    """Means over the findings with both outcomes, of the images with a known outcome."""
    lists = {name: [] for name in ("auroc", "average_precision", "brier")}
    for column in range(y.shape[1]):
        known = ~np.isnan(y[:, column])
        if not known.any():
            continue
        true, scores = y[known, column] > 0, p[known, column].astype(np.float64)
        lists["brier"].append(np.square(scores - true).mean())
        if 0 < true.sum() < len(true):
            lists["auroc"].append(sk.roc_auc_score(true, scores))
            lists["average_precision"].append(sk.average_precision_score(true, scores))
    return {name: np.mean(values) for name, values in lists.items()}


def values_of_quantity(y, p):
    y, guess = y.astype(np.float64), p[:, 0].astype(np.float64)
    covariance = np.cov(y, guess, bias=True)
    apart = covariance[0, 0] + covariance[1, 1] + (y.mean() - guess.mean()) ** 2
    return {
        "mean_absolute_error": sk.mean_absolute_error(y, guess),
        "rmse": sk.root_mean_squared_error(y, guess),
        "r2": sk.r2_score(y, guess),
        "concordance": 2 * covariance[0, 1] / apart,
    }


VALUES = {
    "classes": values_of_classes,
    "grades": values_of_grades,
    "findings": values_of_findings,
    "quantity": values_of_quantity,
}


def known(y):
    """Whether anything is known of each image."""
    return y >= 0 if y.dtype.kind == "i" else ~np.isnan(y.reshape(len(y), -1)).all(axis=1)


def pooled(kind, y, p, groups):
    """The value and the mean prediction of each group, one at a time; groups of several classes are left out."""
    values, means = [], []
    for group in dict.fromkeys(groups):
        rows = [i for i, other in enumerate(groups) if other == group]
        own = y[rows]
        if kind == "findings":
            present, absent = (own == 1).any(axis=0), (own == 0).all(axis=0)
            value = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
        elif kind == "classes" and len(set(own.tolist())) > 1:
            continue
        else:
            value = own.mean() if kind == "quantity" else own.max()
        mean = p[rows].astype(np.float64).mean(axis=0)
        values.append(value)
        means.append(mean / mean.sum() if kind == "classes" else mean)
    return np.array(values), np.array(means)


def compare(kind, scores, y, p):
    expected = VALUES[kind](y, p)
    assert len(expected) > 2
    for name, value in expected.items():
        assert scores[name].value == pytest.approx(value, abs=2e-6), name


def check_numbers(result: medssl.RunResult, *, grouped: bool) -> None:
    """Compare every evaluator's scores, by image and by group, with those from ``predictions.npz``."""
    kind, found = result.data.target.kind, result.predictions()
    rows = known(found.y)
    y, groups = found.y[rows], [group or i for i, group in enumerate(found.groups)]
    groups = [group for group, row in zip(groups, rows, strict=True) if row]
    for name in ("knn", "linear"):
        scores, p = result.scores[name], found.by_evaluator[name][rows]
        assert scores.n == len(y)
        compare(kind, scores, y, p)
        per_group = scores.per_group
        assert (per_group is not None) == grouped
        if per_group is not None:
            values, means = pooled(kind, y, p, groups)
            assert per_group.n == known(values).sum() < len(y)
            compare(kind, per_group, values, means)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_a_set_runs_as_it_lies_there(real_data, tmp_path, name):
    folder, place, settings, kind, grouped = SETS[name]
    if name.startswith("dicom"):
        pytest.importorskip("pydicom")
    result, output = run(tmp_path, "--data", real_data(folder) / place, settings=settings)
    assert "is read by the dataset" in output
    assert f"labels   {kind}" in output
    assert result.data.target.kind == kind
    check_numbers(result, grouped=grouped)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "extra"), [("dicom_samples", "pydicom"), ("nifti", "nibabel")])
def test_files_without_labels_are_learned_from_and_not_scored(real_data, tmp_path, name, extra):
    pytest.importorskip(extra)
    source, folder = real_data(name), tmp_path / "files"
    for file in [*source.rglob("*.dcm"), *source.rglob("*.nii*")]:
        (folder / file.name).parent.mkdir(exist_ok=True)
        (folder / file.name).symlink_to(file)
    result, output = run(tmp_path, "--data", folder, settings=["readers.nifti.frames=::8"])
    assert "labels   none" in output
    assert "nothing was scored" in output
    assert not result.scores
    assert result.data.images > 30
    assert (result.path / "encoder.safetensors").is_file()


@pytest.mark.slow
def test_masks_beside_the_images_are_left_out(real_data, tmp_path):
    source, folder = real_data("busi/Dataset_BUSI_with_GT"), tmp_path / "busi"
    for label in ("benign", "malignant", "normal"):
        (folder / label).mkdir(parents=True)
        for file in sorted((source / label).glob("*.png"))[:60]:
            (folder / label / file.name).symlink_to(file)
            Image.new("1", (8, 8)).save(folder / label / f"{file.stem}_mask.png")
    result, output = run(tmp_path, "--data", folder)
    assert "180 masks" in output
    assert result.data.images == 180
    check_numbers(result, grouped=False)


@pytest.mark.slow
def test_official_names_of_histology_keep_their_slides_together(real_data, tmp_path):
    with (real_data("names") / "breast_400X.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::6]
    for number, row in enumerate(rows):
        place = f"BreaKHis_v1/histology_slides/breast/{row['class']}/SOB/{row['subtype']}/{row['slide_folder']}/400X"
        (tmp_path / "images" / place).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / place / row["filename"])
    result, _ = run(tmp_path, "--dataset", "breast", "--data-dir", tmp_path / "images")
    assert result.data.images == len(rows)
    split = result.split()
    parts = [{split.groups[name] for name in part} for part in (split.train, split.val, split.test)]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    check_numbers(result, grouped=True)


@pytest.mark.slow
def test_a_pair_of_hospitals(real_data, tmp_path):
    here, there = real_data("covid_chestxray"), real_data("covid_actualmed")
    settings = [*COVID, "external.spain.labels={No finding: not COVID-19}"]
    result, output = run(tmp_path, "--data", here, "--external", f"spain={there}", settings=settings)
    assert "external test set spain" in output
    check_numbers(result, grouped=True)
    arrays, spain = np.load(result.path / "external.npz"), result.external["spain"]
    y, groups = arrays["spain/y"], arrays["spain/group"].tolist()
    assert spain.images == len(y) == 44  # 10 of the 54 have no label
    for name in ("knn", "linear"):
        compare("classes", spain.scores[name], y, arrays[f"spain/{name}"])
        values, means = pooled("classes", y, arrays[f"spain/{name}"], groups)
        compare("classes", spain.scores[name].per_group, values, means)
