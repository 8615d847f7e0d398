"""Running the kit: all findings at once, the order, and a plugin that cannot be built."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from medssl.conformance import (
    ContractError,
    check_plugin,
    checks_for,
    run_checks,
)
from medssl.conformance.running import name_of
from medssl.contracts import Classes, Dataset, Evaluator, Listing, Method, Sample
from medssl.contracts.kinds import KINDS


class Sound(Dataset):
    """Keeps the contract without a file."""

    def index(self):
        return Listing(samples=[Sample(id=f"{i}", y=i % 2) for i in range(4)], target=Classes(("a", "b")))

    def read(self, sample):
        return np.full((4, 4, 1), int(sample.id), np.uint8)


class Wide(Dataset):
    """Breaks the contract twice."""

    def index(self):
        return Listing(samples=[Sample(id="1", y=1)], target=Classes(("a", "b")), group_kind="patient")

    def read(self, sample):
        return np.zeros((4, 4, 4), np.float32)


def test_all_findings_come_at_once():
    with pytest.raises(ContractError) as error:
        check_plugin("dataset", Wide)
    text = str(error.value)
    assert text.startswith("Wide breaks the dataset contract:\n- ")
    assert "- groups and default split fit together: group_kind must say" in text
    expected = "- images can be read: read() of 1: the result is an array of shape (4, 4, 4)"
    assert expected in text


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_something_that_is_no_plugin_of_the_kind_is_said_to_be_none(kind):
    class Other:
        pass

    with pytest.raises(ContractError, match=r"Other is not a subclass of medssl\.contracts\."):
        check_plugin(kind, Other)


def test_a_broken_signature_ends_the_checks():
    class Broken(Evaluator):
        @dataclass
        class Config:
            k: int

        def __init__(self, *args):
            pass

    (result,) = run_checks("evaluator", Broken)
    assert result.name == "keeps the signature"
    assert "fit() is missing" in result.problem
    assert "not frozen" in result.problem
    assert "without a default: k" in result.problem
    assert "*args" in result.problem


@pytest.mark.parametrize("submodule", [True, False])
def test_a_forgotten_call_of_the_parent_s_constructor_is_said_once(submodule):
    class Forgets(Method):
        def __init__(self, config, encoder, task):
            self.config = config
            if submodule:
                self.head = nn.Linear(task.feature_dim, 8)

        def loss(self, batch, encode):
            return encode(batch.views)[0].sum()

    *before, last = run_checks("method", Forgets)
    assert all(result.problem is None for result in before)
    assert last.name == "can be built"
    assert last.problem == "__init__() must begin with super().__init__(config, encoder, task), but does not call it"


def test_an_option_that_refuses_its_own_default_is_seen():
    class Odd(Sound):
        @dataclass(frozen=True, kw_only=True)
        class Config:
            size: int = "large"

    assert "options have names types and defaults" in [r.name for r in run_checks("dataset", Odd) if r.problem]


def test_whatever_a_plugin_raises_is_its_finding():
    class Crashes(Sound):
        def read(self, sample):
            raise ZeroDivisionError("by zero")

    found = {result.name: result.problem for result in run_checks("dataset", Crashes)}
    raised = found["images can be read"]
    assert re.fullmatch(r"it raised ZeroDivisionError: by zero \(in read, test_kit.py:\d+\)", raised)
    assert found["samples are sound"] is None


def test_the_caller_s_random_numbers_stay_where_they_were():
    class Seeds(Method):
        def loss(self, batch, encode):
            torch.manual_seed(3)
            return sum(features.square().mean() for features in encode(batch.views))

    before = torch.get_rng_state()
    run_checks("method", Seeds)
    assert torch.equal(before, torch.get_rng_state())


def test_every_check_has_a_name_of_its_own_and_says_what_it_looks_at():
    for kind in KINDS:
        checks = checks_for(kind.name, kind.load_contract())
        assert len({name_of(check) for check in checks}) == len(checks) >= 4
        assert all(check.__name__.startswith("check_") and len(check.__doc__) > 40 for check in checks)


def test_check_plugin_takes_what_the_kind_takes(tmp_path):
    check_plugin("dataset", Sound, root=tmp_path, facts={"counts": {"a": 2, "b": 2}})
