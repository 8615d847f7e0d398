"""The tutorials' own packages, written from the tutorials' text, installed beside medssl and run: no core edit."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medssl.contracts import Classes, Features, Findings, Task
from medssl.errors import DataError

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
PAGES = {
    "align_uniform": "method-plugin.md",
    "malaria": "dataset-plugin.md",
    "prototypes": "evaluator-plugin.md",
    "conv4": "encoder-plugin.md",
    "ressl": "teacher-and-queue.md",
    "sqlite": "tracker-plugin.md",
    "ward_xrays": "table-dataset.md",
}
KINDS = {
    "align_uniform": "method",
    "malaria": "dataset",
    "prototypes": "evaluator",
    "conv4": "encoder",
    "ressl": "method",
    "sqlite": "tracker",
    "ward_xrays": "dataset",
}
EACH_KIND = ("method", "dataset", "encoder", "evaluator", "reader", "tracker", "launcher")
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def files_in(page: str) -> dict[str, str]:
    """Read the files that a tutorial has its reader write: code blocks with a caption, text by name."""
    text = (TUTORIALS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```\{code-block\} \w+\n:caption: (\S+)\n\n?(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len({name for name, _ in found}) == len(found), "a tutorial shows one file twice"
    return dict(found)


def write_package(folder: Path, page: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files_in(page).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_cells(root: Path) -> None:
    """Write 2 classes x 6 patients x 5 cells of 24 px under the official names."""
    rng = np.random.default_rng(0)
    for offset, name in enumerate(("Uninfected", "Parasitized")):
        folder = root / "cell_images" / name
        folder.mkdir(parents=True)
        for patient in range(6):
            for cell in range(5):
                image = np.full((24, 24, 3), 200, np.uint8)
                if offset:
                    image[8:14, 8:14] = (90, 20, 120)
                noisy = np.clip(image + rng.integers(-40, 40, image.shape), 0, 255).astype(np.uint8)
                file = f"C{100 + 10 * offset + patient}P{patient}ThinF_IMG_20150918_1441_cell_{cell}.png"
                Image.fromarray(noisy).save(folder / file)


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_examples_are_what_the_tutorials_build(name: str, page: str) -> None:
    folder = EXAMPLES / f"medssl-{name.replace('_', '-')}"
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.*") if p.is_file()} == files_in(page)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_tutorials_begin_with_what_new_writes(name: str, kind: str, tmp_path: Path) -> None:
    from medssl.scaffold.package import write_package as write_new

    written = write_new(kind, name, tmp_path) / "pyproject.toml"
    assert written.read_text() == files_in(PAGES[name])["pyproject.toml"]


def test_method_and_dataset_take_under_eighty_lines() -> None:
    plugins = [files_in(PAGES[name])[f"medssl_{name}.py"] for name in ("align_uniform", "malaria")]
    assert sum(bool(line.strip()) for text in plugins for line in text.splitlines()) < 80


def test_evaluator_takes_about_forty_lines() -> None:
    assert sum(bool(line.strip()) for line in files_in(PAGES["prototypes"])["medssl_prototypes.py"].splitlines()) <= 40


def test_readme_shows_the_tutorials_method() -> None:
    readme = (TUTORIALS.parents[1] / "README.md").read_text(encoding="utf-8")
    body = files_in(PAGES["align_uniform"])["medssl_align_uniform.py"].split('"""', 2)[2].strip()
    assert body in readme


def test_tutorial_method_is_the_papers_loss(tmp_path: Path) -> None:
    """Against a float64 loop over pairs (Wang & Isola 2020, section 4.1)."""
    import torch

    package = write_package(tmp_path / "package", PAGES["align_uniform"])
    plugin = import_file(package / "medssl_align_uniform.py").AlignUniform
    task = Task(feature_dim=4, num_samples=5, target=Classes(("a", "b")), image_size=8, batch_size=5, total_steps=1)
    method = plugin(plugin.Config(), torch.nn.Identity(), task)
    method.head = torch.nn.Identity()
    views = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = (view / view.norm(dim=1, keepdim=True) for view in views)
    alignment = sum(((a - b) ** 2).sum() for a, b in zip(x, y, strict=True)) / 5
    pairs = [(i, j) for i in range(5) for j in range(i)]
    spread = [math.log(sum(math.exp(-2 * ((z[i] - z[j]) ** 2).sum()) for i, j in pairs) / len(pairs)) for z in (x, y)]
    loss = method.loss(SimpleNamespace(views=views), lambda features: features)
    assert loss.item() == pytest.approx(float(alignment) + sum(spread) / 2)


