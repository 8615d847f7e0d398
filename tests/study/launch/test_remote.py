"""A launcher's tasks and the command that follows them meet in the study's folder alone. Both are stand-ins here."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner

from medssl.catalog import load_catalog
from medssl.cli import main
from medssl.contracts import Launcher, TaskState
from medssl.contracts.kinds import LAUNCHER
from medssl.errors import CheckpointError, LaunchError, PluginError
from medssl.io.leases import holding
from medssl.recipe import Choice
from medssl.runs.pipeline import Place
from medssl.study.grid import expand
from medssl.study.launch import remote, task
from medssl.study.launch.job import jobs_of, read_job, write_job
from medssl.study.launch.remote import Remote
from medssl.study.plan import plan_of
from medssl.study.schedule.state import CellOutcome, StudyListener


class Heard(StudyListener):
    def __init__(self):
        self.events = []

    def start(self, cell):
        self.events.append(("start", cell.recipe.seed))

    def epoch(self, cell, done, loss):
        self.events.append(("epoch", cell.recipe.seed, done, loss))

    def end(self, outcome):
        self.events.append((outcome.state, outcome.cell.recipe.seed))

    def note(self, text):
        self.events.append(("note", text))


class Fake(Launcher):
    """Does with a job what the test has told it; all objects of the class share it."""

    jobs: ClassVar = []
    does = staticmethod(lambda job: None)
    says = staticmethod(lambda job: "done")
    cancelled: ClassVar = []

    def submit(self, job):
        Fake.jobs.append(job)
        Fake.does(job)
        return f"handle {len(Fake.jobs)}"

    def states(self, job, handle):
        return [TaskState(state=Fake.says(job), message="its last words") for _ in job.commands]

    def cancel(self, job, handle):
        Fake.cancelled.append(handle)


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture
def cells_of(catalog):
    def make(seeds, **given):
        return expand(
            plan_of(methods=("random",), datasets=("phantom",), seeds=seeds).merged(**given), [], catalog, None
        )

    return make


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_PAUSE", 0.02)
    monkeypatch.setattr(remote, "_ASK", 0.04)
    monkeypatch.setattr(Fake, "jobs", [])
    monkeypatch.setattr(Fake, "cancelled", [])
    choice = Choice(kind="launcher", name="fake", distribution="x", version="1", plugin=Fake, config=Fake.Config())

    def make(cells, listener=None, changed=lambda _: None):
        return Remote(
            cells,
            place=Place(output=tmp_path),
            catalog_file=None,
            launcher=choice,
            at_once=3,
            listener=listener or Heard(),
            changed=changed,
        )

    return make


def states(outcomes):
    return {outcome.cell.recipe.seed: outcome.state for outcome in outcomes}


def test_every_cell_is_submitted_and_its_result_ends_it(build, cells_of, tmp_path, monkeypatch, finish, finish_all):
    monkeypatch.setattr(Fake, "does", staticmethod(finish_all))
    finish(tmp_path / cells_of(1)[0].recipe.slug)
    assert states(build(cells_of(3)).run()) == {0: "done", 1: "done", 2: "done"}
    (job,) = Fake.jobs
    assert list(job.cells) == [cell.recipe.slug for cell in cells_of(3)[1:]]
    assert job.study == tmp_path
    assert job.folder.parent == tmp_path / "jobs"
    assert job.directory == Path.cwd()
    assert job.at_once == 3
    assert [command[-3:] for command in job.commands] == [(str(job.folder), "--task", str(i)) for i in range(2)]
    assert states(build(cells_of(3)).run()) == {0: "done", 1: "done", 2: "done"}
    assert len(Fake.jobs) == 1  # nothing was left to submit


def test_cells_that_share_their_encoder_share_a_task(build, cells_of, monkeypatch, finish_all):
    monkeypatch.setattr(Fake, "does", staticmethod(finish_all))
    build(cells_of(2, label_fractions=[0.5, 1.0])).run()
    (job,) = Fake.jobs
    assert (len(job.cells), len(job.commands)) == (4, 2)


def test_a_cell_that_failed_says_why_and_is_tried_again_by_the_next_command(
    build, cells_of, monkeypatch, finish, finish_all
):
    def fail(job):
        read_job(job.folder).fail(job.cells[0], "the images are missing.")
        finish(job.study / job.cells[1])

    monkeypatch.setattr(Fake, "does", staticmethod(fail))
    monkeypatch.setattr(Fake, "says", staticmethod(lambda job: "running"))
    changes = []
    outcomes = build(cells_of(2), changed=changes.append).run()
    assert states(outcomes) == {0: "failed", 1: "done"}
    assert outcomes[0].message == "the images are missing."
    assert states(changes[-1]) == {0: "failed", 1: "done"}
    monkeypatch.setattr(Fake, "does", staticmethod(finish_all))
    assert states(build(cells_of(2)).run()) == {0: "done", 1: "done"}
    assert len(Fake.jobs) == 2


def test_a_command_that_is_given_again_finds_its_job(build, cells_of, tmp_path, monkeypatch, finish_all):
    monkeypatch.setattr(Fake, "says", staticmethod(lambda job: "running"))
    monkeypatch.setattr(remote.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(cells_of(2)).run()
    monkeypatch.undo()
    monkeypatch.setattr(Fake, "says", staticmethod(lambda job: "waiting"))
    monkeypatch.setattr(remote, "_PAUSE", 0.02)
    (job,) = jobs_of(tmp_path)
    timer = threading.Timer(0.2, lambda: finish_all(job.for_launcher()))
    timer.start()
    assert states(build(cells_of(2)).run()) == {0: "done", 1: "done"}
    assert len(list(jobs_of(tmp_path))) == 1
    timer.join()


def test_a_job_that_ends_without_its_cells_is_submitted_again_and_given_up_after_three(build, cells_of):
    heard = Heard()
    (outcome,) = build(cells_of(1), heard).run()
    assert len(Fake.jobs) == 3
    assert outcome.state == "failed"
    assert outcome.message == "the tasks of 3 jobs ended before they had run it."


def test_the_last_words_of_tasks_that_failed_are_said(build, cells_of, monkeypatch):
    monkeypatch.setattr(Fake, "says", staticmethod(lambda job: "failed"))
    (outcome,) = build(cells_of(1)).run()
    assert outcome.message.endswith("its last words")


def test_a_cell_that_another_launcher_runs_is_waited_for(build, cells_of, tmp_path, finish):
    (cell,) = cells_of(1)
    folder = tmp_path / cell.recipe.slug
    folder.mkdir()
    heard, found = Heard(), []
    with holding(folder):
        thread = threading.Thread(target=lambda: found.extend(build([cell], heard).run()))
        thread.start()
        time.sleep(0.4)
        (folder / "history.jsonl").write_text('{"epoch": 0, "loss": 1.5}\n')
        time.sleep(0.4)
        assert found == []
        finish(folder)
    thread.join(20)
    assert states(found) == {0: "done"}
    assert [event for event in heard.events if event[0] != "note"] == [("start", 0), ("epoch", 0, 1, 1.5), ("done", 0)]


def test_a_launcher_that_does_not_answer_is_asked_again_for_a_while(build, cells_of, monkeypatch, finish_all):
    answers = iter([LaunchError("squeue does not answer."), LaunchError("x"), "running"])

    def says(job):
        if isinstance(answer := next(answers), Exception):
            raise answer
        finish_all(job)
        return answer

    monkeypatch.setattr(Fake, "says", staticmethod(says))
    heard = Heard()
    assert states(build(cells_of(1), heard).run()) == {0: "done"}
    notes = [event[1] for event in heard.events if event[0] == "note"]
    assert notes[1:] == ["squeue does not answer. Asking again for 10 minutes."]


def test_a_launcher_that_stays_silent_ends_the_command(build, cells_of, monkeypatch):
    def says(job):
        raise LaunchError("squeue does not answer.")

    monkeypatch.setattr(Fake, "says", staticmethod(says))
    monkeypatch.setattr(remote, "_SILENCE", 0.2)
    with pytest.raises(LaunchError, match="squeue"):
        build(cells_of(1)).run()


def test_a_refused_job_leaves_no_folder(build, cells_of, tmp_path, monkeypatch):
    def refuse(job):
        raise LaunchError("the partition is unknown.")

    monkeypatch.setattr(Fake, "does", staticmethod(refuse))
    with pytest.raises(LaunchError, match="partition"):
        build(cells_of(1)).run()
    assert not list((tmp_path / "jobs").iterdir())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("does", lambda job: 1 / 0, r"the launcher 'fake' failed in submit\(\).*ZeroDivisionError"),
        ("says", lambda job: 1 / 0, r"the launcher 'fake' failed in states\(\).*ZeroDivisionError"),
    ],
)
def test_a_broken_launcher_is_named(build, cells_of, monkeypatch, name, value, words):
    monkeypatch.setattr(Fake, name, staticmethod(value))
    with pytest.raises(PluginError, match=words):
        build(cells_of(1)).run()


# ------------------------------------------------------------------------------------------------------------- the task


@pytest.fixture
def job(tmp_path, cells_of):
    cells = cells_of(3)
    return write_job(cells, Place(output=tmp_path), {"plugin": "fake"}, catalog_file=None, at_once=None), cells


def test_a_task_runs_the_free_cells_from_its_own_on(job, tmp_path, monkeypatch, finish):
    stored, cells = job
    stored.fail(cells[0].recipe.slug, "it failed before.")
    started = []

    class Crew(task.Crew):
        def _start(self, cell):
            started.append(cell.recipe.seed)
            finish(tmp_path / cell.recipe.slug)
            self._end(CellOutcome(cell, "done"))

    monkeypatch.setattr(task, "Crew", Crew)
    assert states(task.run_free_cells(stored.folder, 2, StudyListener())) == {2: "done", 0: "pending", 1: "done"}
    assert started == [2, 1]


def test_a_task_leaves_cells_that_run_elsewhere(job, tmp_path, monkeypatch, finish):
    stored, cells = job
    for cell in cells[:2]:
        finish(tmp_path / cell.recipe.slug)
    (tmp_path / cells[2].recipe.slug).mkdir()
    with holding(tmp_path / cells[2].recipe.slug):
        assert states(task.run_free_cells(stored.folder, 0, StudyListener())) == {0: "done", 1: "done", 2: "pending"}


def test_a_task_that_finds_nothing_to_do_ends_before_it_imports_torch(job, tmp_path, finish):
    """A job has a task for each encoder, and a cluster may run two at once: the last ones must not hold it up."""
    stored, cells = job
    for cell in cells[:2]:
        finish(tmp_path / cell.recipe.slug)
    assert not stored.is_settled()
    stored.fail(cells[2].recipe.slug, "no weights.")
    with holding(tmp_path / cells[1].recipe.slug):
        assert not stored.is_settled()  # it is run again, or its end was killed and the page is missing
    assert not replace(stored, place={**stored.place, "force": True}).is_settled()
    assert stored.is_settled()
    code = (
        "import sys; from medssl.cli import main\n"
        "try: main.main()\n"
        "finally: print([name for name in ('torch', 'timm', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "work", str(stored.folder), "--task", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert done.stderr == "no free cell is left: all are done or have failed\n"


def test_failures_are_noted_once_for_the_job(job, cells_of):
    stored, cells = job
    outcomes = [CellOutcome(cells[0], "failed", "first"), CellOutcome(cells[1], "done")]
    task._note_failures(stored, outcomes)
    task._note_failures(stored, [CellOutcome(cells[0], "failed", "second")])
    assert [stored.failure(cell.recipe.slug) for cell in cells] == ["first", None, None]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "x": 1}'])
def test_a_damaged_job_is_said(tmp_path, content):
    (tmp_path / "job.json").write_text(content)
    done = CliRunner().invoke(main, ["work", str(tmp_path)])
    assert done.exit_code == 1
    assert "job.json cannot be read" in done.output
    with pytest.raises(CheckpointError, match=r"job\.json"):
        read_job(tmp_path)


def test_a_job_has_what_a_task_needs_and_only_its_owner_reads_it(job, monkeypatch):
    stored, _ = job
    assert read_job(stored.folder) == stored
    assert (stored.folder / "job.json").stat().st_mode & 0o077 == 0
    assert stored.folder.stat().st_mode & 0o077 == 0


# ---------------------------------------------------------------------------------------------------------- the command

WORDS = ["bench", "--method", "random", "--dataset", "phantom", "--dry-run"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "launcher.lanes=2"], "needs a launcher. Give --launcher NAME too"),
        (["--launcher", "local", "--force"], "--force and --launcher were both given"),
        (["--launcher", "locla"], "Did you mean 'local'"),
        (["--launcher", "local", "--set", "launcher.lanes=0"], "lanes"),
        (["--launcher", "local", "--set", "launcher=3"], "--set launcher.NAME=VALUE"),
    ],
)
def test_words_that_do_not_fit_are_said(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [*WORDS, *words])
    assert done.exit_code == 1, done.output
    assert said in done.output


def test_a_run_has_no_launcher():
    done = CliRunner().invoke(main, ["run", "--method", "random", "--dataset", "phantom", "--set", "launcher.lanes=2"])
    assert done.exit_code == 1
    assert "a recipe has no setting 'launcher'" in done.output


def test_cancel_says_that_there_is_nothing_to_cancel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["bench", "--method", "random", "--dataset", "phantom", "--cancel"])
    assert done.exit_code == 0
    assert "has tasks to cancel" in done.output


def test_cancel_reaches_the_tasks_of_every_job(build, cells_of, tmp_path, catalog, monkeypatch, finish_all):
    monkeypatch.setattr(Fake, "does", staticmethod(finish_all))
    build(cells_of(1)).run()
    choice = Choice(kind="launcher", name="fake", distribution="x", version="1", plugin=Fake, config=Fake.Config())
    monkeypatch.setattr(remote, "choose", lambda kind, *_: choice if kind == LAUNCHER.name else None)
    monkeypatch.setattr(Fake, "says", staticmethod(lambda job: "waiting"))
    assert remote.cancel_jobs(tmp_path, catalog) == [Fake.jobs[0].folder.name]
    assert Fake.cancelled == ["handle 1"]
    monkeypatch.setattr(Fake, "says", staticmethod(lambda job: "done"))
    assert remote.cancel_jobs(tmp_path, catalog) == []
