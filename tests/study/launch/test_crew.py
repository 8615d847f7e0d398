"""Processes at work: order, failures, locks, and what is left when the crew is stopped. The workers are stand-ins."""

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from medssl.catalog import load_catalog
from medssl.io import leases
from medssl.io.leases import holding
from medssl.results.directory import RunDirectory
from medssl.runs.kept.reuse import lease_of_pretraining
from medssl.runs.pipeline import Place
from medssl.study.grid import expand
from medssl.study.launch import crew as crew_module
from medssl.study.launch import workers
from medssl.study.launch.crew import Crew
from medssl.study.plan import plan_of
from medssl.study.schedule.state import LOG, StudyListener, write_state
from medssl.study.schedule.timing import Clock

# Reads jobs as the worker does; what it does then is decided by the seed in the job's last layer.
STAND_IN = """
import json, os, signal, sys, time
say = lambda **event: print(json.dumps(event), flush=True)
for number, line in enumerate(sys.stdin):
    job = json.loads(line)
    seed = job["layers"][-1]["seed"]
    if seed == 11 and number:
        sys.exit(4)  # it ends while nobody has told it anything
    log = open(os.path.join(job["place"]["output"], "log"), "a")
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
    print("begin", seed, os.environ["OMP_NUM_THREADS"], os.getpid(), gpu, file=log, flush=True)
    say(event="stage", title="pre-training")
    say(event="epoch", epoch=0, loss=1.0, seconds=2.0)
    if seed == 7:
        say(event="failed", message="the images are missing.", again=False)
    elif seed == 8:
        print("Segmentation imagined", file=sys.stderr)
        sys.exit(3)
    elif seed == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    elif seed == 6:
        time.sleep(60)
    else:
        time.sleep(0.2)
        with open(os.path.join(job["place"]["output"], job["slug"], "result.json"), "w") as file:
            file.write(sys.argv[1])
    print("end", seed, file=log, flush=True)
    if seed != 7:
        say(event="done", again=seed != 5)
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
def build(tmp_path, monkeypatch, least_result):
    """A crew of stand-ins, whose job tells them their directory."""
    monkeypatch.setattr(workers, "_COMMAND", (sys.executable, "-c", STAND_IN, json.dumps(least_result)))
    monkeypatch.setattr(crew_module, "_PATIENCE", 0.05)
    real = Crew._job
    monkeypatch.setattr(
        Crew,
        "_job",
        lambda self, cell, log: json.dumps({**json.loads(real(self, cell, log)), "slug": cell.recipe.slug}),
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


def test_a_cell_that_another_process_works_on_is_waited_for(build, cells_of, tmp_path, least_result):
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
        values = {**least_result, "pretrain": {"epochs": 0, "seconds": 0.0}}
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
            self.process = crew._workers[0].process
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


# ------------------------------------------------------------------------------------------------ workers that stay


def begun(folder):
    """What each cell's process wrote when it began: its threads, its number and its GPU, by seed."""
    rows = [line.split()[1:] for line in (folder / "log").read_text().splitlines() if line.startswith("begin")]
    return {int(seed): tuple(rest) for seed, *rest in rows}


def processes(folder):
    return {seed: number for seed, (_, number, _) in begun(folder).items()}


def test_a_worker_runs_one_cell_after_another_until_it_is_not_as_it_was(build, cells_of, tmp_path):
    """Cell 5 says that it left the process in another state."""
    build(cells_of({0, 1, 5, 10})).run()
    found = processes(tmp_path)
    assert found[0] == found[1] == found[5] != found[10]


def test_the_process_of_a_cell_that_failed_or_died_is_replaced(build, cells_of, tmp_path):
    assert states(build(cells_of({0, 7, 9, 10})).run()) == {0: "done", 7: "failed", 9: "failed", 10: "done"}
    found = processes(tmp_path)
    assert found[0] == found[7]
    assert len(set(found.values())) == 3


def test_a_worker_is_replaced_after_its_last_cell(build, cells_of, tmp_path, monkeypatch):
    monkeypatch.setattr(crew_module, "_CELLS", 2)
    build(cells_of({0, 1, 2, 3})).run()
    found = processes(tmp_path)
    assert found[0] == found[1] != found[2] == found[3]


def test_a_cell_whose_worker_had_ended_before_it_is_not_lost(build, cells_of, tmp_path):
    assert states(build(cells_of({0, 11})).run()) == {0: "done", 11: "done"}
    assert len(set(processes(tmp_path).values())) == 2


def test_cells_with_other_plugins_from_elsewhere_get_a_process_of_their_own(build, cells_of, tmp_path):
    cells = cells_of({0, 1, 2, 3})
    for cell in cells[1:3]:
        choice = replace(cell.recipe.method, distribution="other")
        object.__setattr__(cell.recipe.training, "method", choice)
    build(cells).run()
    found = processes(tmp_path)
    assert found[1] == found[2]
    assert len(set(found.values())) == 3


def test_each_worker_has_a_gpu_of_its_own(build, cells_of, tmp_path, monkeypatch):
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    build(cells_of({0, 1, 2, 3}), jobs=2).run()
    found = begun(tmp_path).values()
    assert {gpu for _, _, gpu in found} == {"0", "1"}
    assert len({(number, gpu) for _, number, gpu in found}) == 2


@pytest.mark.parametrize(
    ("visible", "slots", "device", "expected"),
    [
        (None, 3, "auto", ["0", "1", "0"]),
        ("5,GPU-7,9", 3, "cuda", ["5", "GPU-7", "5"]),  # two of three can be used
        ("5,7", 1, "auto", [None]),
        ("5,7", 2, "cpu", [None, None]),
        ("5,7", 2, "cuda:1", [None, None]),
    ],
)
def test_gpus_are_shared_out_in_turn(monkeypatch, visible, slots, device, expected):
    monkeypatch.setattr(workers.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = [workers.variables(slot, slots, device).get("CUDA_VISIBLE_DEVICES") for slot in range(slots)]
    assert found == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
@pytest.mark.parametrize(
    ("slots", "threads", "expected"),
    [
        (1, None, [set()]),
        (2, None, [{2, 3}, {5, 8, 9}]),
        (5, None, [{2}, {3}, {5}, {8}, {9}]),
        (2, "2", [{2, 3}, {5, 8, 9}]),
        (2, "8", [set(), set()]),  # more threads than cores were asked for
    ],
)
def test_cores_are_shared_out(monkeypatch, slots, threads, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 2, 8, 3, 5})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    found = [workers.own_cores(slot, slots) for slot in range(slots)]
    assert found == expected


def test_workers_are_given_the_same_medssl_wherever_they_start():
    environment = workers.variables(0, 1, "auto")
    assert (Path(environment["PYTHONPATH"].split(os.pathsep)[0]) / "medssl").is_dir()
