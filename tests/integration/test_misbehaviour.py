"""Plugins that misbehave: one sentence that names plugin, package, function and file; never a traceback, never harm."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

from medssl.cli import main
from medssl.tools import installed_readers

pytestmark = pytest.mark.slow

HEAD = """
import sys, os, math, threading, time
import numpy as np, torch
from pathlib import Path
from dataclasses import dataclass, field
from medssl.contracts import *
from medssl.contracts import Classes, Dataset, Evaluator, Listing, Method, Observation, Observer, Predictor, Ranker
from medssl.contracts import Sample, ViewGroup, ViewSpec, Reader, FileFacts, Tracker
from medssl.contracts import Built, EncoderCard, EncoderPlugin, Preprocessing
from medssl.contracts.readers import Agreement
from medssl.errors import DataError, OptionError
"""

EVALUATOR = """
class P(Predictor):
    def __init__(self, n, k): self.n, self.k = n, k
    def predict(self, x):
        n, k = len(x), self.k
        ok = torch.full((n, k), 1 / k)
        {predict}
class R(Ranker):
    def __init__(self, n, k): self.n, self.k = n, k
    def rank(self, x):
        n, m = len(x), self.n
        ok = torch.arange(m).repeat(n, 1)
        {rank}
class O(Observer):
    def __init__(self, n, k): self.n, self.k = n, k
    def observe(self, x):
        n = len(x)
        {observe}
class X(Evaluator):
    {attributes}
    def fit(self, train, val):
        n, k = len(train.x), train.target.outputs
        p, r, o = P(n, k), R(n, k), O(n, k)
        {fit}
"""
DEFAULTS = {
    "predict": "return ok",
    "rank": "return ok",
    "observe": "return Observation()",
    "attributes": "pass",
    "fit": "return p",
}

METHOD = """
class X(Method):
    {attributes}
    def __init__(self, config, encoder, task):
        {init}
    def loss(self, batch, encode):
        a, b = encode(batch.views)[:2]
        ok = (self.head(a) - self.head(b)).square().mean()
        {loss}
    def after_step(self, step, total):
        {after}
    {methods}
"""
METHOD_DEFAULTS = {
    "attributes": "pass",
    "init": "super().__init__(config, encoder, task); self.head = torch.nn.Linear(task.feature_dim, 4)",
    "loss": "return ok",
    "after": "pass",
    "methods": "pass",
}

DATASET = """
def make(n=40):
    return [Sample(id=f"{{i}}.png", y=i % 2, group=f"p{{i // 4}}") for i in range(n)]
class X(Dataset):
    {attributes}
    def index(self):
        samples, target = make(), Classes(("a", "b"))
        {index}
    def read(self, sample):
        ok = np.random.default_rng(int(sample.id.split(".")[0])).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        {read}
    def fingerprint(self): {fingerprint}
    def path(self, sample): {path}
    {methods}
"""
DATASET_DEFAULTS = {
    "attributes": "pass",
    "index": "return Listing(samples=samples, target=target)",
    "read": "return ok",
    "fingerprint": "return 'one'",
    "path": "return None",
    "methods": "pass",
}

ENCODER = """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.c = torch.nn.Conv2d(3, 8, 3, stride=4)
    def forward(self, x): return self.c(x).mean((2, 3))
class X(EncoderPlugin):
    {attributes}
    @property
    def weights(self): {weights}
    def read_card(self):
        ok = EncoderCard()
        {card}
    def build(self, image_size, channels=3):
        net = Net()
        ok = Built(network=net, name="net", rebuild={{}})
        {build}
    def features(self, network, images):
        ok = network(images)
        {features}
    def dense(self, network, images, width):
        ok = network.c(images)
        {dense}
    def blocks(self, network): {blocks}
"""
ENCODER_DEFAULTS = {
    "attributes": "pass",
    "weights": "return None",
    "card": "return ok",
    "build": "return ok",
    "features": "return ok",
    "dense": "return ok",
    "blocks": "return ('c',)",
}

READER = """
class X(Reader):
    suffixes = frozenset({{".bad"}})
    {attributes}
    def recognises(self, path, head): {recognises}
    def frames(self, path): {frames}
    def chosen(self, path): {chosen}
    def read(self, path, frame, short_side):
        ok = np.random.default_rng(int(path.stem)).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        {read}
    def facts(self, path): {facts}
    {methods}
"""
READER_DEFAULTS = {
    "attributes": "pass",
    "recognises": "return False",
    "frames": "return 1",
    "chosen": "return range(1)",
    "read": "return ok",
    "facts": "return FileFacts()",
    "methods": "pass",
}

TRACKER = """
class X(Tracker):
    {attributes}
    def start(self, run): {start}
    def epoch(self, number, values): {epoch}
    def finish(self, run): {finish}
    {methods}
