"""The variables of torchrun and Slurm say which rank a process is."""

import pytest

from medssl.errors import OptionError
from medssl.world.membership import Membership, membership, seconds_of_silence

TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node7", "MASTER_PORT": "12345"}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-08,11]",
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
}


def test_torchrun():
    assert membership(TORCHRUN) == Membership(3, 4, 1, "node7", 12345)
    assert membership(TORCHRUN).variables() == TORCHRUN


def test_one_process_trains_alone():
    assert membership({}) is None
    assert membership(TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[07-08,11]", "gpu07"), ("a,b", "a"), ("x9", "x9"), ("n[3,5]", "n3"), ("r1n[2-4],z", "r1n2")],
)
def test_tasks_of_slurm_meet_at_the_first_node(nodes, first):
    found = membership(SLURM | {"SLURM_STEP_NODELIST": nodes})
    assert (found.rank, found.size, found.local, found.address) == (5, 8, 1, first)
    assert 20_000 <= found.port < 30_000
    assert found.port != membership(SLURM | {"SLURM_JOB_ID": "4712"}).port
    assert membership(SLURM | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "99"}).port == 99


def test_a_batch_script_itself_is_no_rank():
    assert membership({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}) is None


@pytest.mark.parametrize("wrong", [{"RANK": "x"}, {"RANK": "4"}, {"WORLD_SIZE": ""}, {"MASTER_PORT": "-1"}])
def test_contradicting_variables_are_an_error(wrong):
    with pytest.raises(OptionError, match="torchrun, srun or --devices"):
        membership(TORCHRUN | wrong)


@pytest.mark.parametrize("text", ["", "0", "-3", "soon", "nan", "inf"])
def test_time_out_is_a_number_of_seconds(text):
    assert seconds_of_silence({}) == 300
    assert seconds_of_silence({"MEDSSL_TIMEOUT": "2.5"}) == 2.5
    with pytest.raises(OptionError, match="MEDSSL_TIMEOUT"):
        seconds_of_silence({"MEDSSL_TIMEOUT": text})
