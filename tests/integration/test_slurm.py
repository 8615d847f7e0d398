"""A study on a real Slurm of one node: its tasks are preempted, killed and queued again, its controller restarted."""

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel")
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: slurm-wlm, munge)"),
]

CONFIGURATION = """
ClusterName=medssl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/socket,cred_expire=5
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """The daemons of a Slurm of one node, as ordinary processes."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "NO_COLOR": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder),
        }
        folder.chmod(0o755)  # munge wants its socket to be reached by everyone
        for name in ("munge", "state", "spool"):
            (folder / name).mkdir(mode=0o700)
        (folder / "munge" / "key").write_bytes(os.urandom(1024))
        (folder / "munge" / "key").chmod(0o400)
        values = {"host": socket.gethostname(), "ports": free_ports(2), "folder": folder, "user": getpass.getuser()}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
        munge = [f"--{name}={folder}/munge/{name}" for name in ("pid-file", "log-file", "seed-file")]
        self.processes = {}
        self.start("munged", "--foreground", f"--key-file={folder}/munge/key", f"--socket={folder}/socket", *munge)
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D")

    def start(self, name, *words):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([name, *words], env=self.environment, stdout=log, stderr=log)

    def stop(self, name):
        self.processes[name].terminate()
        try:
            self.processes[name].wait(20)
        except subprocess.TimeoutExpired:
            self.processes[name].kill()
            self.processes[name].wait()

    def ask(self, *words, check=True):
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=check)
        return done.stdout

    @contextlib.contextmanager
    def signals(self, name, tasks):
        """Send a signal to tasks; scancel goes on to try while they change their state."""
        sent = [subprocess.Popen(["scancel", f"--signal={name}", task], env=self.environment) for task in tasks]
        yield
        for process in sent:
            process.kill()
            process.wait()

    def logs(self):
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("*.log"))


@pytest.fixture(scope="module")
def cluster(wait_for):
    pytest.importorskip("submitit")
    with tempfile.TemporaryDirectory(prefix="medssl-slurm-", ignore_cleanup_errors=True) as folder:
        yield from running(Path(folder), wait_for)


def running(folder, wait_for):
    made = Cluster(folder)
    try:
        wait_for(lambda: "idle" in made.ask("sinfo", "--noheader", "--format=%T", check=False), made.logs, 60)
        yield made
    finally:
        made.ask("scancel", "--user", getpass.getuser(), check=False)
        for name in ("slurmd", "slurmctld", "munged"):
            made.stop(name)


@pytest.fixture
def study(cluster_study, cluster):
    options = {"partition": "low", "cpus": 1, "minutes": 30, "warning": 60}
    words = [word for name, value in options.items() for word in ("--set", f"launcher.{name}={value}")]
    return cluster_study("slurm", cluster.environment, *words)


def job_of(study):
    (handle,) = [json.loads(path.read_text())["handle"] for path in study.runs.glob("jobs/*/job.json")]
    return handle


def tasks_of(study, cluster, *states):
    """Names of the study's tasks that Slurm has in one of these states."""
    lines = cluster.ask("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").splitlines()
    rows = [line.split() for line in lines if line]
    return [name for name, state in rows if name.startswith(job_of(study)) and state in states]


def test_a_study_survives_what_happens_on_a_cluster(study, cluster, wait_for):
    front = study.start()
    study.wait(study.training)
    front.send_signal(signal.SIGTERM)  # the command is closed; its job goes on
    assert front.wait(60) == 143
    assert "go on" in study.said()

    folder, pid = next(iter(study.wait(study.training).items()))
    os.kill(pid, signal.SIGKILL)  # the process of a cell dies, as by lack of memory
    study.wait(lambda: list(study.runs.glob(f"jobs/*/failed/{folder.name}.json")))
    (failure,) = study.runs.glob(f"jobs/*/failed/{folder.name}.json")
    assert "signal SIGKILL" in json.loads(failure.read_text())["message"]

    other = next(iter(study.wait(study.training)))
    tasks = tasks_of(study, cluster, "RUNNING")
    began = time.monotonic()
    with cluster.signals("USR2", tasks):  # as before the time limit
        study.wait(lambda: not set(tasks) & set(tasks_of(study, cluster, "RUNNING")))
    assert time.monotonic() - began < 60
    study.wait(lambda: set(tasks) <= set(tasks_of(study, cluster, "PENDING", "RUNNING", "COMPLETED")), 60)
    assert (other / "state.pt").exists()

    study.wait(study.training)  # another job preempts the tasks
    first = cluster.ask("sbatch", "--parsable", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=true")
    wait_for(lambda: not cluster.ask("squeue", "--noheader", f"--jobs={first.strip()}", check=False), cluster.logs)

    cluster.stop("slurmctld")
    cluster.start("slurmctld", "-D")
    wait_for(lambda: cluster.ask("squeue", "--noheader", check=False), cluster.logs, 60)

    assert study.start().wait(900) == 1, study.said()  # those without weights
    assert "Traceback" not in study.said()
    cells = json.loads((study.runs / "study.json").read_text())["cells"]
    assert len(cells) == 12
    assert [cell["state"] for cell in cells].count("done") == 8
    failed = [cell for cell in cells if cell["state"] == "failed"]
    assert {cell["method"] for cell in failed} == {"imagenet"}
    assert all("could not download" in cell["message"] for cell in failed)
    trained = list(study.runs.glob("*/history.jsonl"))
    assert len(trained) == 4
    for path in trained:
        assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == list(range(10))
    assert not list(study.runs.glob("*/lock"))


def test_a_job_that_slurm_refuses_is_said(study):
    front = study.start("--set", "launcher.partition=none")
    assert front.wait(120) == 1
    assert "Slurm refused the job" in study.said()
    assert "invalid partition" in study.said()
    assert "Traceback" not in study.said()
    assert not list(study.runs.glob("jobs/*"))


def test_jobs_are_cancelled_by_the_command(study, cluster):
    front = study.start("--set", "launcher.sbatch=[hold]")
    study.wait(lambda: list(study.runs.glob("jobs/*/job.json")) and job_of(study))
    front.send_signal(signal.SIGTERM)
    front.wait(60)
    assert cluster.ask("squeue", "--noheader", f"--jobs={job_of(study)}")
    assert study.start("--cancel").wait(120) == 0
    study.wait(lambda: not cluster.ask("squeue", "--noheader", f"--jobs={job_of(study)}", check=False))
