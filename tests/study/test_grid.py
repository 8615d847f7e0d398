"""Which cells a plan has, and in which order."""

from dataclasses import replace

import huggingface_hub
import pytest
import timm
from safetensors.torch import save_file

from medssl.catalog import load_catalog
from medssl.data.loading import open_dataset
from medssl.errors import DataError, OptionError
from medssl.study.grid import expand, fold_layers
from medssl.study.missing import find_missing, list_cells
from medssl.study.plan import plan_of, read_plan


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture
def cells_of(catalog, tmp_path):
    def make(plan=None, *layers, **given):
        return expand((plan or plan_of(datasets=("phantom",))).merged(**given), layers, catalog, tmp_path)

    return make


def test_every_combination_is_a_cell(cells_of):
    cells = cells_of(methods=["dcl", "simclr"], batch_sizes=[16, 32], seeds=2)
    got = [(cell.recipe.method.name, cell.recipe.train.batch_size, cell.recipe.seed) for cell in cells]
    assert sorted(got) == sorted((m, b, s) for m in ("dcl", "simclr") for b in (16, 32) for s in (0, 1))
    assert len({cell.recipe.slug for cell in cells}) == 8


def test_a_study_goes_seed_by_seed_with_baselines_first(cells_of):
    cells = cells_of(methods=["dcl"], baselines=["random"], seeds=2)
    assert [cell.name for cell in cells] == [
        "phantom random, seed 0",
        "phantom dcl, batch 64, seed 0",
        "phantom random, seed 1",
        "phantom dcl, batch 64, seed 1",
    ]


def test_cells_of_one_method_are_told_apart_by_the_options_in_which_they_differ(cells_of):
    variants = [{"plugin": "simsiam", "predictor": False}, "simsiam", {"plugin": "dcl", "temperature": 0.2}]
    datasets = [{"plugin": "phantom", "size": size, "images_per_patient": 4} for size in (32, 48)]
    assert [cell.name for cell in cells_of(methods=variants, datasets=datasets)] == [
        f"phantom (size {size}) {method}, batch 64, seed 0"
        for size in (32, 48)
        for method in ("simsiam (predictor False)", "simsiam", "dcl")
    ]


@pytest.mark.parametrize("given", [{"baselines": ["random"]}, {"methods": ["random", "dcl"]}])
def test_a_baseline_runs_at_the_first_batch_size_alone(cells_of, given):
    cells = cells_of(**{"methods": ["dcl"], **given}, batch_sizes=[32, 16])
    sizes = [cell.recipe.train.batch_size for cell in cells if cell.recipe.method.name == "random"]
    assert sizes == [32]


def test_label_fractions_share_one_pretraining_and_stand_together(cells_of):
    cells = cells_of(methods=["dcl", "simclr"], label_fractions=[0.1, 1.0])
    hashes = [cell.recipe.pretraining_hash for cell in cells]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]
    assert [cell.recipe.split.label_fraction for cell in cells] == [0.1, 1.0, 0.1, 1.0]


def test_the_labels_are_drawn_anew_with_each_seed(cells_of):
    cells = cells_of(methods=["dcl"], label_fractions=[0.1], seeds=3)
    assert [cell.recipe.split.label_seed for cell in cells] == [0, 1, 2]


def test_the_whole_of_the_labels_is_the_plain_run(cells_of):
    (cell,) = cells_of(methods=["dcl"], label_fractions=[1.0])
    assert cell.recipe.hash == cells_of(methods=["dcl"])[0].recipe.hash


def test_a_folded_split_is_one_cell_for_each_fold(cells_of):
    cells = cells_of(None, {"split": {"protocol": "kfold", "folds": 3}}, methods=["random"])
    assert [cell.recipe.split.fold for cell in cells] == [0, 1, 2]
    assert cells[1].name == "phantom random, seed 0, fold 1"


def test_a_chosen_fold_is_one_cell(cells_of):
    (cell,) = cells_of(None, {"split": {"protocol": "kfold", "fold": 2}}, methods=["random"])
    assert cell.recipe.split.fold == 2


