import importlib
import re
import tomllib
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest

from medssl.catalog import Catalog, load_catalog
from medssl.catalog import reading as module
from medssl.errors import OptionError
from medssl.recipe.options import build

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
GROUPS = {"method": "medssl.methods", "dataset": "medssl.datasets", "evaluator": "medssl.evaluators"}
METHODS = ["dcl", "simclr", "simsiam", "vicreg"]
DATASETS = ["breast", "colorectal", "pneumonia"]


@pytest.fixture(scope="module")
def ours() -> Catalog:
    return load_catalog()


@pytest.fixture
def lab(tmp_path):
    """Writes a user's file and loads it over ours."""

    def load(text: str) -> Catalog:
        (tmp_path / "lab.yaml").write_text(text)
        return load_catalog(tmp_path / "lab.yaml")

    return load


def config_class(kind: str, name: str) -> type:
    where, _, attribute = DECLARED[GROUPS[kind]][name].partition(":")
    return getattr(importlib.import_module(where), attribute).Config


# ---------------------------------------------------------------------------------------------- the file that we ship


@pytest.mark.parametrize("kind", GROUPS)
def test_first_party_names_are_exactly_those_of_the_entry_points(ours, kind):
    brought_by_others = set(ours.packages(kind))
    assert set(ours.names(kind)) - brought_by_others == set(DECLARED[GROUPS[kind]])


@pytest.mark.parametrize("kind", GROUPS)
def test_every_name_has_a_summary_that_fits_a_terminal_line(ours, kind):
    for name in ours.names(kind):
        assert 10 < len(ours.summary(kind, name)) < 100, name


def test_every_augmentation_and_recipe_has_a_summary(ours):
    for name in ours.augmentation_names():
        assert ours.summary("augmentation", name)
        assert "summary" not in ours.augmentation(name)
    for name in ours.content["recipes"]:
        assert ours.summary("recipe", name)


def test_counts_of_a_dataset_are_of_its_classes_and_add_up(ours):
    checked = 0
    for name in ours.names("dataset"):
        facts = ours.entry("dataset", name)
        if "counts" in facts:
            assert list(facts["counts"]) == facts["classes"]
            assert sum(facts["counts"].values()) == facts["images"]
            checked += 1
    assert checked == 3


def test_a_dataset_with_sources_states_its_licence_and_checksums_of_the_right_length(ours):
    for name in ours.names("dataset"):
        facts = ours.entry("dataset", name)
        for source in facts.get("sources", []):
            assert facts["licence"]
            assert source["url"].startswith(("http://", "https://"))
            assert re.fullmatch(r"[0-9a-f]{64}", source.get("sha256", "0" * 64))


def test_medmnist_has_all_twelve_sets_in_four_sizes_with_addresses_and_checksums(ours):
    sets = ours.entry("dataset", "medmnist")["sets"]
    assert len(sets) == 12
    seen = set()
    for name, facts in sets.items():
        assert sorted(facts["labels"]) == list(range(len(facts["labels"])))
        assert list(facts["samples"]) == ["train", "val", "test"]
        assert facts["channels"] in (1, 3)
        assert facts["licence"].startswith("CC BY")
        assert list(facts["files"]) == ["28", "64", "128", "224"]
        for size, file in facts["files"].items():
            suffix = "" if size == "28" else f"_{size}"
            assert file["url"].endswith(f"/{name}{suffix}.npz")
            assert re.fullmatch(r"[0-9a-f]{32}", file["md5"])
            seen.add(file["md5"])
    assert len(seen) == 48


# ------------------------------------------------------------------------------------------ augmentations and recipes


def test_every_augmentation_is_one_that_the_contract_accepts(ours):
    from medssl.contracts import Augmentation

    for name in ours.augmentation_names():
        built = build(Augmentation, ours.augmentation(name), name)
        assert built.solarise_threshold == 0.5


def test_the_natural_augmentation_names_the_sources_of_the_contracts_defaults(ours):
    from medssl.contracts import Augmentation

    natural = ours.augmentation("natural")
    assert build(Augmentation, natural, "natural") == Augmentation()
    assert set(natural) == {field.name for field in fields(Augmentation)}


