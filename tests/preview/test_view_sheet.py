"""Which samples and views a contact sheet shows."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.catalog import load_catalog
from medssl.contracts import Augmentation, Classes, Findings, Listing, Sample
from medssl.preview import view_sheet as module
from medssl.preview.shown import describe_augmentation
from medssl.preview.view_sheet import view_sheet
from medssl.recipe import resolve


@pytest.fixture
def drawn(monkeypatch):
    """Return a function that makes a sheet and gives what it was drawn from: title, headings, rows, notes."""
    seen = []
    monkeypatch.setattr(module, "contact_sheet", lambda *parts: seen.append(parts))

    def draw(**settings):
        catalog = load_catalog()
        base = {"method": "simclr", "dataset": "phantom", "views": {"image_size": 32}}
        recipe = resolve(catalog, [base, settings])
        view_sheet(recipe.data, catalog, None, trained=recipe)
        return seen[-1]

    return draw


def test_a_row_shows_a_sample_as_evaluated_and_the_views_of_some_epochs(drawn):
    title, headings, rows, _ = drawn(seed=3)
    assert title == "phantom: histology, 32 px, seed 3, the views of simclr"
    assert headings == ["as evaluated", *(f"view {v}\nepoch {e}" for e in (1, 2, 3) for v in (1, 2))]
    assert [row.label for row in rows] == [name for name in ("gland", "stroma", "lymphoid", "tumour") for _ in "12"]
    assert all(picture.shape == (32, 32, 3) for row in rows for picture in row.pictures)
    assert all(len(row.pictures) == 7 for row in rows)
    assert not np.array_equal(rows[0].pictures[1], rows[0].pictures[3])


def test_the_same_seed_shows_the_same_and_another_one_other_samples(drawn):
    one, same, other = (drawn(seed=seed)[2] for seed in (0, 0, 1))
    assert [row.name for row in one] == [row.name for row in same]
    assert np.array_equal(one[3].pictures[2], same[3].pictures[2])
    assert [row.name for row in one] != [row.name for row in other]


def test_a_method_that_trains_nothing_gets_six_plain_views(drawn):
    title, headings, _, _ = drawn(method="random")
    assert "the views of" not in title
    assert headings == ["as evaluated", *(f"view {i}" for i in range(1, 7))]


def test_views_of_other_sizes_and_what_a_method_changes_are_shown(drawn):
    _, _, rows, notes = drawn(method="swav")
    sides = [picture.shape[0] for picture in rows[0].pictures]
    assert sides[0] == 32
    assert min(sides) < 32
    assert len(notes) == 2
    assert notes[1].startswith("Views 3 to ")


def test_what_the_user_set_is_what_is_drawn_and_said(drawn):
    _, _, rows, notes = drawn(views={"image_size": 32, "greyscale": 1, "blur": 0})
    assert "greyscale\u00a01" in notes[0]
    assert "blur" not in notes[0]
    picture = rows[0].pictures[1].astype(int)
    assert np.ptp(picture, axis=2).max() <= 1


def test_operations_that_are_off_and_their_strengths_are_not_named():
    words = describe_augmentation(Augmentation(jitter=0, blur=0, rotation=10)).replace("\u00a0", " ")
    assert words == "crop_scale 0.2 to 1, crop_ratio 0.75 to 1.33, rotation 10, horizontal_flip 0.5, greyscale 0.2"


def samples(*labels, part=None):
    return [Sample(id=str(i), y=label, part=part) for i, label in enumerate(labels)]


def choose(some):
    return module._choose(Listing(samples=some, target=Classes(tuple(map(str, range(30))))), 0)


def test_many_classes_get_one_sample_each_and_no_more_than_twelve_rows():
    assert [s.y for s in choose(samples(*range(30), *range(30)))] == list(range(12))
    assert [s.y for s in choose(samples(*range(7), *range(7)))] == list(range(7))
    assert [s.y for s in choose(samples(1, 0, 1, 0, 1))] == [0, 0, 1, 1]


def test_test_images_are_not_looked_at_where_the_makers_set_them_apart():
    mixed = samples(0, 1, part="test") + [Sample(id=f"t{i}", y=i % 2, part="train") for i in range(4)]
    assert {s.part for s in choose(mixed)} == {"train"}


def test_samples_without_labels_are_shown_where_there_are_no_others():
    assert [s.y for s in choose(samples(None, None, None))] == [None, None]
    assert [s.y for s in choose(samples(None, 0, None))] == [0]


def test_of_findings_the_first_that_an_image_has_counts():
    some = [Sample(id=str(i), y=y) for i, y in enumerate([(0, 1, 1), (0, None, 1), (0, 0, 0), (None, 0, 0)])]
    chosen = module._choose(Listing(samples=some, target=Findings(("a", "b", "c"))), 0)
    assert [s.id for s in chosen] == ["0", "1", "2", "3"]