def test_loso_makes_a_fold_of_each_group(catalog, cells_of):
    layers = {"split": {"protocol": "loso"}, "dataset": {"images_per_patient": 2}}
    cells = cells_of(None, layers, methods=["random"])
    samples = open_dataset(cells[0].recipe.dataset, catalog, None).index().samples
    assert len(cells) == len({sample.group for sample in samples}) > 2


def test_a_dataset_that_is_not_there_stops_no_other(catalog, cells_of, tmp_path):
    plan = plan_of(methods=("random",), datasets=("pneumonia", "phantom"))
    cells = cells_of(plan, {"split": {"protocol": "loso"}})
    assert cells[0].recipe.dataset.name == "pneumonia"
    assert cells[0].recipe.split.fold is None
    assert len(cells) > 2
    with pytest.raises(DataError):
        fold_layers(cells[0].recipe, catalog, tmp_path)


def test_layers_of_the_user_win_over_the_plans_settings(cells_of):
    plan = plan_of(methods=("dcl",), datasets=("phantom",), recipe="paper", settings={"train": {"epochs": 7}})
    (cell,) = cells_of(plan, {"train": {"epochs": 9}})
    assert (cell.recipe.train.epochs, cell.recipe.base, cell.recipe.encoder.config.backbone) == (9, "paper", "resnet50")


def test_options_of_a_plugin_may_stand_in_the_plan(cells_of):
    cells = cells_of(methods=["dcl", {"plugin": "dcl", "temperature": 0.5}])
    assert [cell.recipe.method.config.temperature for cell in cells] == [0.1, 0.5]


@pytest.mark.parametrize(("given", "kind"), [({"methods": ["dcl"], "datasets": []}, "dataset"), ({}, "method")])
def test_a_study_without_methods_or_datasets_is_refused(catalog, given, kind):
    plan = plan_of(datasets=() if kind == "dataset" else ("phantom",)).merged(**given)
    with pytest.raises(OptionError, match=f"the study names no {kind}"):
        expand(plan, [], catalog, None)


def test_the_papers_plan_is_its_grid(catalog, tmp_path):
    cells = expand(read_plan("paper", catalog), [], catalog, tmp_path)
    trained = [cell.recipe for cell in cells if cell.recipe.method.plugin.trains]
    assert len(trained) == 4 * 3 * 3
    assert {recipe.train.batch_size for recipe in trained} == {16, 32, 64}
    assert {recipe.encoder.config.backbone for recipe in trained} == {"resnet50"}
    assert {choice.name for recipe in trained for choice in recipe.evaluators} == {"knn", "mlp"}


# ------------------------------------------------------------------------------------------------------------ encoders


def rows(cells):
    return [(cell.recipe.method.name, cell.recipe.network) for cell in cells]


def test_methods_start_from_every_encoder(catalog, tmp_path):
    plan = plan_of(methods=["dcl"], datasets=["phantom"], encoders=["timm:resnet18", "timm:resnet34"])
    assert rows(expand(plan, [], catalog, tmp_path)) == [("dcl", "timm:resnet18"), ("dcl", "timm:resnet34")]


def test_encoders_without_a_method_are_frozen_and_baselines_run_on_the_recipes_own(catalog, tmp_path):
    plan = plan_of(baselines=["random", "uni"], datasets=["phantom"], encoders=["dinov2-s"])
    found = rows(expand(plan, [], catalog, tmp_path))
    assert found == [("none", "uni"), ("random", "resnet18"), ("none", "dinov2-s")]


def test_against_foundation_compares_own_training_with_given_encoders(catalog, tmp_path):
    plan = read_plan("against-foundation", catalog).merged(datasets=["phantom"], encoders=["dinov2-s"], seeds=1)
    own = {"encoder": {"backbone": "resnet34"}}
    cells = expand(plan, [own], catalog, tmp_path)
    assert set(rows(cells)) == {
        ("random", "resnet34"),
        ("imagenet", "resnet34"),
        ("supervised", "resnet34"),
        ("dcl", "resnet34"),
        ("none", "dinov2-s"),
        ("dcl", "dinov2-s"),
    }
    started = [cell for cell in cells if rows([cell]) == [("dcl", "dinov2-s")]]
    assert [(cell.recipe.train.last_blocks, cell.recipe.train.optimizer) for cell in started] == [
        (None, "adamw"),
        (2, "adamw"),
    ]
    given = next(cell for cell in cells if cell.recipe.network == "dinov2-s")
    assert (given.name, given.recipe.views.image_size) == ("phantom frozen, dinov2-s, seed 0", 518)