def test_augmentations_follow_the_modality(ours):
    from medssl.contracts import Augmentation

    built = {name: build(Augmentation, ours.augmentation(name), name) for name in ours.augmentation_names()}
    assert {"natural", "histology", "xray", "ct", "ultrasound", "microscopy"} <= set(built)
    for name in ("histology", "histology_stain", "microscopy"):  # no up or down
        assert built[name].vertical_flip == 0.5
        assert built[name].rotate90 == 0.75
    for name in ("dermoscopy", "endoscopy"):  # no up or down either, and a colour that is a sign
        assert (built[name].vertical_flip, built[name].rotate90) == (0.5, 0.75)
    for name in ("dermoscopy", "fundus", "endoscopy"):
        assert built[name].greyscale == 0
        assert 0 < built[name].hue < built["natural"].hue
    for name in ("xray_lateral", "ct", "ct_window", "mri"):  # with a left and a right
        assert built[name].horizontal_flip == 0
    for name in ("xray", "xray_lateral", "ct", "ct_window", "mri", "ultrasound"):  # grey, with an up
        augmentation = asdict(built[name])
        assert {augmentation[key] for key in ("vertical_flip", "rotate90", "solarise", "greyscale", "hue")} == {0}


NEW = {"rotation", "window", "window_jitter", "gamma", "stain", "noise"}


@pytest.mark.parametrize("name", ["natural", "histology", "xray", "ct", "ultrasound", "microscopy"])
def test_recipes_that_runs_were_made_with_stay_as_they_are(ours, name):
    """What they do not name is off; a new operation gets a recipe of its own."""
    assert not any(ours.augmentation(name).get(key) for key in NEW)


def test_an_augmentation_starts_from_another_and_replaces_what_it_names(ours, lab):
    catalog = lab("""
augmentations:
  mine: {base: histology_stain, summary: Ours., hue: 0.05}
  its_child: {base: mine, stain: 0.5}
""")
    below = ours.augmentation("histology_stain")
    assert below["rotate90"] == ours.augmentation("histology")["rotate90"]
    assert catalog.augmentation("mine") == {**below, "hue": 0.05}
    assert catalog.augmentation("its_child") == {**below, "hue": 0.05, "stain": 0.5}
    assert catalog.summary("augmentation", "mine") == "Ours."
    assert catalog.summary("augmentation", "its_child") == ""


@pytest.mark.parametrize(
    ("text", "asked", "problem"),
    [
        (
            "mine: {base: histolgy}",
            "mine",
            "the augmentation 'mine' has the base 'histolgy', which does not exist. Did you",
        ),
        (
            "a: {base: b}\n  b: {base: histolgy}",
            "a",
            "the augmentation 'b' has the base 'histolgy', which does not exist.",
        ),
        ("a: {base: b}\n  b: {base: a}", "a", "the augmentation 'a' is its own base: a from b from a. Remove"),
        ("xray: {base: xray_lateral}", "xray", "'xray' is its own base: xray from xray_lateral from xray."),
    ],
)
def test_a_base_that_cannot_be_is_named(lab, text, asked, problem):
    with pytest.raises(OptionError) as caught:
        lab(f"augmentations:\n  {text}\n").augmentation(asked)
    assert problem in str(caught.value)


def settings_classes() -> dict[str, type]:
    from medssl.recipe.settings import EvaluateSettings, SplitSettings, TrainSettings
    from medssl_encoders.timm import Timm

    return {"train": TrainSettings, "encoder": Timm.Config, "split": SplitSettings, "evaluate": EvaluateSettings}


def view_settings(values) -> tuple[dict, dict]:
    """Split a section ``views`` into settings and augmentation fields."""
    from medssl.contracts import Augmentation

    drawn = {field.name for field in fields(Augmentation)}
    return {k: v for k, v in values.items() if k not in drawn}, {k: v for k, v in values.items() if k in drawn}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("recipe", ["medssl", "paper"])
