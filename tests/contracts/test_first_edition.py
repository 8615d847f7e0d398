"""A plugin of the first edition is told in one sentence what is new and what to write instead."""

from __future__ import annotations

import pytest
import torch

from medssl.contracts import Batch, Classes, Dataset, Features, Predictor, Task
from medssl.discovery import violations
from medssl.errors import PluginError

TARGET = Classes(("a", "b"))


class OldDataset(Dataset):
    classes = ("a", "b")

    def samples(self):
        return []

    def read(self, sample):
        raise AssertionError


def test_a_dataset_that_lists_samples() -> None:
    (found,) = violations("dataset", OldDataset)
    assert found.startswith("samples() is now index(), and must return a Listing: write `return Listing(")


def test_a_predictor_of_probabilities() -> None:
    with pytest.raises(PluginError, match=r"Old.predict_proba\(\) is now predict\(\): rename it.*`targets`"):

        class Old(Predictor):
            def predict_proba(self, x):
                return x


def test_names_of_what_plugins_are_given() -> None:
    features = Features(x=torch.zeros(1, 2), y=torch.zeros(1, dtype=torch.int64), target=TARGET)
    task = Task(feature_dim=2, num_samples=1, target=TARGET, image_size=8, batch_size=1, total_steps=1)
    index = torch.zeros(1, dtype=torch.int64)
    batch = Batch(views=(), index=index, group=index, y=None, generator=torch.Generator(), step=0)
    for owner, name, said in (
        (features, "label", "Features.label is now Features.y"),
        (features, "num_classes", "Features.num_classes is now Features.target.outputs"),
        (task, "num_classes", "Task.num_classes is now Task.target.outputs"),
        (batch, "label", "Batch.label is now Batch.y"),
    ):
        with pytest.raises(PluginError, match=said):
            getattr(owner, name)
        assert not hasattr(owner, name)
        with pytest.raises(AttributeError, match="has no attribute 'other'"):
            owner.other  # noqa: B018
