"""Tables of similar images: their buckets, what is looked up in them, and how few candidates there are."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.data.audit import neighbours
from medssl.data.audit.neighbours import Buckets, count_ones


def sums(count, tables=3, bits=9, seed=0):
    return np.random.default_rng(seed).standard_normal((count, tables, bits)).astype(np.float32)


def test_candidates_differ_only_in_the_signs_of_the_four_sums_nearest_to_zero(monkeypatch):
    monkeypatch.setattr(neighbours, "_AT_ONCE", 50)
    images, queries = sums(300), sums(70, seed=1)
    buckets = Buckets(np.concatenate([Buckets.keys(images[:100]), Buckets.keys(images[100:])], axis=1), 9)
    found = sorted((q, i) for queried, held in buckets.near(queries) for q, i in zip(queried, held, strict=True))
    wanted = []
    for q, query in enumerate(queries):
        for table, row in enumerate(query):
            sure = np.argsort(abs(row))[4:]
            same = ((images[:, table, sure] > 0) == (row[sure] > 0)).all(axis=1)
            wanted += [(q, i) for i in np.flatnonzero(same)]
    assert found == sorted(wanted)
    assert len(wanted) > 300


@pytest.mark.parametrize("count", [0, 1])
def test_few_images_and_no_queries_give_few_candidates(count):
    buckets = Buckets(Buckets.keys(sums(count)), 9)
    assert all(len(q) == len(i) == 0 for q, i in buckets.near(sums(0)))
    assert sum(len(i) for _, i in buckets.near(sums(count))) == 3 * count


def test_candidates_of_one_image_do_not_grow_with_the_number_of_images():
    each = []
    for count in (2_000, 32_000):
        some = sums(count, bits=count.bit_length())
        found = sum(len(i) for _, i in Buckets(Buckets.keys(some), some.shape[2]).near(some[:500]))
        each.append(found / 500)
    assert each[1] < 1.2 * each[0]


def test_ones_are_counted_with_and_without_numpy_2(monkeypatch):
    x = np.random.default_rng(0).integers(0, 2**64, (50, 3), dtype=np.uint64)
    theirs = [[int(number).bit_count() for number in row] for row in x]
    assert count_ones(x).tolist() == theirs
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert count_ones(x).tolist() == theirs
