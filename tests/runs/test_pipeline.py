"""``medssl.run`` takes plugins as names or mappings."""

from __future__ import annotations

import pytest

import medssl
from medssl.errors import OptionError
from medssl.runs import pipeline


@pytest.fixture
def resolved(monkeypatch):
    """``medssl.run`` up to the recipe."""
    monkeypatch.setattr(pipeline, "execute", lambda recipe, **_: recipe)
    return medssl.run


@pytest.mark.parametrize(
    ("plugins", "settings"),
    [
        (("dcl", "phantom"), {"method": {"temperature": 0.2}}),
        (({"plugin": "dcl", "temperature": 0.2}, "phantom"), {}),
        (({"plugin": "dcl", "temperature": 0.7}, "phantom"), {"method": {"temperature": 0.2}}),
        ((), {"method": {"plugin": "dcl", "temperature": 0.2}, "dataset": "phantom"}),
    ],
)
def test_a_method_is_a_name_or_a_mapping_and_its_options_are_merged(resolved, plugins, settings):
    recipe = resolved(*plugins, **settings)
    assert (recipe.method.name, recipe.method.config.temperature) == ("dcl", 0.2)
    assert recipe.hash == resolved("dcl", "phantom", method={"temperature": 0.2}).hash
    assert recipe.hash != resolved("dcl", "phantom").hash


def test_a_dataset_is_a_name_or_a_mapping(resolved):
    recipe = resolved("random", {"plugin": "phantom", "images_per_patient": 3})
    assert recipe.dataset.config.images_per_patient == 3
    assert recipe.hash == resolved("random", "phantom", dataset={"images_per_patient": 3}).hash


@pytest.mark.parametrize(
    ("evaluators", "expected"),
    [
        ("knn", [("knn", None)]),
        ({"plugin": "knn", "ks": [3]}, [("knn", (3,))]),
        (["linear", {"plugin": "knn", "ks": [3]}], [("linear", None), ("knn", (3,))]),
    ],
)
def test_evaluators_are_one_or_a_list_of_names_and_mappings(resolved, evaluators, expected):
    found = resolved("random", "phantom", evaluators=evaluators).evaluators
    assert [choice.name for choice in found] == [name for name, _ in expected]
    assert [choice.config.ks for choice in found if choice.name == "knn" and choice.config.ks == (3,)] == [
        ks for _, ks in expected if ks
    ]


def test_options_of_evaluators_in_use_are_a_mapping_by_name(resolved):
    found = {
        choice.name: choice for choice in resolved("random", "phantom", evaluators={"knn": {"ks": [3]}}).evaluators
    }
    assert found["knn"].config.ks == (3,)
    assert len(found) > 1


def test_a_wrong_option_is_refused(resolved):
    with pytest.raises(OptionError, match="Did you mean 'temperature'"):
        resolved("dcl", "phantom", method={"temprature": 0.2})
