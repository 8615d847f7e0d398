"""Ranking by cosine, against a loop."""

from __future__ import annotations

import numpy as np
import torch

from medssl.contracts import Classes, Features
from medssl_evaluators.retrieval import Retrieval


def rank(train, x):
    return Retrieval(Retrieval.Config(), 0).fit(train, train).rank(x)


def test_ranking_is_by_cosine_the_most_alike_first(blobs):
    train, test = blobs(30, 0), blobs(12, 1)
    found = rank(train, test.x)
    for row, query in zip(found.tolist(), test.x.double().numpy(), strict=True):
        cosine = [query @ b / np.linalg.norm(query) / np.linalg.norm(b) for b in train.x.double().numpy()]
        assert row == sorted(range(30), key=lambda j: -cosine[j])


def test_length_of_features_does_not_matter(blobs):
    train, test = blobs(30, 0), blobs(12, 1)
    longer = Features(x=train.x * torch.arange(1.0, 31)[:, None], y=train.y, target=Classes(("a", "b", "c")))
    assert torch.equal(rank(train, test.x), rank(longer, 5 * test.x))


def test_equally_alike_samples_keep_their_order(blobs):
    train = blobs(6, 0)
    same = Features(x=train.x[:1].expand(6, -1), y=train.y, target=Classes(("a", "b", "c")))
    assert rank(same, train.x).tolist() == [list(range(6))] * 6
