"""Leave one site out: each site is tested once, by models that have seen neither it nor its patients."""

from __future__ import annotations

import pytest

from medssl.contracts import Classes, Findings, Listing, Sample
from medssl.data.split.splits import fold_count, load_split, make_split
from medssl.errors import DataError, OptionError
from medssl.recipe.settings import SplitSettings

SITES = ("Bern", "Leiden", "Porto")


def sample(number: int, site: str | None, y: object, group: str | None) -> Sample:
    return Sample(id=f"{number:03d}", y=y, site=site, group=group)


def hospitals(target: object = None, *, images: int = 90) -> Listing:
    """Images of patients with three images each, spread over three sites and two classes."""
    samples = [sample(i, SITES[i // 3 % 3], i // 9 % 2, f"p{i // 3}") for i in range(images)]
    return Listing(
        samples=samples, target=target or Classes(("ill", "well")), group_kind="patient", site_kind="hospital"
    )


def split_of(listing: Listing, fold: int):
    return make_split(listing, SplitSettings(fold=fold), "site")


def test_each_site_is_tested_once_and_never_trained_on() -> None:
    listing = hospitals()
    assert fold_count(listing, SplitSettings(), "site") == 3
    of = {each.id: each.site for each in listing.samples}
    tested = []
    for fold, name in enumerate(SITES):
        split = split_of(listing, fold)
        assert {of[each] for each in split.test} == {name}
        assert name not in {of[each] for each in (*split.train, *split.val)}
        assert split.described_fold == {"index": fold, "count": 3, "left_out": name}
        assert split.grouped  # the validation part has whole patients
        assert len(split.val) == pytest.approx(60 / 8, abs=3)
        tested += split.test
    assert sorted(tested) == sorted(of)


def test_the_split_is_read_back(tmp_path) -> None:
    split = split_of(hospitals(), 1)
    split.save(tmp_path / "splits.json")
    assert load_split(tmp_path / "splits.json") == split


def test_a_patient_of_two_sites_is_never_on_both_sides() -> None:
    listing = hospitals()
    moved = [sample(900 + i, SITES[i % 2], i // 2 % 2, f"m{i // 2}") for i in range(8)]
    both = Listing(samples=[*listing.samples, *moved], target=listing.target, group_kind="patient")
    split = split_of(both, 0)
    assert {each.id for each in moved if each.site == "Bern"} <= set(split.test)
    assert set(split.unused) == {each.id for each in moved if each.site == "Leiden"}
    assert split.shared == {"test": 0, "val": 0}
    assert "one site left out: 4 images of patients who were also at that site are not used" in split.warnings
    assert not [text for text in split.warnings if "without a label" in text]


def changed(change) -> Listing:
    listing = hospitals()
    return Listing(samples=[change(i, each) for i, each in enumerate(listing.samples)], target=listing.target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, s: sample(i, None, s.y, s.group), "this dataset has no sites"),
        (lambda i, s: sample(i, None if i == 7 else s.site, s.y, s.group), "1 labelled image without a site"),
        (lambda i, s: sample(i, "Bern", s.y, s.group), "all labelled images are of one site, 'Bern'"),
        (
            lambda i, s: sample(i, s.site, 1 if s.site == "Porto" else s.y, s.group),
            "the site 'Porto' has images of class 'well' only",
        ),
        (
            lambda i, s: sample(i, s.site, 0 if s.site != "Porto" else s.y, s.group),
            "class 'well' has images at the site 'Porto' only",
        ),
    ],
)
def test_what_cannot_be_left_out_is_said(change, message) -> None:
    with pytest.raises(DataError, match=message):
        fold_count(changed(change), SplitSettings(), "site")


def test_a_rare_finding_at_one_site_is_no_error() -> None:
    samples = [sample(i, SITES[i % 3], (i // 3 % 2, int(i == 0)), f"p{i}") for i in range(60)]
    listing = Listing(samples=samples, target=Findings(("mass", "rare")))
    split = split_of(listing, 0)
    assert any("no image of finding 'rare'" in text for text in split.warnings)


def test_the_fold_is_asked_for() -> None:
    with pytest.raises(OptionError, match="'site' has 3 folds here"):
        make_split(hospitals(), SplitSettings(), "site")
