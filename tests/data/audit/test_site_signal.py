"""The site in measurements of images: found where it was planted, and inside the interval of chance in noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from medssl.contracts import Sample
from medssl.data.audit.site_signal import _balanced, find_site_signal


def images(groups=30, per_group=4, sites=3, *, grouped=True):
    return [
        Sample(id=f"{g}-{i}", group=f"p{g}" if grouped else None, site=f"h{g % sites}")
        for g in range(groups)
        for i in range(per_group)
    ]


def noise(samples, seed=0, width=16):
    return np.random.default_rng(seed).normal(size=(len(samples), width)).astype(np.float32)


def test_a_planted_site_is_found() -> None:
    samples = images()
    x = noise(samples)
    for row, sample in zip(x, samples, strict=True):
        row[3 + int(sample.site[1:])] += 3
    found = find_site_signal(x, samples)
    assert found is not None
    assert (found.sites, found.groups) == (3, 30)
    assert found.value > 0.8
    assert found.above_chance
    assert found.chance_low < 1 / 3 < found.chance_high
    assert found.sentence("frozen features", "class").startswith("confounding: frozen features tell the site (balanced")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_in_noise(seed) -> None:
    samples = images(groups=40, sites=2)
    found = find_site_signal(noise(samples, seed), samples)
    assert found is not None
    assert not found.value > found.chance_high + 0.05


def test_patients_that_differ_are_not_sites_that_differ() -> None:
    """Each patient has a mark; images of a known patient would tell the site, images of other patients do not."""
    samples = images(groups=24, per_group=6, sites=2)
    marks = np.random.default_rng(5).normal(size=(24, 16)) * 5
    x = noise(samples) + marks[[int(sample.group[1:]) for sample in samples]]
    found = find_site_signal(x, samples)
    assert found is not None
    assert not found.above_chance


def test_few_groups_have_a_wide_interval_and_single_ones_are_left_out() -> None:
    few = find_site_signal(noise(images(groups=4, sites=2)), images(groups=4, sites=2))
    many = find_site_signal(noise(images(groups=80, sites=2)), images(groups=80, sites=2))
    assert few is not None
    assert many is not None
    assert few.chance_high - few.chance_low > 1.5 * (many.chance_high - many.chance_low)
    alone = [*images(groups=10, sites=1), Sample(id="x", site="other", group="px")]
    assert find_site_signal(noise(alone), alone) is None
    assert find_site_signal(noise(images(groups=3)), images(groups=3)) is None


def test_balanced_accuracy_is_scikit_learns() -> None:
    draw = np.random.default_rng(1)
    sites = draw.choice(3, (4, 200), p=[0.6, 0.3, 0.1])
    guess = draw.integers(0, 3, (4, 200))
    expected = [balanced_accuracy_score(a, b) for a, b in zip(sites, guess, strict=True)]
    assert _balanced(sites, guess, 3) == pytest.approx(expected)
