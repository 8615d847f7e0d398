"""Processes at work: order, failures, locks, and what is left when the crew is stopped. The workers are stand-ins."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from medssl.catalog import load_catalog
from medssl.io import leases
from medssl.io.leases import holding
from medssl.results.directory import SCHEMA, RunDirectory
from medssl.runs.kept.reuse import lease_of_pretraining
from medssl.runs.pipeline import Place
from medssl.study.grid import expand
from medssl.study.launch import crew as crew_module
from medssl.study.launch.crew import Crew
from medssl.study.plan import plan_of
from medssl.study.schedule.state import LOG, StudyListener, write_state
from medssl.study.schedule.timing import Clock

# The least that a finished run's result.json holds.
RESULT = {
    "schema": SCHEMA,
    "method": "random",
    "dataset": "phantom",
    "seed": 0,
    "recipe": {},
    "environment": {},
    "data": {
        "directory": "phantom",
        "images": 1,
        "train": 1,
        "val": 0,
        "test": 0,
        "split": "grouped",
        "target": {"kind": "classes", "names": ["a", "b"]},
        "store": {"key": "k"},
    },
    "pretrain": {"epochs": 1, "seconds": 2.0},
    "metrics": {},
    "evaluations": {},
    "diagnostics": {},
    "seconds": 3.0,
}

# Reads a job as the worker does; what it does then is decided by the seed in the job's last layer.
STAND_IN = f"""
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
seed = job["layers"][-1]["seed"]
say = lambda **event: print(json.dumps(event), flush=True)
with open(os.path.join(job["output"], "log"), "a") as log:
    log.write(f"begin {{seed}} {{os.environ['OMP_NUM_THREADS']}}\\n")
say(event="stage", title="pre-training")
say(event="epoch", epoch=0, loss=1.0, seconds=2.0)
if seed == 7:
    say(event="failed", message="the images are missing.")
elif seed == 8:
    print("Segmentation imagined", file=sys.stderr)
    sys.exit(3)
elif seed == 9:
    os.kill(os.getpid(), signal.SIGKILL)
elif seed == 6:
    time.sleep(60)
else:
    time.sleep(0.2)
    result = {RESULT}
    with open(os.path.join(job["output"], job["slug"], "result.json"), "w") as file:
        json.dump(result, file)
    say(event="done")
with open(os.path.join(job["output"], "log"), "a") as log:
    log.write(f"end {{seed}}\\n")
"""


class Recorder(StudyListener):
    """Writes down what it hears."""

    def __init__(self):
        self.heard = []

    def begin(self, total, done):
        self.heard.append(("begin", total, done))

    def start(self, cell):
        self.heard.append(("start", cell.recipe.seed))

    def stage(self, cell, title):
        self.heard.append(("stage", cell.recipe.seed, title))

    def epoch(self, cell, done, loss):
        self.heard.append(("epoch", cell.recipe.seed, done, loss))

    def end(self, outcome):
        self.heard.append((outcome.state, outcome.cell.recipe.seed))

    def wait(self, cell):
        self.heard.append(("wait", cell.recipe.seed))


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture
def cells_of(catalog):
    def make(seeds, **given):
        plan = plan_of(methods=("random",), datasets=("phantom",), seeds=max(seeds) + 1).merged(**given)
        return [cell for cell in expand(plan, [], catalog, None) if cell.recipe.seed in seeds]

    return make


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A crew of stand-ins, whose job tells them their directory."""
    monkeypatch.setattr(crew_module, "_COMMAND", (sys.executable, "-c", STAND_IN))
    monkeypatch.setattr(crew_module, "_PATIENCE", 0.05)
    real = Crew._job
    monkeypatch.setattr(
        Crew, "_job", lambda self, cell: json.dumps({**json.loads(real(self, cell)), "slug": cell.recipe.slug})
    )

    def make(cells, *, jobs=1, listener=None, force=False):
        return Crew(
            cells,
            place=Place(output=tmp_path, force=force),
            catalog_file=None,
            jobs=jobs,
            clock=Clock(),
            listener=listener or Recorder(),
            changed=lambda outcomes: write_state(tmp_path, plan_of(), [], outcomes),
        )

    return make


def states(outcomes):
    return {outcome.cell.recipe.seed: outcome.state for outcome in outcomes}


def test_cells_are_carried_out_in_order_and_heard_of(build, cells_of):
    recorder = Recorder()
    assert states(build(cells_of({0, 1}), listener=recorder).run()) == {0: "done", 1: "done"}
    assert recorder.heard == [
        ("begin", 2, 0),
        *(e for s in (0, 1) for e in (("start", s), ("stage", s, "pre-training"), ("epoch", s, 1, 1.0), ("done", s))),
    ]


def test_failed_cells_are_told_why_and_stop_no_other(build, cells_of, tmp_path):
    outcomes = build(cells_of({0, 7, 8, 9, 10})).run()
    assert states(outcomes) == {0: "done", 7: "failed", 8: "failed", 9: "failed", 10: "done"}
    messages = {outcome.cell.recipe.seed: outcome.message for outcome in outcomes}
    assert messages[7] == "the images are missing."
    assert messages[8] == "its process ended by exit status 3. Segmentation imagined"
    assert "signal SIGKILL. The usual cause is too little memory" in messages[9]
    state = json.loads((tmp_path / "study.json").read_text())
    assert [cell["state"] for cell in state["cells"]] == ["done", "failed", "failed", "failed", "done"]
    assert state["cells"][1]["message"] == messages[7]


