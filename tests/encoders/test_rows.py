"""Every encoder of the catalogue says its licence, its gate and what it was trained on, with a source."""

from __future__ import annotations

import re

import pytest

from medssl.catalog import load_catalog
from medssl.recipe import resolve
from medssl.runs.stages.card import warn_of_card

CATALOG = load_catalog()
ROWS = [name for name in CATALOG.presets("encoder") if "features" in CATALOG.entry("encoder", name)]
#: Repositories that ask for access, as `encoders.md` and their pages say (2026-11).
GATED = {
    "conch", "conch-v1.5", "dinov3-b-facebook", "gigapath", "h-optimus-1", "h0-mini", "medsiglip", "retfound-cfp",
    "retfound-dinov2", "retfound-oct", "uni", "uni2-h", "virchow", "virchow2",
}  # fmt: skip


def test_every_row_is_looked_at():
    loaders = {"file", "hub", "open_clip", "timm", "transformers"}
    assert {*ROWS} == {name for name in CATALOG.names("encoder") if name not in loaders}


@pytest.mark.parametrize("name", ROWS)
def test_row_says_what_it_was_trained_on(name):
    """In words with the source; without ``trained_on`` the words say that no public set is named."""
    entry = CATALOG.entry("encoder", name)
    assert re.search(r": https://[\w./-]+$", entry["training_data"])
    sets = entry.get("trained_on")
    if sets is None:
        assert re.search(r"no (public )?set is named", entry["training_data"], re.IGNORECASE)
    elif not sets:
        assert "none public" in entry["training_data"]
    else:
        assert all(word == word.lower() for word in sets)


@pytest.mark.parametrize("name", ROWS)
def test_row_says_licence_and_gate(name):
    entry = CATALOG.entry("encoder", name)
    licence = entry.get("licence")
    assert licence or "licence was not seen" in entry["notes"]
    forbidden = entry.get("forbids", [])
    assert ("commercial use" in forbidden) == (
        "NC" in (licence or "").split("-") or "non-commercial" in (licence or "")
    )
    assert ("derivatives" in forbidden) == ("ND" in (licence or "").split("-"))
    assert ("gate" in entry) == (name in GATED)
    if name in GATED:
        assert entry["gate"].startswith("https://huggingface.co/")
        if "options" in entry:
            assert entry["gate"].endswith("/" + entry["options"]["repository"])


@pytest.mark.parametrize(
    ("encoder", "dataset", "leaks"),
    [
        ("rad-dino", {"plugin": "medmnist", "name": "chestmnist"}, True),
        ("rad-dino", {"plugin": "medmnist", "name": "pneumoniamnist"}, False),
        ("retfound-oct", {"plugin": "medmnist", "name": "octmnist"}, True),
    ],
)
def test_result_warns_where_the_dataset_was_in_the_training(encoder, dataset, leaks):
    layers = [{"method": "none", "encoder": encoder}, {"dataset": dataset}]
    warnings = list(warn_of_card(resolve(CATALOG, layers)))
    found = [each for each in warnings if each.startswith("leak: ")]
    assert bool(found) == leaks
    if leaks:
        assert f"were trained on {dataset['name']}, as their authors say" in found[0]