def test_every_setting_and_option_in_a_recipe_exists_and_is_in_range(ours, recipe, method):
    from medssl.contracts import Augmentation
    from medssl.recipe.settings import ViewSettings

    for dataset in ours.names("dataset"):
        settings = ours.recipe(recipe, method, dataset)
        for section, built in settings_classes().items():
            build(built, settings.get(section), section)
        views, drawn = view_settings(settings.get("views", {}))
        build(ViewSettings, views, "views")
        build(Augmentation, drawn, "views")
        build(config_class("method", method), settings.get("method"), "method")
        if "dataset" in settings:
            build(config_class("dataset", dataset), settings["dataset"], "dataset")
        for evaluator in settings["evaluators"]:
            name = evaluator.pop("plugin")
            build(config_class("evaluator", name), evaluator, name)


def test_the_default_recipe_repeats_no_default(ours):
    from medssl.recipe.settings import ViewSettings

    classes = {**settings_classes(), "views": ViewSettings}
    found = []
    recipe = ours.content["recipes"]["medssl"]
    layers = [recipe.get("settings", {})]
    layers += [layer for group in ("methods", "datasets") for layer in recipe.get(group, {}).values()]
    layers += [layer for row in recipe.get("cells", {}).values() for layer in row.values()]
    for layer in layers:
        for section, values in layer.items():
            defaults = {field.name: field.default for field in fields(classes[section])} if section in classes else {}
            found += [f"{section}.{k}" for k, v in values.items() if defaults.get(k, MISSING) == v]
    assert found == []


def test_the_default_recipe_makes_the_quick_start_small(ours):
    phantom, other = (ours.recipe("medssl", "dcl", dataset) for dataset in ("phantom", "pneumonia"))
    assert phantom["train"]["epochs"] <= 30
    assert phantom["views"]["image_size"] == 32
    assert "train" not in other


@pytest.mark.parametrize(
    ("method", "dataset", "batch_size", "learning_rate"),
    [
        ("dcl", "breast", 16, 0.01),
        ("dcl", "colorectal", 16, 0.01),
        ("dcl", "pneumonia", 64, 0.5),
        ("simclr", "breast", 16, 0.01),
        ("simclr", "colorectal", 16, 0.005),
        ("simclr", "pneumonia", 64, 0.1),
        ("simsiam", "breast", 16, 0.01),
        ("simsiam", "colorectal", 16, 0.01),
        ("simsiam", "pneumonia", 16, 0.01),
        ("vicreg", "breast", 16, 0.005),
        ("vicreg", "colorectal", 16, 0.005),
        ("vicreg", "pneumonia", 16, 0.01),
    ],
)
def test_the_paper_recipe_has_table_1(ours, method, dataset, batch_size, learning_rate):
    settings = ours.recipe("paper", method, dataset)
    assert settings["train"]["batch_size"] == 64, "Table 1 is about the probe"
    assert settings["train"]["epochs"] == 250
    probe = {evaluator["plugin"]: evaluator for evaluator in settings["evaluators"]}["mlp"]
    assert (probe["batch_size"], probe["learning_rates"], probe["epochs"]) == (batch_size, [learning_rate], 100)


def test_published_results_are_tables_2_and_3(ours):
    rows = [row for dataset in DATASETS for row in ours.published(dataset)]
    assert len(rows) == 27
    cell = {(r["dataset"], r["method"], r["evaluator"]): (r["accuracy"], r["f1_weighted"]) for r in rows}
    assert cell["pneumonia", "simsiam", "knn"] == (0.715, 0.676)
    assert cell["colorectal", "dcl", "mlp"] == (0.921, 0.921)
    assert cell["breast", "imagenet", "mlp"] == (0.916, 0.915)
    assert {row["source"] for row in rows} == {"ICIP 2023, Table 2", "ICIP 2023, Table 3"}
    assert ours.published("phantom") == []


# ------------------------------------------------------------------------------------------------------------- asking


def test_unknown_names_have_no_facts(ours):
    assert ours.entry("method", "nobody") == {}
    assert ours.summary("method", "nobody") == ""


def test_a_name_with_its_distribution_is_known_by_its_last_part(ours):
    assert ours.summary("method", "medssl:dcl") == ours.summary("method", "dcl") != ""
    assert ours.recipe("paper", "medssl:dcl", "medssl:breast") == ours.recipe("paper", "dcl", "breast")
    assert ours.published("medssl:breast") == ours.published("breast")