def test_tutorial_method_keeps_the_contract(tmp_path: Path) -> None:
    from medssl.conformance import check_plugin

    package = write_package(tmp_path / "package", PAGES["align_uniform"])
    check_plugin("method", import_file(package / "medssl_align_uniform.py").AlignUniform)


def test_tutorial_dataset_keeps_the_contract_and_finds_the_patients(tmp_path: Path) -> None:
    from medssl.conformance import check_plugin

    package = write_package(tmp_path / "package", PAGES["malaria"])
    plugin = import_file(package / "medssl_malaria.py").Malaria
    check_plugin("dataset", plugin)
    write_cells(tmp_path / "data")
    samples = plugin(plugin.Config(), tmp_path / "data").index().samples
    assert len(samples) == 60
    assert {sample.group for sample in samples if sample.y == 1} == {f"C{n}" for n in range(110, 116)}


def test_tutorial_dataset_reads_the_real_images(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    package = write_package(tmp_path / "package", PAGES["malaria"])
    plugin = import_file(package / "medssl_malaria.py").Malaria
    dataset = plugin(plugin.Config(), real_data("malaria"))
    samples = dataset.index().samples
    assert len({sample.group for sample in samples}) == 200
    assert dataset.read(samples[0]).ndim == 3


def test_tutorial_evaluator_keeps_the_contract(tmp_path: Path) -> None:
    from medssl.conformance import check_plugin

    package = write_package(tmp_path / "package", PAGES["prototypes"])
    check_plugin("evaluator", import_file(package / "medssl_prototypes.py").Prototypes)


def test_teacher_and_queue_method_is_the_papers_loss(tmp_path: Path) -> None:
    """Against a float64 loop (Zheng et al. 2021, section 3); then the queue holds the targets, the oldest first."""
    import torch

    class Reversed(torch.nn.Module):
        """Makes the teacher another network than the student."""

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.flip(1)

    package = write_package(tmp_path / "package", PAGES["ressl"])
    plugin = import_file(package / "medssl_ressl.py").Ressl
    task = Task(feature_dim=128, num_samples=7, target=Classes(("a", "b")), image_size=8, batch_size=3, total_steps=1)
    method = plugin(plugin.Config(), torch.nn.Identity(), task)
    method.head = torch.nn.Identity()
    method.teacher.heads = torch.nn.Sequential(Reversed())
    views = torch.randn(2, 3, 128, generator=torch.Generator().manual_seed(0))
    queue = method.queue.rows.clone()
    assert queue.shape == (7, 128)
    loss = method.loss(SimpleNamespace(views=views), lambda features, *_: features)

    def distribution(z: np.ndarray, temperature: float) -> np.ndarray:
        weights = np.array([math.exp((z / np.linalg.norm(z)) @ row / temperature) for row in queue.double().numpy()])
        return weights / weights.sum()

    first, second = views.double().numpy()
    second = second[:, ::-1]
    expected = [
        -sum(w * math.log(f) for w, f in zip(distribution(t, 0.04), distribution(s, 0.1), strict=True))
        for s, t in zip(first, second, strict=True)
    ]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)
    unit = torch.nn.functional.normalize(views[1].flip(1), dim=1)
    assert torch.allclose(method.queue.rows, torch.cat([queue[3:], unit]), atol=1e-6)


@pytest.mark.parametrize("name", ["conv4", "ressl", "sqlite", "ward_xrays"])
def test_further_tutorials_keep_the_contract(name: str, tmp_path: Path) -> None:
    from medssl.conformance import check_plugin

    package = write_package(tmp_path / "package", PAGES[name])
    class_name = "".join(word.capitalize() for word in name.split("_"))
    check_plugin(KINDS[name], getattr(import_file(package / f"medssl_{name}.py"), class_name))


