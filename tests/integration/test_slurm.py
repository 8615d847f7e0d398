"""A study on a real Slurm of one node: its tasks are preempted, killed and queued again, its controller restarted."""

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
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
# Twelve cells; those of `imagenet` fail, because it needs weights and nothing is downloaded.
PLAN = """
methods: [dcl]
baselines: [random, imagenet]
datasets: [{plugin: phantom, images_per_patient: 3}]
seeds: 4
evaluators: [knn]
settings:
  train: {epochs: 10, batch_size: 16, validate_every: 0}
  views: {image_size: 24}
  encoder: {backbone: resnet10t, stem: standard}
  evaluate: {bootstrap: 100}
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
def cluster():
    pytest.importorskip("submitit")
    with tempfile.TemporaryDirectory(prefix="medssl-slurm-", ignore_cleanup_errors=True) as folder:
        yield from running(Path(folder))


def running(folder):
    made = Cluster(folder)
    try:
        wait_for(lambda: "idle" in made.ask("sinfo", "--noheader", "--format=%T", check=False), made.logs, 60)
        yield made
    finally:
        made.ask("scancel", "--user", getpass.getuser(), check=False)
        for name in ("slurmd", "slurmctld", "munged"):
            made.stop(name)


def wait_for(condition, said=lambda: "", seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not come to that. {said()}"
        time.sleep(0.1)
    return found


@pytest.fixture
def study(tmp_path, cluster):
    (tmp_path / "plan.yaml").write_text(PLAN)
    return Study(tmp_path, cluster)


class Study:
    """The command for a study, and what it leaves."""

    def __init__(self, folder, cluster):
        self.folder, self.cluster, self.runs = folder, cluster, folder / "runs"

    def start(self, *words):
        environment = {**self.cluster.environment, "MEDSSL_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        environment.pop("MEDSSL_DATA", None)
        options = {"partition": "low", "cpus": 1, "minutes": 30, "warning": 60}
        settings = [word for name, value in options.items() for word in ("--set", f"launcher.{name}={value}")]
        command = [sys.executable, "-m", "medssl", "bench", "plan.yaml", "--launcher", "slurm", *settings, *words]
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=said, stderr=said)

    def said(self):
        logs = [path.read_text(errors="replace")[-1500:] for path in self.runs.glob("jobs/*/slurm/*_log.out")]
        return "\n".join([(self.folder / "said.txt").read_text(), *logs])

    def training(self):
        """Folders of cells that train now and have finished an epoch, with the numbers of their processes."""
        found = {}
        for lock in self.runs.glob("*/lock"):
            with contextlib.suppress(OSError, ValueError):
                if (lock.parent / "state.pt").exists() and not (lock.parent / "encoder.safetensors").exists():
                    found[lock.parent] = json.loads(lock.read_text())["pid"]
        return found

    def tasks(self, *states):
        """Names of the study's tasks that Slurm has in one of these states."""
        rows = self.cluster.ask("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").split("\n")
        return [
            row.split()[0] for row in rows if row and row.split()[0].startswith(self.job()) and row.split()[1] in states
        ]

    def job(self):
        (handle,) = [json.loads(path.read_text())["handle"] for path in self.runs.glob("jobs/*/job.json")]
        return handle


def test_a_study_survives_what_happens_on_a_cluster(study, cluster):
    front = study.start()
    wait_for(study.training, study.said)
    front.send_signal(signal.SIGTERM)  # the command is closed; its job goes on
    assert front.wait(60) == 143
    assert "go on" in study.said()

    folder, pid = next(iter(wait_for(study.training, study.said).items()))
    os.kill(pid, signal.SIGKILL)  # the process of a cell dies, as by lack of memory
    wait_for(lambda: list(study.runs.glob(f"jobs/*/failed/{folder.name}.json")), study.said)
    (failure,) = study.runs.glob(f"jobs/*/failed/{folder.name}.json")
    assert "signal SIGKILL" in json.loads(failure.read_text())["message"]

    other = next(iter(wait_for(study.training, study.said)))
    tasks = study.tasks("RUNNING")
    began = time.monotonic()
    with cluster.signals("USR2", tasks):  # as before the time limit
        wait_for(lambda: not set(tasks) & set(study.tasks("RUNNING")), study.said)
    assert time.monotonic() - began < 60
    wait_for(lambda: set(tasks) <= set(study.tasks("PENDING", "RUNNING", "COMPLETED")), study.said, 60)
    assert (other / "state.pt").exists()

    wait_for(study.training, study.said)  # another job preempts the tasks
    first = cluster.ask("sbatch", "--parsable", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=true")
    wait_for(lambda: not cluster.ask("squeue", "--noheader", f"--jobs={first.strip()}", check=False), cluster.logs)

    cluster.stop("slurmctld")
    cluster.start("slurmctld", "-D")
    wait_for(lambda: cluster.ask("squeue", "--noheader", check=False), cluster.logs, 60)

    assert study.start().wait(900) == 1, study.said()  # those without weights
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
    wait_for(lambda: list(study.runs.glob("jobs/*/job.json")) and study.job(), study.said)
    front.send_signal(signal.SIGTERM)
    front.wait(60)
    assert cluster.ask("squeue", "--noheader", f"--jobs={study.job()}")
    assert study.start("--cancel").wait(120) == 0
    wait_for(lambda: not cluster.ask("squeue", "--noheader", f"--jobs={study.job()}", check=False))
