"""Splits and shares of labels of findings and quantities, whose strata are no classes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from medssl.contracts import Findings, Listing, Quantity, Sample
from medssl.data.split.folds import FOLDED
from medssl.data.split.labels import choose_labels
from medssl.data.split.protocols import PARTS
from medssl.data.split.splits import load_split, make_split
from medssl.errors import DataError
from medssl.recipe.settings import SplitSettings

TARGET = Findings(("effusion", "mass", "hernia"))
RATES = (0.4, 0.15, 0.04)


def findings(count, seed, patients=None):
    """Images with each finding at its rate, some of it unknown; several of a patient, who often keeps a finding."""
    rng = np.random.default_rng(seed)
    own = rng.random((patients or count, 3)) < RATES
    samples = []
    for i in range(count):
        patient = i % (patients or count)
        value = own[patient] ^ (rng.random(3) < 0.02)
        y = tuple(None if rng.random() < 0.1 else int(each) for each in value)
        y = y if any(part is not None for part in y) else (0, 0, 0)  # each image is labelled
        samples.append(Sample(id=f"{i:05}", y=y, group=f"p{patient:04}" if patients else None, site=f"s{patient % 4}"))
    return Listing(samples=samples, target=TARGET, group_kind="patient" if patients else None)


def present(listing, ids):
    """Count the images with each finding, and those with none, one by one."""
    counts = [0] * 4
    for sample in listing.samples:
        if sample.id in ids:
            shown = [k for k, part in enumerate(sample.y) if part == 1]
            for k in shown or [3]:
                counts[k] += 1
    return counts


@pytest.mark.parametrize("patients", [None, 150])
@pytest.mark.parametrize("seed", range(3))
def test_findings_keep_their_shares_in_every_part(seed, patients):
    listing = findings(1000, seed, patients)
    split = make_split(listing, SplitSettings(seed=seed), "grouped" if patients else "random")
    whole = np.array(present(listing, {s.id for s in listing.samples}))
    for part, share in zip(PARTS, (0.7, 0.1, 0.2), strict=True):
        counts = present(listing, set(getattr(split, part)))
        assert list(split.stratum_count[part].values()) == counts
        off = np.abs(np.array(counts) - share * whole)
        assert (off <= (0.05 if patients else 0.02) * whole + 1).all(), (part, counts, share * whole)
    if patients:
        assert split.grouped


def test_the_draw_does_not_depend_on_the_order_and_is_another_with_another_seed():
    listing = findings(300, 0)
    backwards = replace(listing, samples=listing.samples[::-1])
    splits = [
        make_split(each, SplitSettings(seed=s), "random") for each, s in ((listing, 0), (backwards, 0), (listing, 1))
    ]
    assert splits[0] == splits[1]
    assert splits[0].test != splits[2].test


def test_a_rare_finding_that_a_part_lacks_is_a_warning_and_the_size_of_parts_is_counted_in_images():
    samples = [Sample(id=f"{i:03}", y=(i % 2, int(i == 7), 0)) for i in range(100)]
    split = make_split(Listing(samples=samples, target=TARGET), SplitSettings(), "random")
    missing = [warning for warning in split.warnings if "'mass'" in warning]
    assert len(missing) == 2
    assert all("part has no image of finding 'mass'" in warning for warning in missing)
    assert not any("hernia" in warning for warning in split.warnings)  # it is nowhere, which no split can mend
    assert sum(split.labelled.values()) == 100
    assert split.shares == pytest.approx((0.7, 0.1, 0.2), abs=0.02)


@pytest.mark.parametrize("protocol", ["random", "grouped", *sorted(FOLDED)])
def test_every_protocol_divides_findings(tmp_path, protocol):
    listing = findings(200, 5, patients=20)
    fold = 1 if protocol in FOLDED else None
    split = make_split(listing, SplitSettings(fold=fold), protocol)
    assert sorted((*split.train, *split.val, *split.test)) == [s.id for s in listing.samples]
    split.save(tmp_path / "splits.json")
    assert load_split(tmp_path / "splits.json") == split
    assert json.loads((tmp_path / "splits.json").read_text())["labelled"] == split.labelled


def test_images_of_which_nothing_is_known_are_trained_on_only():
    listing = findings(100, 1)
    blank = [Sample(id=f"x{i}") for i in range(30)]
    split = make_split(replace(listing, samples=[*listing.samples, *blank]), SplitSettings(), "random")
    assert {s.id for s in blank} <= set(split.train)
    assert sum(split.labelled.values()) == 100


def test_too_few_images_or_one_value_are_errors():
    few = Listing(samples=findings(2, 0).samples, target=TARGET)
    with pytest.raises(DataError, match=r"only 2 images with a label. The 3 parts .* Add images"):
        make_split(few, SplitSettings(), "random")
    same = Listing(samples=[Sample(id=str(i), y=(0, 1, 0)) for i in range(9)], target=TARGET)
    with pytest.raises(DataError, match=r"all 9 labelled images are alike: mass\. An evaluation needs images"):
        make_split(same, SplitSettings(), "random")


def test_fifths_of_a_quantity_keep_their_shares():
    rng = np.random.default_rng(0)
    ages = rng.gamma(4, 12, 500).tolist()
    samples = [Sample(id=f"{i:03}", y=age) for i, age in enumerate(ages)]
    target = Quantity("years").with_edges(ages)
    split = make_split(Listing(samples=samples, target=target), SplitSettings(), "random")
    edges = np.quantile(ages, [0.2, 0.4, 0.6, 0.8])
    for part, size in zip(PARTS, (70, 10, 20), strict=True):
        inside = np.bincount(np.searchsorted(edges, [ages[int(name)] for name in getattr(split, part)]), minlength=5)
        assert (inside == size).all()
        assert list(split.stratum_count[part].values()) == inside.tolist()


@pytest.mark.parametrize("grouped", [True, False])
def test_a_share_of_the_labels_of_findings_is_nested_and_balanced(grouped):
    listing = findings(1000, 3, patients=200)
    whole = np.array(present(listing, {s.id for s in listing.samples}))
    before: frozenset[str] = frozenset()
    for fraction in (0.05, 0.1, 0.3, 1.0):
        chosen = choose_labels(listing.samples, TARGET, fraction, 0, grouped=grouped)
        assert before <= chosen
        assert len(chosen) == pytest.approx(1000 * fraction, abs=5)
        counts = np.array(present(listing, chosen))
        assert (np.abs(counts - fraction * whole) <= 0.03 * whole + 5).all(), (fraction, counts)
        before = chosen
    backwards = choose_labels(listing.samples[::-1], TARGET, 0.1, 0, grouped=grouped)
    assert backwards == choose_labels(listing.samples, TARGET, 0.1, 0, grouped=grouped)