def test_finished_cells_are_passed_over_and_failed_ones_retried(build, cells_of, tmp_path):
    [done] = [o.cell for o in build(cells_of({0, 7})).run() if o.state == "done"]
    (tmp_path / done.recipe.slug / LOG).touch()  # a study that was killed before it heard of the end
    recorder = Recorder()
    outcomes = build(cells_of({0, 1, 7}), listener=recorder).run()
    assert states(outcomes) == {0: "done", 1: "done", 7: "failed"}
    assert not (tmp_path / done.recipe.slug / LOG).exists()
    assert recorder.heard[0] == ("begin", 3, 1)
    assert [event[1] for event in recorder.heard if event[0] == "start"] == [1, 7]


def test_the_end_of_a_cell_that_was_killed_after_its_result_is_made_up_for(build, cells_of, tmp_path, monkeypatch):
    """Found by kills at random moments: its page was missing, and its lease stayed."""
    monkeypatch.setattr(leases, "_DEAD", 0.3)
    [outcome] = build(cells_of({0})).run()
    (tmp_path / outcome.cell.recipe.slug / "lock").touch()
    recorder = Recorder()
    assert states(build(cells_of({0}), listener=recorder).run()) == {0: "done"}
    assert ("start", 0) in recorder.heard


def test_force_repeats_what_is_finished(build, cells_of):
    build(cells_of({0})).run()
    recorder = Recorder()
    build(cells_of({0}), listener=recorder, force=True).run()
    assert ("start", 0) in recorder.heard


def begun_before_ended(path):
    """The pairs (a, b) of seeds of which b began before a ended."""
    lines = [line.split()[:2] for line in path.read_text().splitlines()]
    open_now, pairs = [], set()
    for word, seed in lines:
        if word == "begin":
            pairs |= {(other, seed) for other in open_now}
            open_now.append(seed)
        else:
            open_now.remove(seed)
    return pairs


def test_several_are_at_work_at_a_time_and_share_the_cores(build, cells_of, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    build(cells_of({0, 1, 2}), jobs=3).run()
    assert begun_before_ended(tmp_path / "log")
    begun = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("begin")]
    assert {line.split()[2] for line in begun} == {"2"}


def test_cells_that_share_their_pretraining_are_never_at_work_together(build, cells_of, tmp_path):
    cells = cells_of({0}, label_fractions=[0.1, 0.5, 1.0])
    assert len({cell.recipe.pretraining_hash for cell in cells}) == 1
    build(cells, jobs=3).run()
    assert begun_before_ended(tmp_path / "log") == set()


def test_a_cell_that_another_process_works_on_is_waited_for(build, cells_of, tmp_path):
    (cell,) = cells_of({0})
    directory = RunDirectory(tmp_path / cell.recipe.slug)
    directory.make()
    recorder = Recorder()
    found = []
    with holding(directory.path):
        thread = threading.Thread(target=lambda: found.extend(build([cell], listener=recorder).run()))
        thread.start()
        deadline = time.monotonic() + 20
        while ("wait", 0) not in recorder.heard and time.monotonic() < deadline:
            time.sleep(0.02)
        values = {**RESULT, "pretrain": {"epochs": 0, "seconds": 0.0}}
        directory.finish(values)
    thread.join(20)
    assert states(found) == {0: "done"}
    assert recorder.heard == [("begin", 1, 0), ("wait", 0), ("done", 0)]


def test_a_cell_whose_encoder_another_process_trains_is_waited_for(build, cells_of, tmp_path):
    (cell,) = cells_of({0}, methods=("dcl",))
    folder = lease_of_pretraining(cell.recipe, tmp_path)
    folder.mkdir()
    recorder = Recorder()
    with holding(folder):
        thread = threading.Thread(target=lambda: build([cell], listener=recorder).run())
        thread.start()
        deadline = time.monotonic() + 20
        while ("wait", 0) not in recorder.heard and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        assert recorder.heard == [("begin", 1, 0), ("wait", 0)]
    thread.join(20)
    assert recorder.heard[2] == ("start", 0)
    assert recorder.heard[-1] == ("done", 0)


def test_the_lease_of_a_worker_that_was_killed_is_removed(build, cells_of, tmp_path, monkeypatch):
    """Also one that names another machine: the crew has watched it, and the worker need not do it again."""
    monkeypatch.setattr(leases, "_DEAD", 0.3)
    (cell,) = cells_of({0})
    directory = RunDirectory(tmp_path / cell.recipe.slug)
    directory.make()
    (directory.path / "lock").write_text('{"pid": 1, "machine": "elsewhere"}')
    recorder = Recorder()
    assert states(build([cell], listener=recorder).run()) == {0: "done"}
    assert [event[0] for event in recorder.heard[:3]] == ["begin", "wait", "start"]
    assert not (directory.path / "lock").exists()


def test_a_crew_that_is_stopped_leaves_no_process_behind(build, cells_of, tmp_path):
    crew = build(cells_of({6}))

    class Stop(Recorder):
        def epoch(self, cell, done, loss):
            self.process = next(iter(crew._working.values())).process
            raise KeyboardInterrupt

    crew._listener = Stop()
    with pytest.raises(KeyboardInterrupt):
        crew.run()
    assert crew._listener.process.poll() is not None
    assert json.loads((tmp_path / "study.json").read_text())["cells"][0]["state"] == "pending"


def test_a_damaged_result_is_a_failed_cell(build, cells_of, tmp_path):
    (cell,) = cells_of({0})
    directory = RunDirectory(tmp_path / cell.recipe.slug)
    directory.make()
    directory.result.write_text("{")
    (outcome,) = build([cell]).run()
    assert outcome.state == "failed"
    assert "Run again with --force" in outcome.message


def test_workers_are_given_the_same_medssl_wherever_they_start(build, cells_of):
    environment = build(cells_of({0}))._environment()
    assert (Path(environment["PYTHONPATH"].split(os.pathsep)[0]) / "medssl").is_dir()
