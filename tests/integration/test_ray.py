"""A study on a real Ray cluster of one node: an actor is killed, and its cell is taken up again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.recorded import read_run
from medssl.catalog import load_catalog
from medssl.recipe import resolve
from medssl.results.directory import RunDirectory
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, execute

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (medssl[ray])"),
]


OPTIONS = ["--port=0", "--num-cpus=2", "--num-gpus=0", "--object-store-memory=80000000"]
OPTIONS += ["--include-dashboard=false", "--disable-usage-stats"]


@contextlib.contextmanager
def cluster(values):
    """A cluster of two cores; its address, or ``None``: it could not be started in the 30 seconds that Ray gives."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # sockets
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--temp-dir={folder}"]
        address, file = Path(folder) / "ray_current_cluster", Path(folder) / "said"
        with file.open("wb") as said:
            head = subprocess.Popen([*command, *OPTIONS], env=values, stdout=said, stderr=said)
        try:
            while head.poll() is None and not (address.exists() and "started" in file.read_text()):
                time.sleep(0.2)
            yield address.read_text().strip() if head.poll() is None else None
        finally:
            head.terminate()
            head.wait(60)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment in which a cluster is found."""
    values = {**os.environ, "RAY_ADDRESS": "", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    values |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path_factory.mktemp("hub"))}
    values["RAY_worker_niceness"] = "0"  # Ray gives 15: on a loaded machine a task then takes several times as long
    values.pop("MEDSSL_DATA", None)
    for _ in range(3):
        with cluster(values) as address:
            if address is not None:
                yield {**values, "RAY_ADDRESS": address}
                return
    pytest.fail("no Ray cluster could be started; the machine may be overloaded")


@pytest.fixture
def study(cluster_study, environment):
    return cluster_study("ray", environment, "--jobs", "2")


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_study_survives_the_death_of_an_actor(study):
    front = study.start()
    folder, worker = next(iter(study.wait(study.training).items()))
    front.send_signal(signal.SIGTERM)  # the command is closed; its tasks go on
    assert front.wait(120) == 143
    assert "go on" in study.said()

    folder, worker = next(iter(study.wait(study.training).items()))
    task = parent(worker)
    before = (folder / "history.jsonl").read_text().splitlines()
    os.kill(parent(task), signal.SIGKILL)
    study.wait(lambda: not Path(f"/proc/{task}/cmdline").exists() or not Path(f"/proc/{task}/cmdline").read_bytes())

    assert study.start().wait(1200) == 1, study.said()  # some cells have no weights
    assert "Traceback" not in study.said()
    cells = json.loads((study.runs / "study.json").read_text())["cells"]
    assert [cell["state"] for cell in cells].count("done") == 8
    assert {cell["method"] for cell in cells if cell["state"] == "failed"} == {"imagenet"}
    assert all("could not download" in cell["message"] for cell in cells if cell["state"] == "failed")
    assert len(cells) == 12
    jobs = [json.loads(path.read_text())["cells"] for path in study.runs.glob("jobs/*/job.json")]
    again = {name for cells in sorted(jobs, key=len)[:-1] for name in cells}
    assert all("imagenet" in name for name in again)  # only what had failed was submitted again
    assert not list(study.runs.glob("*/lock"))

    after = (folder / "history.jsonl").read_text().splitlines()
    assert after[: len(before) - 1] == before[:-1]  # times included: they were not trained again
    assert len(after) == 10
    recipe = resolve(load_catalog(), [RunDirectory(folder).load().recipe])
    straight = study.folder / "straight"
    execute(recipe, catalog=load_catalog(), place=Place(output=straight), listener=Listener())
    assert read_run(straight / folder.name) == read_run(folder)


def test_actors_are_ended_by_the_command(study):
    front = study.start()
    worker = next(iter(study.wait(study.training).values()))
    front.send_signal(signal.SIGTERM)
    front.wait(120)
    assert study.start("--cancel").wait(120) == 0
    assert "cancelled: ray-" in study.said()
    study.wait(lambda: not Path(f"/proc/{worker}").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes())


def test_no_cluster_is_said(study):
    study.environment["RAY_ADDRESS"] = ""
    front = study.start("--set", "launcher.address=127.0.0.1:1")
    assert front.wait(300) == 1
    assert "Ray does not answer at the address '127.0.0.1:1'" in study.said()
    assert "ray start --head" in study.said()
    assert not list(study.runs.glob("jobs/*"))
