"""One process at a time trains an encoder; the others wait for it, or say that they would have to."""

import threading
import time
from types import SimpleNamespace

import pytest

from medssl.catalog import load_catalog
from medssl.errors import CheckpointError
from medssl.io.leases import holding, is_held
from medssl.io.locks import BusyError
from medssl.recipe import resolve
from medssl.runs.kept import reuse
from medssl.runs.kept.reuse import lease_of_pretraining, turn_to_train


@pytest.fixture
def context(tmp_path, monkeypatch):
    """What a turn needs of a run's context, with the notes of its listener."""
    monkeypatch.setattr(reuse, "_PAUSE", 0.02)
    notes = []
    return SimpleNamespace(
        recipe=resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom"}]),
        directory=SimpleNamespace(path=tmp_path / "run"),
        listener=SimpleNamespace(note=notes.append, notes=notes),
    )


def test_a_turn_is_a_lease_that_leaves_nothing_behind(context, tmp_path):
    folder = lease_of_pretraining(context.recipe, tmp_path)
    with turn_to_train(context, patient=False):
        assert is_held(folder)
    assert not list(tmp_path.iterdir())


def test_one_that_is_not_patient_says_so(context, tmp_path):
    folder = lease_of_pretraining(context.recipe, tmp_path)
    folder.mkdir()
    with holding(folder), pytest.raises(BusyError), turn_to_train(context, patient=False):
        pass


def test_a_patient_one_waits_and_says_it_once(context, tmp_path):
    order = []

    def work():
        with turn_to_train(context, patient=True):
            order.append("second")

    with turn_to_train(context, patient=True):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert context.listener.notes == ["waiting for the encoder, which another process is training"]
    assert not list(tmp_path.iterdir())


def test_what_trains_nothing_needs_no_turn(context, tmp_path):
    context.recipe = resolve(load_catalog(), [{"method": "random", "dataset": "phantom"}])
    with turn_to_train(context, patient=False):
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_named(context, tmp_path):
    context.directory.path = tmp_path / "none" / "run"
    with pytest.raises(CheckpointError, match=r"cannot be written.*--output"), turn_to_train(context, patient=True):
        pass
