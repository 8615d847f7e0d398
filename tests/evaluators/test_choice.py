"""The choice among settings: against scikit-learn's scores, and by hand."""

from __future__ import annotations

import pytest
import torch
from sklearn import metrics as sk

from medssl.errors import DataError
from medssl_evaluators._choice import best, score


def test_scores_equal_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 2])[torch.randint(2, (50,), generator=generator)]  # class 1 is missing
    proba = torch.rand(4, 50, 3, generator=generator, dtype=torch.float64)
    proba[:, range(50), label] *= 2
    proba /= proba.sum(dim=2, keepdim=True)
    found = score(proba, label)
    for s in range(4):
        recall = sk.recall_score(label, proba[s].argmax(dim=1), labels=[0, 2], average="macro")
        assert found.balanced_accuracy[s].item() == pytest.approx(recall)
        assert found.accuracy[s].item() == pytest.approx(sk.accuracy_score(label, proba[s].argmax(dim=1)))
        assert found.log_loss[s].item() == pytest.approx(sk.log_loss(label, proba[s], labels=[0, 1, 2]), rel=1e-6)


def test_log_loss_is_finite_for_a_probability_of_zero() -> None:
    found = score(torch.tensor([[[1.0, 0.0]]]), torch.tensor([1]))
    assert found.log_loss.item() == pytest.approx(13.8155, abs=1e-3)  # -ln 1e-6


def test_best_goes_by_score_then_preference_then_order() -> None:
    assert best([0.5, 0.7, 0.6], [9, 0, 9], "ks") == 1
    assert best([0.7, 0.7, 0.6], [1, 2, 9], "ks") == 1
    assert best([0.7, 0.7, 0.7], [2, 1, 2], "ks") == 0


def test_without_validation_only_a_single_setting_passes() -> None:
    empty = score(torch.empty(2, 0, 3), torch.empty(0, dtype=torch.int64))
    assert empty.selected(0) == {}
    assert best(empty.balanced_accuracy[:1], empty.log_loss[:1], "ks") == 0
    with pytest.raises(DataError, match="none of the 2 ks can be chosen"):
        best(empty.balanced_accuracy, empty.log_loss, "ks")
