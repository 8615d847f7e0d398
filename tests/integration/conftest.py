"""A study whose cells run on a cluster: the command, and what is in its folder."""

import contextlib
import json
import subprocess
import sys

import pytest

# Twelve cells. Those of `imagenet` fail: it needs weights, and nothing is downloaded.
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


class ClusterStudy:
    """The command for a study on a cluster, and what it leaves.

    Args:
        folder: Where it runs.
        launcher: Name of the launcher.
        environment: Variables with which the launcher finds the cluster.
        words: Further words of the command.
        wait_for: The fixture.
    """

    def __init__(self, folder, launcher, environment, words, wait_for):
        self.folder, self.runs, self._wait_for = folder, folder / "runs", wait_for
        self._words = ["--launcher", launcher, *words]
        self.environment = {**environment, "MEDSSL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        self.environment.pop("MEDSSL_DATA", None)
        (folder / "plan.yaml").write_text(PLAN)

    def start(self, *words):
        command = [sys.executable, "-m", "medssl", "bench", "plan.yaml", *self._words, *words]
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=said, stderr=said)

    def said(self):
        """What the command and the tasks have written."""
        logs = [path for name in ("task-*.log", "slurm/*_log.out") for path in self.runs.glob(f"jobs/*/{name}")]
        texts = [path.read_text(errors="replace")[-1500:] for path in logs]
        return "\n".join([(self.folder / "said.txt").read_text(), *texts])

    def training(self):
        """Folders of cells that train now and have finished an epoch, with the numbers of their processes."""
        found = {}
        for lock in self.runs.glob("*/lock"):
            with contextlib.suppress(OSError, ValueError):
                if (lock.parent / "state.pt").exists() and not (lock.parent / "encoder.safetensors").exists():
                    found[lock.parent] = json.loads(lock.read_text())["pid"]
        return found

    def wait(self, condition, seconds=600):
        """Wait until the condition is true; return what it returned."""
        return self._wait_for(condition, self.said, seconds)


@pytest.fixture
def cluster_study(tmp_path, wait_for):
    """A function that writes a plan and returns its study; see :class:`ClusterStudy`."""

    def make(launcher, environment, *words):
        return ClusterStudy(tmp_path, launcher, environment, words, wait_for)

    return make