def test_encoders_that_are_missing_are_found_and_left_out(catalog, tmp_path):
    file = str(tmp_path / "absent.pth")
    plan = plan_of(baselines=["random"], datasets=["phantom"], encoders=["timm:test_resnet", file])
    missing = find_missing(plan, catalog)
    assert list(missing) == [file]
    assert "there is no encoder at" in missing[file]
    assert plan.without(missing).named()["encoders"] == ("timm:test_resnet",)


def test_methods_and_encoders_whose_weights_are_missing_are_left_out_if_the_plan_says_so(catalog, tmp_path):
    absent, here = str(tmp_path / "absent.pth"), "timm:test_resnet"
    lost = {"encoder": {"weights": str(tmp_path / "lost.pth")}}
    plan = plan_of(
        methods=["dcl"], baselines=["random"], datasets=["phantom"], encoders=[here, absent], on_encoders="none"
    )
    asked = replace(plan, skip_missing=True)
    smaller, cells, missing = list_cells(asked, [], catalog, tmp_path)
    assert list(missing) == [absent]
    assert smaller.named()["encoders"] == (here,)
    assert set(rows(cells)) == {("random", "resnet18"), ("dcl", "resnet18"), ("none", here)}
    _, cells, missing = list_cells(
        replace(asked, plugins={**plan.plugins, "encoders": (here,)}), [lost], catalog, tmp_path
    )
    assert set(missing) == {"random", "dcl"}
    assert "lost.pth" in missing["dcl"]
    assert rows(cells) == [("none", here)]
    everything = list_cells(replace(plan, plugins={**plan.plugins, "encoders": (here,)}), [lost], catalog, tmp_path)
    assert len(everything[1]) == 3
    assert everything[2] == {}


def test_quick_has_imagenet_where_its_weights_are_and_says_where_not(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    plan = read_plan("quick", catalog).merged(datasets=["phantom"])
    assert (plan.seeds, plan.skip_missing) == (3, True)
    _, cells, missing = list_cells(plan, [], catalog, tmp_path)
    assert {method for method, _ in rows(cells)} == {"random", "supervised", "dcl"}
    assert list(missing) == ["imagenet"]
    given = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), given)
    own = [{"encoder": {"weights": str(given)}}]
    assert {method for method, _ in rows(list_cells(plan, own, catalog, tmp_path)[1])} >= {"imagenet"}


def test_a_row_may_have_training_settings_of_its_own(cells_of):
    adapted = {"plugin": "dcl", "train": {"last_blocks": 2, "optimizer": "adamw"}}
    cells = cells_of(methods=["dcl", adapted], batch_sizes=[32])
    assert [(c.recipe.train.last_blocks, c.recipe.train.optimizer, c.recipe.train.batch_size) for c in cells] == [
        (None, "sgd", 32),
        (2, "adamw", 32),
    ]
    assert [cell.name for cell in cells] == [
        "phantom dcl, batch 32, seed 0",
        "phantom dcl (last_blocks 2, optimizer adamw), batch 32, seed 0",
    ]


def test_a_row_may_have_images_of_its_own_size(cells_of):
    large = {"plugin": "dcl", "temperature": 0.2, "views": {"image_size": 96, "blur": 0.0}}
    small, other = cells_of(methods=["dcl", large], settings={"views": {"image_size": 48}})
    assert [cell.recipe.views.image_size for cell in (small, other)] == [48, 96]
    assert other.recipe.augmentation.blur == 0.0
    assert other.recipe.method.config.temperature == 0.2
    assert other.variants[1] == "temperature 0.2, image_size 96, blur 0.0"
    assert small.variants[1] == ""
