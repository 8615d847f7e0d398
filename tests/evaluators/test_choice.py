"""The choice among settings: its scores against scikit-learn, its ties, edges and extensions by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn import metrics as sk

from medssl.contracts import Classes, Features
from medssl.errors import DataError
from medssl_evaluators._choice import Rule, choose, steps
from medssl_evaluators._scores import Score, score, smooth

FLAT = Score(accuracy=0.5, balanced_accuracy=0.5, log_loss=0.7, auroc=0.5)
TWO = torch.tensor([0, 1])


def part(n: int) -> Features:
    return Features(x=torch.zeros(n, 1), y=torch.arange(n) % 2, target=Classes(("a", "b")))


def by_log_loss(losses: dict[float, float]):
    """A measure that looks log losses up, and the list of what it was asked."""
    asked: list[float] = []

    def measure(values):
        asked.extend(values)
        return [replace(FLAT, log_loss=losses[value]) for value in values]

    return measure, asked


def pick(values, losses, **options):
    measure, asked = by_log_loss(losses)
    rule = Rule("log_loss", TWO)
    return choose(values, measure, rule=rule, val=part(2), name="C", option="c_values", **options), asked


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [3, 1000], ids=["many ties", "few ties"])
@pytest.mark.parametrize(("classes", "present"), [(2, (0, 1)), (3, (0, 1, 2)), (4, (0, 2, 3)), (3, (0, 2))])
def test_scores_equal_scikit_learn(classes: int, present: tuple[int, ...], levels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    label = torch.tensor(present)[torch.randint(len(present), (60,), generator=generator)]
    proba = torch.randint(1, levels + 1, (4, 60, classes), generator=generator).float()
    proba /= proba.sum(dim=2, keepdim=True)
    for found, each in zip(score(proba, label), proba.numpy(), strict=True):
        p = each.astype("float64")
        guess = p.argmax(axis=1)
        recall = sk.recall_score(label, guess, labels=list(present), average="macro", zero_division=0)
        assert found.balanced_accuracy == pytest.approx(recall, abs=1e-12)
        assert found.accuracy == pytest.approx(sk.accuracy_score(label, guess), abs=1e-12)
        assert found.log_loss == pytest.approx(sk.log_loss(label, each, labels=list(range(classes))), rel=1e-6)
        ranked = present if classes > 2 else (1,)
        areas = [sk.roc_auc_score(label == c, p[:, c]) for c in ranked]
        assert found.auroc == pytest.approx(sum(areas) / len(areas), abs=1e-12)


def test_a_probability_of_zero_counts_as_scikit_learn_counts_it() -> None:
    proba = torch.tensor([[[1.0, 0.0], [0.25, 0.75]]])
    (found,) = score(proba, torch.tensor([1, 1]))
    assert found.log_loss == pytest.approx(sk.log_loss([1, 1], proba[0].numpy(), labels=[0, 1]), rel=1e-6)
    assert 7 < found.log_loss < 9


def test_one_class_in_validation_has_no_auroc_and_the_log_loss_chooses() -> None:
    label = torch.zeros(3, dtype=torch.int64)
    (found,) = score(torch.full((1, 3, 2), 0.5), label)
    assert "val_auroc" not in found.selected()
    assert found.selected()["val_accuracy"] == 1
    rule = Rule("auroc", label)
    assert rule.by == "log_loss"
    assert "only one class" in rule.notes[0]
    assert Rule("auroc", TWO).by == "auroc"
    assert Rule("auroc", TWO).notes == ()


def test_smoothing_adds_one_sample_of_the_training_frequencies() -> None:
    vote, frequency = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]), torch.tensor([0.75, 0.25, 0.0])
    expected = (9 * vote + frequency) / 10  # nine samples vote, a tenth has the frequencies
    torch.testing.assert_close(smooth(vote, frequency, 9), expected)
    torch.testing.assert_close(smooth(vote, frequency, 9).sum(dim=1), torch.ones(2))
    assert smooth(vote, frequency, 9)[0, 1] == pytest.approx(0.025)


def test_the_best_is_taken_by_the_score_that_is_named() -> None:
    one = Score(accuracy=0.9, balanced_accuracy=0.5, log_loss=0.3, auroc=0.6)
    two = Score(accuracy=0.6, balanced_accuracy=0.7, log_loss=0.9, auroc=0.7)
    three = Score(accuracy=0.5, balanced_accuracy=0.6, log_loss=0.6, auroc=0.8)
    chosen = [Rule(by, TWO).best([one, two, three]) for by in ("log_loss", "balanced_accuracy", "auroc")]
    assert chosen == [0, 1, 2]


def test_of_equals_within_the_noise_the_first_is_taken() -> None:
    def best(*losses: float) -> int:
        return Rule("log_loss", TWO).best([replace(FLAT, log_loss=loss) for loss in losses])

    assert best(0.5, 0.5, 0.5) == 0
    assert best(0.5 + 4e-7, 0.5, 0.6) == 0
    assert best(0.5 + 4e-6, 0.5, 0.5) == 1
    assert best(0.7, 0.6, 0.6 - 4e-7) == 1


def test_the_best_inside_the_list_ends_the_search_without_a_note() -> None:
    losses = {0.1: 0.6, 1.0: 0.5, 10.0: 0.55}
    choice, asked = pick([0.1, 1.0, 10.0], losses, beyond=steps([0.1, 10], (1, 3), 1e-3, 1e3))
    assert (choice.value, choice.notes) == (1.0, ())
    assert choice.selected == {"chosen_by": "log_loss", "tried": [0.1, 1.0, 10.0]}
    assert asked == [0.1, 1.0, 10.0]


def test_a_list_is_extended_until_the_best_lies_inside() -> None:
    losses = {0.1: 0.6, 1.0: 0.5, 3.0: 0.45, 10.0: 0.4, 30.0: 0.41}
    choice, asked = pick([0.1, 1.0], losses, beyond=steps([0.1, 1.0], (1, 3), 1e-3, 1e3))
    assert choice.value == 10
    assert asked == choice.selected["tried"] == [0.1, 1.0, 3.0, 10.0, 30.0]
    assert choice.notes == ("The best C was at the edge of c_values, so the list was extended by 3, 10, 30.",)


def test_a_list_is_extended_downwards_as_well() -> None:
    losses = {1.0: 0.5, 10.0: 0.6, 0.3: 0.4, 0.1: 0.45}
    choice, asked = pick([1.0, 10.0], losses, beyond=steps([1.0, 10.0], (1, 3), 1e-3, 1e3))
    assert choice.value == 0.3
    assert asked == [1.0, 10.0, 0.3, 0.1]
    assert choice.selected["tried"] == [0.1, 0.3, 1.0, 10.0]


def test_the_bound_ends_an_extension_and_is_said() -> None:
    losses = {float(c): 1 / (1 + c) for c in (1, 3, 10, 20)}
    choice, _ = pick([1.0, 3.0], losses, beyond=steps([1.0, 3.0], (1, 3), 1e-3, 20.0))
    assert choice.value == 20
    assert choice.notes[1] == "The chosen C is the largest that was tried; a better one may be outside the list."
    ended, _ = pick([1.0, 3.0], losses, beyond=steps([1.0, 3.0], (1, 3), 1e-3, 20.0), ends=(20.0,))
    assert len(ended.notes) == 1


def test_without_steps_the_edge_is_said_and_nothing_else_tried() -> None:
    choice, asked = pick([1.0, 3.0], {1.0: 0.4, 3.0: 0.5})
    assert asked == [1.0, 3.0]
    assert choice.notes == ("The chosen C is the smallest that was tried; a better one may be outside the list.",)


def test_one_value_is_no_choice() -> None:
    choice, asked = pick([1.0], {1.0: 0.4}, beyond=steps([1.0], (1, 3), 1e-3, 1e3))
    assert (choice.value, choice.selected, choice.notes, asked) == (1.0, {}, (), [1.0])


@pytest.mark.parametrize(
    ("value", "mantissas", "expected"),
    [
        (200, (1, 2, 5), 500),
        (500, (1, 2, 5), 1000),
        (150, (1, 2, 5), 200),
        (10.0, (1, 3), 30.0),
        (3000.0, (1, 3), 5000),
        (5000, (1, 2, 5), None),
        (1e-5, (1, 3), 3e-6),
        (3e-6, (1, 3), 1e-6),
        (2e-7, (1, 3), 1e-7),
        (1e-7, (1, 3), None),
    ],
)
def test_steps(value: float, mantissas: tuple[int, ...], expected: float | None) -> None:
    listed = [1e-5, 10.0] if value < 1 else [1.0, 10.0]
    assert steps(listed, mantissas, 1e-7, 5000)(value) == expected


def test_without_validation_only_a_single_setting_passes() -> None:
    empty = score(torch.empty(2, 0, 3), torch.empty(0, dtype=torch.int64))
    assert [each.selected() for each in empty] == [{}, {}]
    with pytest.raises(DataError, match="none of the 2 ks can be chosen"):
        choose([5, 1], lambda ks: empty, rule=Rule("auroc", TWO[:0]), val=part(0), name="k", option="ks")