def test_what_is_returned_may_be_changed_without_harm():
    first, untouched = load_catalog(), load_catalog()
    first.entry("dataset", "colorectal")["classes"].clear()
    first.recipe("paper", "dcl", "breast")["train"].clear()
    first.published("breast")[0].clear()
    assert first == untouched


def test_an_unknown_recipe_or_augmentation_suggests_the_closest(ours):
    with pytest.raises(OptionError, match=r"no recipe named 'papr'. Did you mean 'paper'\? Known recipes: medssl, pap"):
        ours.recipe("papr", "dcl", "breast")
    with pytest.raises(OptionError, match=r"no augmentation named 'x-ray'. Did you mean 'xray'\? Known augmentations:"):
        ours.augmentation("x-ray")


def test_recipe_layers_settings_then_method_then_dataset_then_cell(lab):
    catalog = lab("""
recipes:
  mine:
    settings: {train: {epochs: 1, batch_size: 1, momentum: 0.1, weight_decay: 0.1}, evaluators: {knn: {}}}
    methods: {dcl: {train: {batch_size: 2, momentum: 0.2, weight_decay: 0.2}}}
    datasets: {breast: {train: {momentum: 0.3, weight_decay: 0.3}, evaluators: {mlp: {epochs: 5}}}}
    cells: {dcl: {breast: {train: {weight_decay: 0.4}, precision: float32}}}
""")
    settings = catalog.recipe("mine", "dcl", "breast")
    assert settings["train"] == {"epochs": 1, "batch_size": 2, "momentum": 0.3, "weight_decay": 0.4}
    assert settings["evaluators"] == [{"plugin": "knn"}, {"plugin": "mlp", "epochs": 5}]
    assert settings["precision"] == "float32"
    assert catalog.recipe("mine", "simclr", "folder")["train"]["batch_size"] == 1


# ------------------------------------------------------------------------------------------------------ a user's file


def test_a_users_file_is_merged_to_any_depth(lab, ours):
    catalog = lab("""
methods:
  dino: {summary: Self-distillation., package: medssl-dino}
datasets:
  colorectal: {notes: ours, counts: {01_TUMOR: 3}}
augmentations:
  xray: {horizontal_flip: 0}
recipes:
  medssl: {datasets: {colorectal: {train: {epochs: 7}}}}
published:
  - {dataset: breast, method: mine, evaluator: knn, accuracy: 1}
""")
    assert catalog.packages("method") == {"dino": "medssl-dino"}
    assert "dino" in catalog.names("method")
    merged, before = catalog.entry("dataset", "colorectal"), ours.entry("dataset", "colorectal")
    assert merged["notes"] == "ours"
    assert merged["counts"] == {**before["counts"], "01_TUMOR": 3}
    assert merged["sources"] == before["sources"]
    assert catalog.augmentation("xray") == {**ours.augmentation("xray"), "horizontal_flip": 0}
    assert catalog.recipe("medssl", "dcl", "colorectal")["train"] == {"epochs": 7}
    assert catalog.recipe("medssl", "dcl", "phantom") == ours.recipe("medssl", "dcl", "phantom")
    assert catalog.published("breast")[-1]["method"] == "mine"
    assert len(catalog.published("breast")) == len(ours.published("breast")) + 1


@pytest.mark.parametrize("text", ["", "methods:\n", "methods: {dcl: }\nrecipes: {medssl: }\n", "published: []\n"])
def test_empty_parts_of_a_users_file_change_nothing(lab, ours, text):
    assert lab(text) == ours


