"""What is asked of a Ray cluster, by a stand-in. tests/integration/test_ray.py has a real one."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from medssl.contracts import Job
from medssl.errors import LaunchError, OptionError
from medssl_launchers import _ray, ray
from medssl_launchers.ray import Ray


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(ray, "find_spec", lambda name: name)


def job_of(folder, count, at_once=None):
    commands = [["true", str(number)] for number in range(count)]
    return Job(name="x", study=folder, folder=folder, cells=["a"], commands=commands, directory=folder, at_once=at_once)


class Cluster:
    """Stands in for the package ray: actors are names with what they were made with."""

    def __init__(self):
        self.actors = {}

    def remote(self, kind):
        def options(name, **given):
            return SimpleNamespace(remote=lambda *arguments: self.actors.update({name: (kind, given, arguments)}))

        return SimpleNamespace(options=options)

    def get_actor(self, name, namespace):
        assert namespace == "medssl"
        if name not in self.actors:
            raise ValueError(name)
        return name

    def kill(self, name):
        del self.actors[name]


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr(
        Ray, "_ask", lambda self, what, **values: _ray.answer(made, json.loads(json.dumps({"what": what, **values})))
    )
    return made


@pytest.mark.parametrize(("at_once", "lanes"), [(None, 3), (2, 2), (9, 3)])
def test_each_lane_is_a_detached_actor_with_its_share_of_the_tasks(tmp_path, cluster, at_once, lanes):
    launcher = Ray(Ray.Config(cpus=2, gpus=0.5, memory_gb=1.5, resources=("a100=1", "fast=0.1")))
    names = json.loads(launcher.submit(job_of(tmp_path, 3, at_once)))
    assert list(cluster.actors) == names
    assert len(set(names)) == lanes
    tasks = []
    for name, (kind, given, arguments) in cluster.actors.items():
        assert kind is _ray.Lane
        assert given == {
            "lifetime": "detached",
            "namespace": "medssl",
            "max_restarts": -1,
            "num_cpus": 2,
            "num_gpus": 0.5,
            "memory": 3 * 2**29,
            "resources": {"a100": 1.0, "fast": 0.1},
        }
        assert arguments[:3] == (name, str(tmp_path), str(tmp_path))
        tasks += arguments[3]
    assert sorted(tasks) == [[number, ["true", str(number)]] for number in range(3)]


def test_states_are_those_of_the_files_and_of_the_actors(tmp_path, cluster):
    launcher, job = Ray(Ray.Config()), job_of(tmp_path, 4, at_once=2)  # lanes: 0 and 2, 1 and 3
    handle = launcher.submit(job)
    assert [task.state for task in launcher.states(job, handle)] == ["waiting"] * 4
    (tmp_path / "task-0.log").write_text("one\n")
    (tmp_path / "task-1.log").write_text("fire\n")
    (tmp_path / "task-1.status").write_text("3")
    assert [task.state for task in launcher.states(job, handle)] == ["running", "failed", "waiting", "waiting"]
    assert launcher.states(job, handle)[1].message == "exit status 3\nfire"
    launcher.cancel(job, handle)
    launcher.cancel(job, handle)
    assert cluster.actors == {}
    found = launcher.states(job, handle)
    assert [task.state for task in found] == ["failed"] * 4
    assert found[0].message == "it was ended\none"


def test_the_cluster_is_not_asked_about_tasks_that_have_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(Ray, "_ask", lambda *_, **__: 1 / 0)
    for number in range(2):
        (tmp_path / f"task-{number}.status").write_text("0")
    found = Ray(Ray.Config()).states(job_of(tmp_path, 2), '["a", "b"]')
    assert [task.state for task in found] == ["done", "done"]


def test_an_actor_runs_what_has_not_ended_and_then_ends_itself(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(
        _ray, "import_module", lambda _: SimpleNamespace(get_actor=lambda *a, **k: a, kill=ended.append)
    )
    (tmp_path / "task-0.status").write_text("0")
    write = [sys.executable, "-c", "import sys; print('here'); open(sys.argv[1], 'w')"]
    _ray.Lane("me", str(tmp_path), str(tmp_path), [(number, [*write, f"made-{number}"]) for number in range(3)])
    deadline = time.monotonic() + 30
    while not ended and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ended == [("me",)]
    assert sorted(path.name for path in tmp_path.glob("made-*")) == ["made-1", "made-2"]
    assert (tmp_path / "task-2.log").read_text() == "here\n"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(ray, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install medssl\[ray\]"):
        Ray(Ray.Config())


def test_a_resource_without_an_amount_is_said():
    with pytest.raises(OptionError, match=r"'a100'\. Give a name and an amount"):
        Ray(Ray.Config(resources=("a100",)))


def test_a_cluster_that_cannot_be_reached_is_said(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nConnectionError: nothing is there.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(LaunchError, match=r"at the address 'auto'\. ConnectionError: nothing is there\. Tasks.*Start"):
        Ray(Ray.Config()).submit(job_of(tmp_path, 1))


def test_a_cluster_that_does_not_answer_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "_SECONDS", 0.01)
    with pytest.raises(LaunchError, match=r"at the address 'auto'\. It has not for 0 seconds\..*not affected"):
        Ray(Ray.Config()).submit(job_of(tmp_path, 1))