def test_tracker_keeps_the_last_value_of_each_epoch(tmp_path: Path) -> None:
    """A continued run replaces the epochs from where it continues; a second run in the same file is kept apart."""
    import sqlite3

    from medssl.contracts import FinishedRun, StartedRun

    package = write_package(tmp_path / "package", PAGES["sqlite"])
    plugin = import_file(package / "medssl_sqlite.py").Sqlite
    file = tmp_path / "runs.sqlite"

    def begin(name: str, first_epoch: int = 0) -> Any:
        tracker = plugin(plugin.Config(file=file))
        tracker.start(StartedRun(name=name, study="s", settings={"seed": 1}, folder=tmp_path, first_epoch=first_epoch))
        return tracker

    stopped = begin("a")
    for epoch in range(3):
        stopped.epoch(epoch, {"loss": 3.0 - epoch})
    continued = begin("a", first_epoch=1)
    continued.epoch(1, {"loss": 7.0})
    continued.finish(FinishedRun(values={"knn/accuracy": 0.5}, files={}))
    begin("b").epoch(0, {"loss": 9.0})
    database = sqlite3.connect(file)
    assert database.execute("SELECT run, epoch, value FROM epochs ORDER BY run, epoch").fetchall() == [
        ("a", 0, 3.0),
        ("a", 1, 7.0),
        ("b", 0, 9.0),
    ]
    assert database.execute("SELECT run, name, value FROM results").fetchall() == [("a", "knn/accuracy", 0.5)]
    database.close()


TABLE = """file,patient,scanner,effusion,consolidation,nodule
b.png,P1,A,No,yes,
a.png,P0,,yes, no ,no
"""


def test_table_dataset_reads_findings_patients_and_scanners(tmp_path: Path) -> None:
    package = write_package(tmp_path / "package", PAGES["ward_xrays"])
    plugin = import_file(package / "medssl_ward_xrays.py").WardXrays
    (tmp_path / "reports.csv").write_text(TABLE)
    listing = plugin(plugin.Config(), tmp_path).index()
    rows = [(sample.id, sample.y, sample.group, sample.site) for sample in listing.samples]
    assert rows == [("a.png", (1, 0, 0), "P0", None), ("b.png", (0, 1, None), "P1", "A")]
    assert listing.target == Findings(("effusion", "consolidation", "nodule"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("yes, no ", "perhaps,no", r"line 3: 'perhaps' says nothing about a finding\. Write yes, no or nothing"),
        ("patient", "name", "has no column patient"),
        (TABLE, "", "has no column consolidation, effusion"),
        ("P0", "\ud800", "cannot be read"),
    ],
    ids=["word", "column", "empty", "encoding"],
)
def test_table_dataset_explains_a_wrong_table(tmp_path: Path, old: str, new: str, said: str) -> None:
    package = write_package(tmp_path / "package", PAGES["ward_xrays"])
    plugin = import_file(package / "medssl_ward_xrays.py").WardXrays
    (tmp_path / "reports.csv").write_bytes(TABLE.replace(old, new).encode(errors="surrogatepass"))
    with pytest.raises(DataError, match=said):
        plugin(plugin.Config(), tmp_path).index()


def blobs(n: int, seed: int) -> Features:
    """Three overlapping classes in 8 dimensions."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 3
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
    x = (centres[label] + torch.randn(n, 8, generator=generator)) * 7 + 3  # neither centred nor scaled
    return Features(x=x, y=label, target=Classes(("a", "b", "c")))


def test_tutorial_evaluator_is_the_papers_classifier(tmp_path: Path) -> None:
    """Against a float64 loop (Snell et al. 2017, equations 1 and 2), and scikit-learn's nearest centroid."""
    from sklearn.neighbors import NearestCentroid

    package = write_package(tmp_path / "package", PAGES["prototypes"])
    plugin = import_file(package / "medssl_prototypes.py").Prototypes
    train, test = blobs(60, 0), blobs(30, 2)
    outcome = plugin(plugin.Config(distances=("euclidean",), temperatures=(0.3,)), 0).fit(train, blobs(30, 1))
    proba = outcome.predict(test.x).numpy()
    x, label = train.x.double().numpy(), train.y.numpy()
    means = np.stack([x[label == k].mean(axis=0) for k in range(3)])
    unit = 0.3 * np.mean([((row - mean) ** 2).sum() for row in x for mean in means])
    for found, row in zip(proba, test.x.double().numpy(), strict=True):
        weights = [math.exp(-((row - mean) ** 2).sum() / unit) for mean in means]
        assert found == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-5)
    centroids = NearestCentroid().fit(x, label)
    assert (proba.argmax(axis=1) == centroids.predict(test.x.double().numpy())).all()


