"""Layers, checks, freezing and hashing of recipes, over the real catalogue and first-party plugins."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from medssl.catalog import load_catalog
from medssl.contracts import ViewGroup, ViewSpec
from medssl.errors import MedsslError, OptionError, PluginError
from medssl.recipe import resolve, resolve_data

NAMED = {"method": "dcl", "dataset": "phantom"}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def test_defaults_below_catalogue_below_file_below_flags(catalog):
    plain = resolve(catalog, [NAMED])
    assert plain.train.batch_size == 64  # default of the settings
    assert plain.views.image_size == 32  # the catalogue's word on phantom
    file = {"views": {"image_size": 48}, "train": {"epochs": 9, "batch_size": 16}}
    both = resolve(catalog, [file, {**NAMED, "train": {"epochs": "4"}}])
    assert (both.views.image_size, both.train.epochs, both.train.batch_size) == (48, 4, 16)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([{}], ("adamw", 0.001, None)),  # the catalogue's word on supervised
        ([{"train": {"optimizer": "adamw", "epochs": 3}}], ("adamw", 0.001, None)),
        ([{"train": {"optimizer": "sgd"}}], ("sgd", None, None)),  # Adam's rate is none of SGD's
        ([{"train": {"base_learning_rate": 0.004}}], ("adamw", None, 0.004)),  # what is given is not passed over
        ([{"train": {"base_learning_rate": 0.004}}, {"train": {"learning_rate": 0.01}}], ("adamw", 0.01, None)),
        (
            [{"train": {"learning_rate": 0.1, "optimizer": "sgd"}}, {"train": {"optimizer": "lars"}}],
            ("lars", None, None),
        ),
        ([{"train": {"learning_rate": None, "base_learning_rate": None}}], ("adamw", None, None)),
    ],
)
def test_a_learning_rate_holds_for_its_optimizer_and_until_another_is_given(catalog, layers, expected):
    train = resolve(catalog, [{**NAMED, "method": "supervised"}, *layers]).train
    assert (train.optimizer, train.learning_rate, train.base_learning_rate) == expected


def test_options_of_plugins_are_typed_from_text(catalog):
    recipe = resolve(catalog, [NAMED, {"method": {"temperature": "0.2"}}, {"evaluators": {"knn": {"ks": "[1, 5]"}}}])
    assert recipe.method.config.temperature == 0.2
    assert recipe.evaluators[0].config.ks == (1, 5)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"trian": {}}, ["no setting 'trian'", "Did you mean 'train'?"]),
        ({"train": {"epoch": 3}}, ["no option 'epoch'", "Did you mean 'epochs'?"]),
        ({"train": {"epochs": 0}}, ["epochs", "0"]),
        ({"train": {"epochs": "many"}}, ["epochs", "many"]),
        ({"method": {"temprature": 0.2}}, ["method 'dcl'", "Did you mean 'temperature'?"]),
        ({"method": {"temperature": "warm"}}, ["method 'dcl'", "warm"]),
        ({"views": {"crop_scal": [0.1, 1]}}, ["no option 'crop_scal'", "Did you mean 'crop_scale'?"]),
        ({"views": {"augmentation": "xry"}}, ["xry", "xray"]),
        ({"evaluators": {"knnn": {"ks": [1]}}}, ["'knnn'", "Did you mean 'knn'?"]),
        ({"recipe": "papre"}, ["papre", "paper"]),
        ({"train": 3}, ["'train' must be a mapping of settings"]),
        ({"seed": "x"}, ["seed"]),
        ({"precision": "double"}, ["precision"]),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_closest_name(catalog, layer, words):
    with pytest.raises(OptionError) as error:
        resolve(catalog, [NAMED, layer])
    for word in words:
        assert word in str(error.value)


def test_a_recipe_without_a_method_says_how_to_name_one(catalog):
    with pytest.raises(OptionError, match=r"no method is named\. Give --method NAME"):
        resolve(catalog, [{"dataset": "phantom"}])


def test_an_unknown_plugin_is_a_plugin_error(catalog):
    with pytest.raises(PluginError, match="Did you mean 'phantom'"):
        resolve(catalog, [{"method": "dcl", "dataset": "phantm"}])


def test_the_augmentation_is_the_datasets_unless_named(catalog):
    assert resolve(catalog, [NAMED]).augmentation.rotate90 == 0.75
    named = resolve(catalog, [NAMED, {"views": {"augmentation": "xray"}}])
    assert named.augmentation.rotate90 == 0.0
    assert named.views.augmentation == "xray"


def test_fields_set_by_the_user_are_kept_apart(catalog):
    recipe = resolve(catalog, [NAMED, {"views": {"crop_scale": "[0.5, 1]"}}])
    assert recipe.data.overridden == {"crop_scale": (0.5, 1.0)}
    assert recipe.augmentation.crop_scale == (0.5, 1.0)
    written = recipe.to_dict()
    assert (written["augmentation"]["crop_scale"], written["views"]["crop_scale"]) == ([0.2, 1.0], [0.5, 1.0])


def test_a_written_recipe_reads_back_as_itself(catalog, tmp_path: Path):
    recipe = resolve(catalog, [NAMED, {"views": {"blur": 0.1}, "method": {"temperature": 0.3}, "seed": 5}])
    text = yaml.safe_dump(recipe.to_dict())
    again = resolve(catalog, [yaml.safe_load(text)])
    assert again.to_dict() == recipe.to_dict()
    assert again.hash == recipe.hash


def test_the_hash_sees_every_setting_and_no_order(catalog):
    first = resolve(catalog, [{"method": "dcl", "dataset": "phantom", "seed": 1, "train": {"epochs": 2}}])
    second = resolve(catalog, [{"train": {"epochs": 2}}, {"seed": 1}, {"dataset": "phantom", "method": "dcl"}])
    assert first.hash == second.hash
    changes = [
        {"seed": 2},
        {"train": {"epochs": 3}},
        {"views": {"blur": 0.123}},
        {"method": {"temperature": 0.7}},
        {"dataset": {"seed": 3}},
        {"encoder": {"backbone": "resnet34"}},
        {"split": {"seed": 1}},
        {"evaluators": ["knn"]},
    ]
    hashes = {resolve(catalog, [first.to_dict(), change]).hash for change in changes}
    assert len(hashes | {first.hash}) == len(changes) + 1


def test_a_recipe_is_frozen(catalog):
    recipe = resolve(catalog, [NAMED])
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 3


def test_naming_evaluators_replaces_the_catalogues_list(catalog):
    recipe = resolve(catalog, [NAMED, {"evaluators": ["linear"]}])
    assert [choice.name for choice in recipe.evaluators] == ["linear"]


def test_the_data_part_alone_is_that_of_a_run_and_needs_no_method(catalog):
    layer = {"dataset": "phantom", "seed": 3, "views": {"blur": 0.1}, "split": {"seed": 2}}
    part = resolve_data(catalog, [layer])
    whole = resolve(catalog, [layer, {"method": "dcl"}])
    assert part == whole.data
    assert (part.seed, part.split.seed, part.augmentation.blur) == (3, 2, 0.1)
    assert part.views.image_size == 32  # the catalogue's word on phantom
    with pytest.raises(OptionError, match=r"no dataset is named\. Give --dataset NAME"):
        resolve_data(catalog, [{"method": "dcl"}])


def test_what_the_user_sets_wins_over_what_a_method_asks_of_a_group_of_views(catalog):
    spec = ViewSpec((ViewGroup(count=1, augment={"blur": 1.0, "solarise": 0.2}), ViewGroup(count=1)))
    recipe = resolve_data(catalog, [{"dataset": "phantom", "views": {"blur": 0.1}}])
    assert [dict(group.augment) for group in recipe.views_for(spec).groups] == [{"solarise": 0.2}, {}]
    assert recipe.augmentation.blur == 0.1


def test_every_plugin_of_a_run_is_listed_with_its_kind(catalog):
    recipe = resolve(catalog, [NAMED, {"evaluators": ["knn", "linear"]}])
    assert [(choice.kind, choice.name) for choice in recipe.choices] == [
        ("method", "dcl"),
        ("dataset", "phantom"),
        ("encoder", "timm"),
        ("evaluator", "knn"),
        ("evaluator", "linear"),
    ]


def test_labels_do_not_leak_through_a_split_of_its_own_for_pre_training(catalog):
    with pytest.raises(OptionError, match="supervised learns from labels"):
        resolve(catalog, [NAMED, {"method": "supervised", "split": {"pretrain_seed": 1}}])


def test_options_that_are_no_mapping_are_refused_also_for_a_plugin_that_no_list_names(catalog):
    """Found by a fuzz test."""
    with pytest.raises(OptionError, match="the section 'trackers' must list names, or have a mapping"):
        resolve(catalog, [NAMED, {"trackers": {"csv": True}}])


@pytest.mark.parametrize("name", ["x" * 5000, "a/" + "x" * 300, "x" * 300 + ".safetensors", str(list(range(9999)))])
def test_a_name_longer_than_any_is_refused_in_few_words(catalog, name):
    """Found by a fuzz test."""
    for settings in ({"dataset": name}, {"encoder": {"plugin": name}}):
        with pytest.raises(MedsslError) as refused:
            resolve(catalog, [NAMED, settings])
        assert len(str(refused.value)) < 3000


@pytest.mark.parametrize(
    ("section", "name"),
    [("train", "epochs"), ("train", "batch_size"), ("evaluate", "bootstrap"), ("views", "image_size")],
)
@pytest.mark.parametrize("value", ["1e9", "1e20", 10**30, "inf", "nan"])
def test_a_number_that_no_machine_can_carry_out_is_refused(section, name, value):
    with pytest.raises(OptionError, match=name):
        resolve(load_catalog(), [{"method": "random", "dataset": "phantom", section: {name: value}}])
