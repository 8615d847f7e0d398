"""`--devices K`: one command line, one output, one exit status, and the numbers of one device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medssl.errors import OptionError
from medssl.world.membership import cores
from medssl.world.processes import start

WORDS = [
    "--method",
    "simclr",
    "--dataset",
    "phantom",
    "--image-size",
    "24",
    "--backbone",
    "resnet10t",
    "--device",
    "cpu",
]
WORDS += ["--evaluator", "knn", "--set", "encoder.stem=standard", "--set", "dataset.images_per_patient=2"]
WORDS += ["--set", "evaluate.bootstrap=0", "--epochs", "2", "--batch-size", "17", "--precision", "float32"]
two_cores = pytest.mark.skipif(cores() < 2, reason="this machine has one processor")


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "MEDSSL_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "medssl", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *words: str) -> dict:
    process = command(folder, "run", *WORDS, *words, "--json")
    out, said = process.communicate(timeout=900)
    assert process.returncode == 0, said
    return json.loads(out)


@two_cores
def test_output_is_that_of_rank_0(tmp_path):
    with (tmp_path / "out").open("w+") as output:
        assert start(["--version"], 2, output) == 0
        output.seek(0)
        assert output.read().count("medssl") == 1


@two_cores
def test_exit_status_is_that_of_the_rank_that_failed(tmp_path, capfd):
    with (tmp_path / "out").open("w") as output:
        assert start(["run", "--nonsense"], 2, output) == 2
    assert capfd.readouterr().err.count("No such option") >= 1


def test_more_devices_than_there_are(tmp_path):
    with pytest.raises(OptionError, match=f"It has {cores()} processors"):
        start(["--version"], cores() + 1, sys.stdout)
    process = command(tmp_path, "run", *WORDS, "--devices", "999")
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert "--devices 999 is more than this machine has" in said


@pytest.mark.slow
@two_cores
def test_two_devices_give_the_result_of_one_within_rounding(tmp_path):
    two = run(tmp_path, "--devices", "2")
    one = run(tmp_path, "--output", "alone")
    assert two["recipe"]["hash"] == one["recipe"]["hash"]
    assert two["pretrain"]["final_loss"] == pytest.approx(one["pretrain"]["final_loss"], rel=1e-3)
    assert (two["environment"]["devices"], two["environment"]["devices_backend"]) == (2, "gloo")
    assert (one["environment"]["devices"], one["environment"]["devices_backend"]) == (1, None)
    assert two["environment"]["batch_norm_devices"] == "all"
    names = [sorted(path.name for path in next((tmp_path / f).iterdir()).iterdir()) for f in ("runs", "alone")]
    assert names[0] == names[1]


@pytest.mark.slow
@two_cores
def test_a_signal_stops_all_and_one_device_goes_on(tmp_path, wait_for):
    process = command(tmp_path, "run", *WORDS, "--epochs", "400", "--devices", "2")
    wait_for(lambda: list(tmp_path.glob("runs/*/state.pt")), seconds=600, process=process)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 143, said
    assert "Run the same command to continue." in said
    assert "Traceback" not in said


@pytest.mark.slow
@two_cores
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks in /proc")
def test_a_killed_rank_is_named(tmp_path, wait_for):
    process = command(tmp_path, "run", *WORDS, "--epochs", "400", "--devices", "2")
    wait_for(lambda: list(tmp_path.glob("runs/*/state.pt")), seconds=600, process=process)
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(ranks[1]), signal.SIGKILL)
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 137
    assert "SIGKILL ended the process of rank 1" in said
