"""An error in a plugin's own code names plugin, function, file and line; one of the core stays as it is."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from functools import partial
from pathlib import PurePath

import pytest
import torch

from medssl.catalog import load_catalog
from medssl.discovery.blame import files_of
from medssl.errors import DataError, PluginError
from medssl.recipe import resolve
from medssl.runs.blame import naming_the_plugin
from medssl.tools import feature_std
from medssl.train.encoder.checkpoint import read_encoder

SOURCE = """
import torch
from medssl.contracts import Method

class Broken(Method):
    def loss(self, batch, encode):
        encode()
        return torch.zeros(2) + torch.zeros(3)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "brokenmethod.py"
    file.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("brokenmethod", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["brokenmethod"] = module
    spec.loader.exec_module(module)
    yield module.Broken
    del sys.modules["brokenmethod"]


@pytest.fixture
def recipe(plugin):
    found = resolve(load_catalog(), [{"method": "dcl", "dataset": "phantom", "evaluators": ["knn"]}])
    broken = replace(found.method, name="broken", plugin=plugin)
    return replace(found, training=replace(found.training, method=broken))


def call(recipe, encode):
    with naming_the_plugin(recipe):
        recipe.method.plugin.loss(None, None, encode)


def fail_with(error):
    raise error


def test_a_plugin_is_named_with_file_and_line_though_pytorch_raised(recipe):
    with pytest.raises(PluginError) as caught:
        call(recipe, lambda: None)
    assert str(caught.value).startswith(
        f"method 'broken' (medssl {recipe.method.version}) failed in loss(): RuntimeError"
    )
    assert "It happened at brokenmethod.py:8. `medssl check broken`" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_goes_wrong_in_the_core_is_not_the_plugins_who_called_it(recipe):
    with pytest.raises(TypeError):
        call(recipe, partial(read_encoder, 3))


def test_files_of_python_belong_to_no_plugin():
    """An entry point may lead to a class of Python, or to one that inherits from it."""
    assert list(files_of(type("Plugin", (PurePath,), {"__module__": "pathlib"}))) == []


def test_a_plugin_that_misuses_a_tool_is_named(recipe):
    with pytest.raises(PluginError, match=r"failed in loss\(\): AttributeError: 'str' object"):
        call(recipe, partial(feature_std, "no features"))


@pytest.mark.parametrize("error", [DataError("said already"), MemoryError("full"), torch.OutOfMemoryError("full")])
def test_errors_that_are_no_slips_of_a_plugin_pass(recipe, error):
    with pytest.raises(type(error)) as caught:
        call(recipe, partial(fail_with, error))
    assert caught.value is error


def test_an_error_outside_every_plugin_passes(recipe):
    error = ZeroDivisionError("elsewhere")
    with pytest.raises(ZeroDivisionError) as caught, naming_the_plugin(recipe):
        fail_with(error)
    assert caught.value is error