def test_an_empty_entry_of_a_new_name_is_known(lab):
    catalog = lab("methods: {mine: }\nrecipes: {mine: }\n")
    assert "mine" in catalog.names("method")
    assert catalog.packages("method") == {}
    assert catalog.recipe("mine", "dcl", "breast") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dataset: {}", "no section 'dataset'. Did you mean 'datasets'? Sections: methods, datasets,"),
        (
            "[1, 2]",
            "expected sections (methods, datasets, encoders, evaluators, readers, trackers, launchers, augmentations,",
        ),
        ("methods: [dcl]", "methods: expected a mapping, got ['dcl']"),
        ("methods: {dcl: fine}", "methods.dcl: expected a mapping, got 'fine'"),
        ("methods: {on: {}}", "methods.True: a name must be a text. Put it in quotes."),
        ("methods: {dcl: {summary: 3}}", "methods.dcl.summary: expected a text, got 3. Put it in quotes."),
        ("methods: {dcl: {paper: {arxiv: 2110.06848}}}", "methods.dcl.paper.arxiv: expected a text, got 2110.06848."),
        ("methods: {dcl: {paper: {year: true}}}", "methods.dcl.paper.year: expected a whole number, got True."),
        ("methods: {dcl: {paper: Yeh}}", "methods.dcl.paper: expected a mapping, got 'Yeh'."),
        ("datasets: {x: {classes: TUMOR}}", "datasets.x.classes: expected a list, got 'TUMOR'."),
        ("datasets: {x: {sources: {url: y}}}", "datasets.x.sources: expected a list, got {'url': 'y'}."),
        ("datasets: {x: {sources: [y]}}", "datasets.x.sources, number 1: expected a mapping, got 'y'."),
        ("datasets: {x: {sources: [{url: y}]}}", "datasets.x.sources, number 1: 'file' is missing."),
        (
            "datasets: {x: {sources: [{file: f, url: y, bytes: 4 GB}]}}",
            "sources, number 1.bytes: expected a whole number",
        ),
        ("augmentations: {x: 3}", "augmentations.x: expected a mapping, got 3."),
        (
            "augmentations: {x: {solarize: 1}}",
            "augmentations.x: no field 'solarize'. Did you mean 'solarise'? Fields: ",
        ),
        ("augmentations: {x: {base: 3}}", "augmentations.x.base: expected a text, got 3."),
        ("recipes: {x: {setting: {}}}", "recipes.x: no section 'setting'. Did you mean 'settings'?"),
        ("recipes: {x: {settings: {trian: {}}}}", "recipes.x.settings: no section 'trian'. Did you mean 'train'?"),
        ("recipes: {x: {settings: {train: 3}}}", "recipes.x.settings.train: expected a mapping, got 3."),
        ("recipes: {x: {settings: 3}}", "recipes.x.settings: expected a mapping, got 3."),
        ("recipes: {x: {methods: {dcl: {views: [1]}}}}", "recipes.x.methods.dcl.views: expected a mapping, got [1]."),
        ("recipes: {x: {cells: {dcl: {breast: 3}}}}", "recipes.x.cells.dcl.breast: expected a mapping, got 3."),
        ("recipes: {x: {cells: {dcl: 3}}}", "recipes.x.cells.dcl: expected a mapping, got 3."),
        ("published: {}\nmethods: 3", "methods: expected a mapping, got 3."),
        ("published: 3", "published: expected a list, got 3."),
        ("published: [{dataset: x, method: y}]", "published, row 1: 'evaluator' is missing."),
        ("published: [{dataset: x, method: y, evaluator: z, accuracy: high}]", "row 1.accuracy: expected a number"),
        ("methods: {dcl: {}, dcl: {}}", "the key 'dcl' appears twice"),
        ("methods: {dcl: [}", "cannot be read"),
        ("methods: {? [a] : b}", "cannot be read"),
    ],
)
def test_a_file_of_the_wrong_shape_is_named_with_the_place_and_the_reason(lab, tmp_path, text, problem):
    with pytest.raises(OptionError) as caught:
        lab(text)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"the catalogue {tmp_path / 'lab.yaml'} ")


def test_all_problems_of_a_file_come_in_one_message(lab):
    with pytest.raises(OptionError) as caught:
        lab("dataset: {}\nmethods: {dcl: {summary: 3, package: 4}}\npublished: 3\n")
    assert len(str(caught.value).splitlines()) == 5


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"the catalogue .*nowhere\.yaml cannot be read\. .*No such file"):
        load_catalog(tmp_path / "nowhere.yaml")


def test_a_file_inside_the_package_wins_over_the_checkouts(tmp_path, monkeypatch):
    (tmp_path / "medssl").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "medssl" / "catalog" / "reading.py"))
    (tmp_path / "registry.yaml").write_text("methods: {checkout: {}}")
    assert load_catalog().names("method") == ["checkout"]
    (tmp_path / "medssl" / "registry.yaml").write_text("methods: {packaged: {}}")
    assert load_catalog().names("method") == ["packaged"]
