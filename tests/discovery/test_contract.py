"""A plugin that breaks its contract is refused with every violation at once."""

from dataclasses import dataclass

import pytest

from medssl import discovery
from medssl.contracts import Dataset, Evaluator, Method
from medssl.discovery import load_plugin, violations
from medssl.errors import PluginError


@pytest.fixture
def install(monkeypatch):
    """Put a class behind an entry point that exists in memory only."""

    def put(kind, loaded):
        found = discovery.Plugin(
            kind=kind, name="foo", distribution="medssl-foo", version="0.3", target="medssl_foo:Foo"
        )
        monkeypatch.setattr("medssl.discovery.loading.find", lambda *_, **__: found)
        monkeypatch.setattr("medssl.discovery.loading.load", lambda _: loaded)

    return put


class Whole(Method):
    def loss(self, batch, encode):
        return batch


def test_a_plugin_that_keeps_the_contract_is_loaded(install):
    install("method", Whole)
    plugin, loaded = load_plugin("method", "foo")
    assert loaded is Whole
    assert plugin.distribution == "medssl-foo"


def test_all_violations_come_in_one_message_that_names_the_package(install):
    class Broken(Method):
        @dataclass
        class Config:
            width: int

    install("method", Broken)
    with pytest.raises(PluginError) as error:
        load_plugin("method", "foo")
    text = str(error.value)
    assert text.startswith("method 'foo' (medssl-foo 0.3) breaks the method contract: ")
    assert "loss() is missing" in text
    assert "Config is not frozen" in text
    assert "options without a default: width" in text


@pytest.mark.parametrize(
    ("kind", "loaded", "found"),
    [
        ("method", len, "names builtin_function_or_method"),
        ("method", Evaluator, "Evaluator is not a subclass of medssl.contracts.Method"),
        ("dataset", type("Empty", (Dataset,), {}), "read() is missing"),
        ("evaluator", type("Empty", (Evaluator,), {}), "fit() is missing"),
    ],
)
def test_what_is_missing_is_named(kind, loaded, found):
    assert any(found in violation for violation in violations(kind, loaded))


def test_a_config_that_is_no_dataclass_is_named():
    class Plain(Whole):
        Config = dict

    assert violations("method", Plain) == ["Config is not a dataclass"]


def test_hidden_arguments_are_refused_because_options_must_be_explicit():
    class Hidden(Whole):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    assert "*args" in violations("method", Hidden)[0]


def test_a_constructor_with_another_number_of_arguments_is_refused():
    class Short(Whole):
        def __init__(self, config):
            super().__init__(config, None, None)

    assert violations("method", Short) == ["__init__() must take (config, encoder, task), but takes (config)"]