"""
TRACKER_DEFAULTS = dict.fromkeys(("attributes", "start", "epoch", "finish", "methods"), "pass")

# each row: the changed piece, its code, words of the message
ROWS = yaml.safe_load(Path(__file__).with_name("misbehaviours.yaml").read_text())
CASES = [(kind, *row) for kind, rows in ROWS.items() for row in rows if kind != "tracker"]


def code_of(kind: str, piece: str, text: str) -> str:
    if kind == "import":
        return HEAD + EVALUATOR.format(**DEFAULTS) + text + "\n"
    body, pieces = {
        "evaluator": (EVALUATOR, DEFAULTS),
        "method": (METHOD, METHOD_DEFAULTS),
        "dataset": (DATASET, DATASET_DEFAULTS),
        "encoder": (ENCODER, ENCODER_DEFAULTS),
        "reader": (READER, READER_DEFAULTS),
        "tracker": (TRACKER, TRACKER_DEFAULTS),
    }[kind]
    wanted = {"rank": "return r", "observe": "return o"}.get(piece)
    if kind == "reader" and piece == "chosen":
        pieces = {**pieces, "frames": "return 2"}
    changed = {**pieces, piece: text, **({"fit": wanted} if wanted else {})}
    return HEAD + body.format(**changed)


def _write_files(folder: Path) -> None:
    """Write files for the reader: of its suffix in two classes, and one that no suffix decides."""
    for n in range(40):
        (folder / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        (folder / "ab"[n % 2] / f"{n}.bad").write_bytes(bytes([n]) * 40)
    (folder / "a" / "40").write_bytes(b"40")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def install(tmp_path, monkeypatch, cache):
    """Install a plugin as a package of its own; return a function that runs it."""
    monkeypatch.setenv("MEDSSL_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def put(kind: str, code: str, *words: str):
        group = "evaluator" if kind == "import" else kind
        name = f"bad{time.time_ns()}"
        folder = tmp_path / "site" / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[medssl.{group}s]\nbad = {name}:X\n")
        (tmp_path / "site" / f"{name}.py").write_text(textwrap.dedent(code))
        dataset = "folder" if kind == "reader" else "phantom"
        chosen = {"method": "random", "dataset": dataset, "evaluator": "knn", group: "bad"}
        if kind == "reader":
            installed_readers.cache_clear()
            _write_files(tmp_path / "files")
            words = (*words, "--data-dir", "files")
        if kind in ("encoder", "tracker"):
            words = (*words, f"--{kind}", "bad")
        words = (*words, *(() if kind == "encoder" else ("--backbone", "test_resnet")))
        outcome = CliRunner().invoke(
            main,
            [
                *("run", "--method", chosen["method"], "--dataset", chosen["dataset"]),
                *("--evaluator", chosen["evaluator"], "--epochs", "1", "--batch-size", "16"),
                *(("--set", "dataset.images_per_patient=2") if chosen["dataset"] == "phantom" else ()),
                *("--image-size", "32"),
                *("--set", "evaluate.bootstrap=0", "--set", "evaluate.baseline=false", "--output", "runs", *words),
            ],
        )
        sys.modules.pop(name, None)
        shutil.rmtree(folder)
        installed_readers.cache_clear()
        return name, outcome

    return put


@pytest.mark.parametrize(
    ("kind", "piece", "text", "said"), CASES, ids=[f"{kind}-{piece}-{i}" for i, (kind, piece, *_) in enumerate(CASES)]
)
def test_a_plugin_that_misbehaves_is_named_in_a_sentence(install, kind, piece, text, said):
    words = {"blocks": ("--method", "dcl", "--set", "train.layer_decay=0.5"), "dense": ("--method", "vicregl")}
    name, outcome = install(kind, code_of(kind, piece, text), *words.get(piece, ()))
    assert outcome.exit_code == 1, outcome.output
    assert isinstance(outcome.exception, SystemExit), repr(outcome.exception)
    last = re.search(r"^Error: .*", outcome.output, re.DOTALL | re.MULTILINE)[0]
    if kind == "reader" and piece in ("attributes", "methods"):  # its suffixes may be unknown: then a warning says it
        last = outcome.output
    pattern = ".*".join(re.escape(part).replace(r"\|", "|") for part in said.split(".*"))
    assert re.search(f"({pattern})", last, re.DOTALL), last
    assert "Traceback" not in outcome.output
    if not re.search("no longer finite|became|as large|found no images|broken file|more than once|colour|is now", said):
        assert name in last or "'bad'" in last, last
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(("piece", "text", "said"), ROWS["tracker"])
def test_a_tracker_that_misbehaves_is_named_and_the_run_goes_on(install, piece, text, said):
    words = ("--method", "dcl") if piece == "epoch" else ()
    name, outcome = install("tracker", code_of("tracker", piece, text), *words)
    assert outcome.exit_code == 0, outcome.output
    output = " ".join(outcome.output.split())
    pattern = ".*".join(re.escape(part) for part in said.split(".*"))
    assert re.search(pattern, output), outcome.output
    assert name in output
    assert "Traceback" not in output


def test_there_are_more_than_150_rows():
    assert len(CASES) >= 150


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("evaluator", code_of("evaluator", "fit", "train.x.mul_(0); train.y.fill_(1); val.x.add_(9); return p")),
        ("evaluator", code_of("evaluator", "predict", "x.mul_(0); return ok")),
        ("import", "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\nos.chdir('/')\n"),
    ],
)
def test_a_plugin_changes_nothing_of_the_others(install, kind, code, tmp_path):
    code = code if kind == "evaluator" else code_of("import", "", code)
    alone = install("evaluator", code_of("evaluator", "fit", "return p"), "--evaluator", "knn", "--json")[1]
    after = install(kind, code, "--evaluator", "knn", "--json", "--output", "others")[1]
    assert alone.exit_code == after.exit_code == 0, after.output
    scores = [json.loads(outcome.stdout)["evaluations"]["knn"]["accuracy"] for outcome in (alone, after)]
    assert scores[0] == scores[1]


def test_what_a_plugin_prints_is_not_in_the_json(install):
    code = "print('at import')\n" + code_of("evaluator", "predict", "print('while predicting'); return ok")
    _, outcome = install("evaluator", code, "--json")
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["schema"] == 2
