"""What squeue answers, and how a task ends before its time limit. tests/integration/test_slurm.py has a real Slurm."""

import shutil
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from medssl.contracts import Job
from medssl.errors import LaunchError, OptionError
from medssl_launchers import _task, slurm
from medssl_launchers._logs import last_lines
from medssl_launchers._task import Task
from medssl_launchers.slurm import Slurm


@pytest.fixture
def job(tmp_path):
    (tmp_path / "slurm").mkdir()
    commands = [["true"]] * 4
    return Job(name="x", study=tmp_path, folder=tmp_path, cells=["a"], commands=commands, directory=tmp_path)


@pytest.fixture
def launcher(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(slurm, "import_module", lambda name: SimpleNamespace())
    return Slurm(
        Slurm.Config(partition="gpu", gpus=1, memory_gb=1.5, sbatch=("nice=100", "hold"), setup=("module load x",))
    )


def answers(monkeypatch, text):
    monkeypatch.setattr(slurm, "_ask", lambda *_: text)


def test_states_are_those_of_squeue(launcher, job, monkeypatch):
    answers(
        monkeypatch,
        "7_0|RUNNING|x|None\n7_1|PENDING|x|(Priority)\n7_2|COMPLETED|x|None\n7_3|OUT_OF_MEMORY|x|OutOfMemory\n",
    )
    (job.folder / "slurm" / "7_3_0_log.out").write_text("one\n\ntwo\n")
    found = launcher.states(job, "7")
    assert [task.state for task in found] == ["running", "waiting", "done", "failed"]
    assert found[1].message == "(Priority)"
    assert found[3].message == "OUT_OF_MEMORY\none\ntwo"


@pytest.mark.parametrize(
    ("state", "expected"),
    [("CONFIGURING", "waiting"), ("REQUEUED", "waiting"), ("COMPLETING", "running"), ("NODE_FAIL", "failed")],
)
def test_a_job_of_one_task_has_no_index(launcher, job, monkeypatch, state, expected):
    one = Job(name="x", study=job.study, folder=job.folder, cells=["a"], commands=[["true"]], directory=job.directory)
    answers(monkeypatch, f"7|{state}|x|None\n")
    assert [task.state for task in launcher.states(one, "7")] == [expected]


def test_what_squeue_has_forgotten_is_read_from_the_logs(launcher, job, monkeypatch):
    answers(monkeypatch, "")
    (job.folder / "slurm" / "7_0_0_log.out").write_text("submitit INFO - Exiting after successful completion\n")
    (job.folder / "slurm" / "7_1_0_log.out").write_text("submitit INFO - Starting\n")
    found = launcher.states(job, "7")
    assert [task.state for task in found] == ["done", "failed", "failed", "failed"]
    assert found[1].message == "Slurm does not know the job any more\nsubmitit INFO - Starting"


def test_a_job_of_another_cluster_is_not_taken_for_the_one_of_its_number_here(launcher, job, monkeypatch):
    answers(monkeypatch, "".join(f"7_{number}|RUNNING|other|None\n" for number in range(4)))
    assert [task.state for task in launcher.states(job, "7")] == ["failed"] * 4
    asked = []
    monkeypatch.setattr(slurm, "_ask", lambda *words: asked.append(words))
    launcher.cancel(job, "7")
    assert asked == [("scancel", "--name=x", "7")]


def test_options_are_those_of_sbatch(launcher, job):
    found = launcher._parameters(job)
    assert found["additional_parameters"] == {"requeue": True, "nice": "100", "hold": True}
    assert (found["partition"], found["gpus_per_node"], found["mem"]) == ("gpu", 1, "1536M")
    assert found["setup"] == ["module load x"]
    assert found["array_parallelism"] == 4
    assert not {"account", "qos", "constraint"} & set(found)


def test_a_machine_without_slurm_is_told_where_to_go(monkeypatch):
    monkeypatch.setattr(slurm, "import_module", lambda name: SimpleNamespace())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(OptionError, match=r"sbatch is not on this machine.*login node"):
        Slurm(Slurm.Config())


def test_a_missing_package_is_named():
    def fail(name):
        raise ImportError("No module named 'submitit'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm, "import_module", fail)
        with pytest.raises(OptionError, match=r"pip install medssl\[slurm\]"):
            Slurm(Slurm.Config())


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo unable to contact slurm controller >&2; exit 1", "unable to contact slurm controller"),
        ("sleep 5", "timed out"),
    ],
)
def test_a_program_that_does_not_answer_is_said(tmp_path, monkeypatch, script, words):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setattr(slurm, "_SECONDS", 0.3)
    with pytest.raises(LaunchError, match=words):
        slurm._ask(str(tmp_path / "squeue"))


def test_a_job_that_squeue_does_not_know_is_no_error(tmp_path):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho slurm_load_jobs error: Invalid job id specified >&2; exit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    assert slurm._ask(str(tmp_path / "squeue")) == ""


# ------------------------------------------------------------------------------------------------------------- the task

ENDS = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


def test_a_task_runs_its_command_in_its_folder(tmp_path):
    Task(str(tmp_path))([sys.executable, "-c", "open('here', 'w')"])
    assert (tmp_path / "here").exists()
    with pytest.raises(RuntimeError, match="exit status 3"):
        Task(str(tmp_path))([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize("program", [ENDS, STUBBORN])
def test_a_task_ends_its_command_within_a_signal_handler(tmp_path, monkeypatch, program):
    """Found on a real Slurm: to wait there for a process that is waited for already takes for ever."""
    monkeypatch.setattr(_task, "_ALREADY", 0.1)
    monkeypatch.setattr(_task, "_GRACE", 0.5)
    monkeypatch.setattr(
        _task, "import_module", lambda name: SimpleNamespace(helpers=SimpleNamespace(DelayedSubmission=tuple_of))
    )
    task, found = Task(str(tmp_path)), []

    def handler(*_):
        found.append((task.checkpoint(["again"]), time.monotonic()))

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        timer = threading.Timer(0.5, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2))
        timer.start()
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="exit status -"):
            task([sys.executable, "-c", program])
    finally:
        signal.signal(signal.SIGUSR2, before)
    ((again, command), ended) = found[0]
    assert isinstance(again, Task)
    assert command == ["again"]
    assert ended - began < 5


def tuple_of(*values):
    return values


def test_the_last_lines_of_a_long_log(tmp_path):
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_bytes(b"\xff\n" * 5000 + b"a\n\nb\nc\nd\ne\nf\n\n")
    assert last_lines(log) == "b\nc\nd\ne\nf"
