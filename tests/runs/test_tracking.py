"""A run passes its numbers on to trackers, and none of them can stop, change or delay it."""

import csv
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import medssl
from medssl.errors import DataError, OptionError
from medssl.io.identities import private_id
from medssl.runs import tracking as module
from medssl.runs.listener import Listener
from medssl.runs.tracking import tracking
from medssl.train.loop.records import EpochRecord

RECORD = EpochRecord(
    epoch=0,
    loss=1.5,
    learning_rate=0.1,
    images=8,
    seconds=2.0,
    images_per_second=4.0,
    feature_std=None,
    effective_rank=None,
    validation={"val_knn": 0.5},
)
SCORE = SimpleNamespace(value=0.75, low=0.5, high=None)
RESULT = SimpleNamespace(scores={"knn": {"accuracy": SCORE}})


class Recording:
    """A tracker that keeps what it hears."""

    def __init__(self, config):
        self.heard = config

    def start(self, run):
        self.heard.append(("start", run))

    def epoch(self, number, values):
        self.heard.append(("epoch", number, values))

    def finish(self, run):
        self.heard.append(("finish", run))

    def fail(self, message):
        self.heard.append(("fail", message))


class Notes(Listener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def directory(tmp_path):
    files = {name: tmp_path / "study" / "run" / name for name in ("history", "result", "report", "encoder")}
    (tmp_path / "study" / "run").mkdir(parents=True)
    return SimpleNamespace(path=tmp_path / "study" / "run", **files)


def recipe(*trackers, identity=None):
    package = {"kind": "tracker", "distribution": "own-package", "version": "1"}
    chosen = tuple(
        SimpleNamespace(name=name, plugin=plugin, config=config, **package) for name, plugin, config in trackers
    )
    paths = frozenset(["tables/miller.csv"])
    return SimpleNamespace(
        chosen=lambda kind: chosen if kind.name == "tracker" else (), identity=identity or {}, paths=paths
    )


def follow(made, directory, listener):
    with tracking(made, directory, listener) as listening:
        listening.stage("data")
        listening.epoch(RECORD)
        listening.finished(RESULT)


def test_a_tracker_hears_of_everything_in_order(directory):
    heard = []
    settings = {
        "train": {"epochs": 3},
        "split": {"of": "/home/miller/run", "groups": "tables/miller.csv", "fold": None},
        "evaluators": [{"plugin": "knn"}],
    }
    directory.result.write_text("{}")
    follow(recipe(("t", Recording, heard), identity=settings), directory, Listener())
    (_, started), (_, number, values), (_, finished) = heard
    assert started.name == "run"
    assert started.study == "study"
    assert started.first_epoch == 0
    assert started.folder == directory.path / "trackers" / "t"
    assert started.settings == {
        "train.epochs": 3,
        "split.of": private_id("file", "/home/miller/run"),
        "split.groups": private_id("file", "tables/miller.csv"),
        "split.fold": None,
        "evaluators.0.plugin": "knn",
    }
    assert number == 0
    assert values == {"loss": 1.5, "learning_rate": 0.1, "images_per_second": 4.0, "validation/val_knn": 0.5}
    assert finished.values == {"knn/accuracy": 0.75, "knn/accuracy/low": 0.5}
    assert finished.files == {"result": directory.result}  # the others do not exist


def test_a_continued_run_says_where_it_continues(directory):
    heard = []
    directory.history.write_text("{}\n{}\n")
    follow(recipe(("t", Recording, heard)), directory, Listener())
    assert heard[0][1].first_epoch == 2


def test_a_run_that_stops_is_told_with_its_cause(directory):
    heard = []

    def stopped():
        with tracking(recipe(("t", Recording, heard)), directory, Listener()) as listening:
            listening.stage("data")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [words[0] for words in heard] == ["start", "fail"]
    assert heard[1] == ("fail", "stopped by the user")


def test_the_words_of_an_error_stay_on_the_computer(directory):
    heard = []

    def stopped():
        with tracking(recipe(("t", Recording, heard)), directory, Listener()) as listening:
            listening.stage("data")
            raise DataError("/home/miller/scans/19530412.png cannot be read")

    with pytest.raises(DataError):
        stopped()
    assert heard[1] == ("fail", "stopped by DataError; the message is on the computer of the run")


def test_a_result_that_is_only_read_again_reaches_no_tracker(directory):
    heard = []
    with tracking(recipe(("t", Recording, heard)), directory, Listener()):
        pass
    assert heard == []


@pytest.mark.parametrize("error", [ValueError("no answer"), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("where", ["start", "epoch", "finish"])
def test_a_tracker_that_fails_is_reported_once_and_left_out(directory, error, where):
    class Failing(Recording):
        pass

    def fail(self, *_):
        raise error

    setattr(Failing, where, fail)
    broken, sound, notes = [], [], Notes()
    follow(recipe(("broken", Failing, broken), ("sound", Recording, sound)), directory, notes)
    [text] = notes.notes
    said = f"the tracker 'broken' is left out from now on: it failed in {where}() (own-package 1, test_tracking.py): "
    assert text.startswith(said)
    assert text.endswith("The run is not affected.")
    assert [words[0] for words in sound] == ["start", "epoch", "finish"]
    assert [words[0] for words in broken] == ["start", "epoch", "finish"][: ["start", "epoch", "finish"].index(where)]


def test_a_tracker_that_returns_something_is_named_and_a_coroutine_does_not_warn(directory):
    class Later(Recording):
        async def start(self, run):
            pass

        def finish(self, run):
            return torch.zeros(3)

    class Last(Later):
        start = Recording.start

    notes = Notes()
    follow(recipe(("later", Later, []), ("last", Last, [])), directory, notes)
    first, second = sorted(notes.notes, key=len)
    assert "'later' is left out from now on: it breaks its contract in start() (own-package 1, test_trac" in first
    assert "the result must be None, but is a coroutine" in first
    assert (
        "in finish() (own-package 1, test_tracking.py): the result must be None, but is a Tensor of shape (3,)"
        in second
    )


def test_what_a_tracker_changes_is_its_own(directory):
    class Greedy(Recording):
        def start(self, run):
            run.settings.clear()
            torch.set_default_dtype(torch.float64)

        def epoch(self, number, values):
            values.clear()

        def finish(self, run):
            run.values.clear()

    sound = []
    follow(recipe(("greedy", Greedy, []), ("sound", Recording, sound), identity={"seed": 1}), directory, Listener())
    assert sound[0][1].settings == {"seed": 1}
    assert sound[1][2]["loss"] == 1.5
    assert sound[2][1].values["knn/accuracy"] == 0.75
    assert torch.get_default_dtype() == torch.float32


def test_a_tracker_that_hangs_does_not_keep_the_run(directory, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    released = threading.Event()

    class Hanging(Recording):
        def epoch(self, number, values):
            released.wait(60)

    sound, notes = [], Notes()
    follow(recipe(("slow", Hanging, []), ("sound", Recording, sound)), directory, notes)
    released.set()
    [text] = notes.notes
    assert "the tracker 'slow' is left out from now on: it has not answered for" in text
    assert [words[0] for words in sound] == ["start", "epoch", "finish"]


def test_a_missing_package_is_said_before_the_run(directory):
    class Missing(Recording):
        def __init__(self, config):
            raise OptionError("install it")

    with pytest.raises(OptionError, match="install it"), tracking(recipe(("t", Missing, [])), directory, Listener()):
        pytest.fail("the run must not begin")


@pytest.mark.slow
def test_a_tracked_run_is_the_same_run(tmp_path):
    small = {
        "dataset": {"plugin": "phantom", "patients_per_class": 4, "images_per_patient": 2, "size": 32},
        "views": {"image_size": 32},
        "encoder": {"backbone": "resnet10t"},
        "train": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0},
        "evaluators": ["knn"],
        "evaluate": {"bootstrap": 0, "baseline": False},
        "precision": "float32",
    }
    plain = medssl.run("dcl", place=medssl.Place(output=tmp_path / "plain"), **small)
    tracked = medssl.run("dcl", place=medssl.Place(output=tmp_path / "tracked"), trackers=["csv"], **small)
    assert plain.path.name == tracked.path.name
    assert (plain.path / "recipe.yaml").read_bytes() == (tracked.path / "recipe.yaml").read_bytes()
    assert plain.values["evaluations"] == tracked.values["evaluations"]
    folder = tracked.path / "trackers" / "csv"
    epochs = read(folder / "epochs.csv")
    assert [row["value"] for row in epochs if row["name"] == "loss"] == [repr(r.loss) for r in tracked.history()]
    found = {row["name"]: float(row["value"]) for row in read(folder / "results.csv")}
    assert found["knn/accuracy"] == tracked.scores["knn"]["accuracy"].value


def read(file: Path):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))