def test_tutorial_evaluator_chooses_the_distance_on_the_validation_part(tmp_path: Path) -> None:
    """Where the length of a feature says nothing and its direction everything, cosine wins; where both lie on one
    line, lengths are all that there is."""
    import torch

    package = write_package(tmp_path / "package", PAGES["prototypes"])
    plugin = import_file(package / "medssl_prototypes.py").Prototypes
    generator = torch.Generator().manual_seed(0)

    def part(n: int, *, by_direction: bool) -> Features:
        label = torch.arange(n) % 2
        length = 10 ** (3 * torch.rand(n, 1, generator=generator))
        direction = torch.stack([1.0 + 0 * label, 0.1 + 0.2 * label], dim=1)
        x = length * direction if by_direction else (1.0 + label[:, None]) * torch.ones(n, 2) + length / 1e4
        return Features(x=x, y=label, target=Classes(("a", "b")))

    for by_direction, wanted in ((True, "cosine"), (False, "euclidean")):
        train, val = (part(40, by_direction=by_direction) for _ in range(2))
        assert plugin(plugin.Config(), 0).fit(train, val).selected["distance"] == wanted


# -------------------------------------------------------------------------------------- in an environment of its own


class Environment:
    """A virtual environment that sees this one's packages and has some of its own."""

    def __init__(self, path: Path) -> None:
        venv.create(path, with_pip=True, symlinks=True)
        self.python = path / "bin" / "python"
        purelib = self.call("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        here = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        # addsitedir, not the bare path: it follows the links of an editable install too
        lines = "".join(f"import site; site.addsitedir({folder!r})\n" for folder in here)
        (Path(purelib) / "outer.pth").write_text(lines, encoding="utf-8")

    def call(self, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run([self.python, *words], check=False, capture_output=True, text=True, cwd=cwd)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def medssl(self, *words: str, cwd: Path) -> str:
        return self.call("-c", "from medssl.cli import main; main(prog_name='medssl')", *words, cwd=cwd)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    pytest.importorskip("hatchling", reason="hatchling, which builds the tutorials' packages, is not installed")
    try:
        metadata.distribution("medssl")
    except metadata.PackageNotFoundError:
        pytest.skip("medssl runs from its sources and is not installed: its own plugins have no entry points")
    folder = tmp_path_factory.mktemp("third_party")
    made = Environment(folder / "venv")
    packages = [str(write_package(folder / name, page)) for name, page in PAGES.items()]
    install: Sequence[str] = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    made.call(*install, *packages)
    return made


@pytest.mark.slow
def test_installed_plugins_are_listed_with_their_package(environment: Environment, tmp_path: Path) -> None:
    rows = json.loads(environment.medssl("list", "--json", cwd=tmp_path))
    found = {(row["kind"], row["name"]): row["distribution"] for row in rows}
    assert all(row["summary"] for row in rows)
    assert found["method", "align_uniform"] == "medssl-align-uniform"
    assert found["dataset", "malaria"] == "medssl-malaria"
    assert found["evaluator", "prototypes"] == "medssl-prototypes"
    assert found["method", "ressl"] == "medssl-ressl"
    assert found["dataset", "ward_xrays"] == "medssl-ward-xrays"
    assert found["encoder", "conv4"] == "medssl-conv4"
    assert found["tracker", "sqlite"] == "medssl-sqlite"
    assert found["method", "dcl"] == "medssl"


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_installed_plugins_pass_the_check(environment: Environment, name: str, tmp_path: Path) -> None:
    assert "FAIL" not in environment.medssl("check", name, cwd=tmp_path)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """One new package of each kind, written by the command and installed."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the packages, is not installed")
    folder = tmp_path_factory.mktemp("begun")
    made = Environment(folder / "venv")
    names = ["./" + made.medssl("new", kind, f"my_{kind}", cwd=folder).strip() for kind in EACH_KIND]
    made.call("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *names, cwd=folder)
    return made, folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", EACH_KIND)
def test_new_packages_pass_their_tests_and_the_check(begun: tuple[Environment, Path], kind: str) -> None:
    environment, folder = begun
    listed = json.loads(environment.medssl("list", "--json", cwd=folder))
    assert (kind, f"my_{kind}", f"medssl-my-{kind}") in {(r["kind"], r["name"], r["distribution"]) for r in listed}
    assert "FAIL" not in environment.medssl("check", f"my_{kind}", cwd=folder)
    assert " passed" in environment.call(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder / f"medssl-my-{kind}"
    )


@pytest.mark.slow
def test_several_plugins_in_one_package(tmp_path: Path) -> None:
    """Two methods and a dataset, added with ``--into`` and installed as a wheel."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the packages, is not installed")
    made = Environment(tmp_path / "venv")
    plugins = {"one": "method", "two": "method", "scans": "dataset"}
    for name, kind in plugins.items():
        made.medssl("new", kind, name, *(() if name == "one" else ("--into", "medssl-one")), cwd=tmp_path)
    package = "./medssl-one"
    made.call(
        "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", package, cwd=tmp_path
    )
    listed = json.loads(made.medssl("list", "--json", cwd=tmp_path))
    found = {row["name"]: (row["kind"], row["distribution"]) for row in listed}
    for name, kind in plugins.items():
        assert found[name] == (kind, "medssl-one")
        assert "FAIL" not in made.medssl("check", name, cwd=tmp_path)
    assert " passed" in made.call("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path / "medssl-one")


@pytest.mark.slow
def test_new_packages_run_together(begun: tuple[Environment, Path]) -> None:
    environment, folder = begun
    rng = np.random.default_rng(0)
    for name in ("benign", "malignant"):
        (folder / "my_dataset" / "images" / name).mkdir(parents=True)
        for i in range(30):
            image = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
            image.save(folder / "my_dataset" / "images" / name / f"{name}{i // 3}_{i}.png")
    words = [
        "run",
        "--method",
        "my_method",
        "--dataset",
        "my_dataset",
        "--evaluator",
        "my_evaluator",
        "--data-dir",
        ".",
    ]
    small = ["--epochs", "1", "--batch-size", "8", "--image-size", "24", "--device", "cpu", "--json"]
    result = json.loads(environment.medssl(*words, *small, cwd=folder))
    assert result["plugins"]["evaluators"][0]["distribution"] == "medssl-my-evaluator"
    assert result["evaluations"]["my_evaluator"]["selected"]["temperature"] > 0


@pytest.mark.slow
def test_installed_plugins_run_together(environment: Environment, tmp_path: Path) -> None:
    write_cells(tmp_path / "malaria")
    small = ["--epochs", "1", "--batch-size", "8", "--image-size", "24", "--device", "cpu"]
    option = ["--set", "method.uniformity=0.5"]
    plugins = ["--method", "align_uniform", "--dataset", "malaria", "--evaluator", "prototypes"]
    words = ["run", *plugins, "--data-dir", ".", *small, *option, "--json"]
    result = json.loads(environment.medssl(*words, cwd=tmp_path))
    assert result["plugins"]["method"]["distribution"] == "medssl-align-uniform"
    assert result["plugins"]["dataset"]["distribution"] == "medssl-malaria"
    assert result["recipe"]["method"] == {"plugin": "align_uniform", "alpha": 2.0, "t": 2.0, "uniformity": 0.5}
    assert result["data"]["split"] == "grouped"
    assert sum(result["data"]["groups"].values()) == 12
    assert result["plugins"]["evaluators"][0]["distribution"] == "medssl-prototypes"
    assert result["evaluations"]["prototypes"]["selected"]["distance"] in ("euclidean", "cosine")
