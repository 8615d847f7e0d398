"""A small phantom, split and decoded, with an untrained encoder on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from medssl.catalog import load_catalog
from medssl.contracts.kinds import EVALUATOR, METHOD, Kind
from medssl.data.loading import Data, load_data, open_dataset
from medssl.recipe import Choice, Recipe, resolve
from medssl.results.directory import RunDirectory
from medssl.runs.context import RunContext
from medssl.runs.listener import Listener
from medssl.runs.stages.features import extract_features
from medssl.train.encoder.building import Encoder, build_encoder
from medssl.train.machine.machine import Machine

SETTINGS = {
    "method": "simclr",
    "dataset": {"plugin": "phantom", "images_per_patient": 2, "size": 24},
    "train": {"epochs": 2, "batch_size": 16, "validate_every": 1},
    "views": {"image_size": 24},
    "encoder": {"backbone": "test_resnet", "stem": "standard"},
    "evaluate": {"bootstrap": 20},
    "evaluators": ["knn"],
}


def choice(kind: Kind, plugin: type[Any], name: str = "toy") -> Choice:
    """A plugin of a test's own, as a recipe holds it."""
    return Choice(kind=kind.name, name=name, distribution="test", version="1", plugin=plugin, config=plugin.Config())


@dataclass
class Scene:
    """What the stages of a run pass on."""

    recipe: Recipe
    data: Data
    machine: Machine
    encoder: Encoder

    def with_evaluators(self, *plugins: type[Any]) -> Recipe:
        named = tuple(choice(EVALUATOR, plugin, plugin.__name__.lower()) for plugin in plugins)
        return replace(self.recipe, evaluation=replace(self.recipe.evaluation, evaluators=named))

    def with_method(self, plugin: type[Any], **train: Any) -> Recipe:
        settings = replace(self.recipe.train, **train)
        training = replace(self.recipe.training, method=choice(METHOD, plugin), train=settings)
        return replace(self.recipe, training=training)

    def context(
        self, folder: Path = Path("unused"), *, recipe: Recipe | None = None, listener: Listener | None = None
    ) -> RunContext:
        place = RunDirectory(folder)
        return RunContext(recipe or self.recipe, self.data, self.machine, place, listener or Listener())

    def features(self, folder: Path) -> Any:
        return extract_features(self.context(folder), self.encoder)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    catalog = load_catalog()
    recipe = resolve(catalog, [SETTINGS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDSSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = load_data(recipe.data, open_dataset(recipe.dataset, catalog, None))
    machine = Machine.choose("cpu", "float32")
    return Scene(recipe, data, machine, build_encoder(recipe.open_encoder(), 24, seed=0))
