"""Plans from files, the catalogue and flags; mistakes are named."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from medssl.catalog import load_catalog
from medssl.errors import OptionError
from medssl.study.plan import build_plan, plan_of, read_plan
from medssl.study.search.plan import read_search_plan


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def test_a_plan_file_is_read(tmp_path, catalog):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "methods: [dcl, {plugin: simclr, temperature: 0.2}]\ndatasets: phantom\nseeds: 3\nlabel_fractions: [0.1, 1]\n"
        "settings: {train: {epochs: 3}}\n"
    )
    plan = read_plan(file, catalog)
    assert plan.named()["methods"] == ("dcl", {"plugin": "simclr", "temperature": 0.2})
    assert plan.named()["datasets"] == ("phantom",)
    assert (plan.seeds, plan.label_fractions) == (3, (0.1, 1.0))
    assert plan.settings == {"train": {"epochs": 3}}
    assert build_plan(plan.to_dict(), "itself") == plan


def test_every_plan_of_the_catalogue_can_be_read(catalog):
    assert set(catalog.plan_names()) >= {"paper", "quick"}
    searches = {"paper-probe"}
    for name in set(catalog.plan_names()) - searches:
        assert read_plan(name, catalog).named()["methods"]
    for name in searches:
        assert read_search_plan(name, catalog).vary
        with pytest.raises(OptionError, match=r"medssl tune --plan"):
            read_plan(name, catalog)


def test_the_plan_in_the_documentation_is_accepted(tmp_path, catalog):
    text = (Path(__file__).parents[2] / "docs" / "reference" / "plans.md").read_text(encoding="utf-8")
    file = tmp_path / "documented.yaml"
    file.write_text(re.search(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1])
    plan = read_plan(file, catalog)
    assert [option.name for option in fields(plan) if not getattr(plan, option.name)] == []
    keys = set(plan.to_dict()) - {"plugins"}
    assert all(f"| `{key}` |" in text for key in keys)


def test_flags_replace_what_a_plan_says_and_leave_the_rest():
    plan = plan_of(methods=("dcl",), datasets=("phantom",), seeds=3)
    assert plan.merged(methods=("simclr",), datasets=(), seeds=None) == plan_of(
        methods=("simclr",), datasets=("phantom",), seeds=3
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methds: [dcl]", "unknown key 'methds'. Did you mean 'methods'?"),
        ("seeds: 0", "seeds 0. Expected: a whole number of at least 1"),
        ("seeds: two", "seeds 'two'. Expected: a whole number"),
        ("seeds: true", "seeds True. Expected: a whole number"),
        ("batch_sizes: [16, 1]", "batch_sizes 1. Expected: whole numbers of at least 2"),
        ("batch_sizes: [16.5]", "batch_sizes 16.5. Expected: whole numbers"),
        ("label_fractions: [0]", "label_fractions 0. Expected: numbers above 0 and up to 1"),
        ("label_fractions: [1.5]", "label_fractions 1.5. Expected"),
        ("methods: [{name: dcl}]", "among its methods. Each must be a name, or a mapping with the name as `plugin`"),
        ("datasets: [1]", "has 1 among its datasets"),
        ("recipe: [paper]", "It must be the name of a recipe"),
        ("settings: [1]", "They must be a mapping of sections"),
        ("- dcl", "contains no plan"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_mistake_in_a_plan_file_is_named(tmp_path, catalog, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(OptionError) as caught:
        read_plan(file, catalog)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_catalogue_of_the_users_own_adds_plans(tmp_path):
    file = tmp_path / "lab.yaml"
    file.write_text("plans: {ours: {summary: Ours., methods: [dcl], seeds: 2}}")
    catalog = load_catalog(file)
    assert read_plan("ours", catalog) == plan_of(methods=("dcl",), seeds=2)
    file.write_text("plans: {ours: {methds: [dcl], seeds: two}}")
    with pytest.raises(OptionError, match=r"(?s)no section 'methds'.*plans\.ours\.seeds: expected a whole"):
        load_catalog(file)


def test_an_unknown_plan_names_the_closest(catalog):
    with pytest.raises(OptionError, match=r"no plan named 'qick'\. Did you mean 'quick'\?"):
        read_plan("qick", catalog)


def test_a_missing_plan_file_lists_the_plans_there_are(tmp_path, catalog):
    with pytest.raises(OptionError, match=r"cannot be read.*paper, paper-probe, quick"):
        read_plan(tmp_path / "none.yaml", catalog)
