"""Each check of an evaluator must fail on one that breaks just what the check looks at."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medssl.conformance import run_checks
from medssl.contracts import Evaluator, Observation, Observer, Predictor, Ranker
from medssl.errors import DataError


class Vote(Predictor):
    """The share of each class among the k nearest training samples."""

    def __init__(self, train, k):
        self.train, self.k = train, k
        self.selected = {"k": k, "val_accuracy": 0.5}

    def predict(self, x):
        near = torch.cdist(x, self.train.x).topk(self.k, largest=False).indices
        return F.one_hot(self.train.y[near], self.train.target.outputs).float().mean(dim=1)


class Good(Evaluator):
    def fit(self, train, val):
        tried = [Vote(train, k) for k in (1, 3) if k <= len(train)]
        right = [(vote.predict(val.x).argmax(dim=1) == val.y).float().mean() for vote in tried]
        return tried[int(torch.stack(right).argmax())]


class Altered(Good):
    """A good evaluator whose answers go through :meth:`change`."""

    def fit(self, train, val):
        vote = super().fit(train, val)
        say = vote.predict
        vote.predict = lambda x: self.change(say(x), x, train, val)
        return vote

    def change(self, proba, x, train, val):
        return proba


class Doubled(Altered):
    def change(self, proba, x, train, val):
        return 2 * proba


class Negative(Altered):
    def change(self, proba, x, train, val):
        return proba + torch.tensor([-0.5, 0.5, 0.0])


class PresentClassesOnly(Altered):
    def change(self, proba, x, train, val):
        return proba[:, : int(train.y.max()) + 1]


class Double(Altered):
    def change(self, proba, x, train, val):
        return proba.double()


class KeepsTheGraph(Altered):
    def change(self, proba, x, train, val):
        return proba * torch.ones((), requires_grad=True)


class Guesses(Altered):
    def change(self, proba, x, train, val):
        return torch.full_like(proba, 1 / 3)


class NormalisesOverTheTestPart(Altered):
    def change(self, proba, x, train, val):
        return (proba - proba.mean(dim=0)).softmax(dim=1)


class LearnsFromValidation(Altered):
    def change(self, proba, x, train, val):
        return (proba + 0.1 * F.one_hot(val.y, val.target.outputs).float()[:2].mean(dim=0)).softmax(dim=1)


class DrawsGlobally(Altered):
    def change(self, proba, x, train, val):
        return (proba * (1 + torch.rand(()))).softmax(dim=1)


class DrawsFromPython(Good):
    def fit(self, train, val):
        random.random()
        return super().fit(train, val)


class WritesIntoItsInputs(Good):
    def fit(self, train, val):
        train.x.sub_(train.x.mean(dim=0))
        return super().fit(train, val)


class NoOutcome(Good):
    def fit(self, train, val):
        return nn.Linear(2, 2)


class ChoiceIsATensor(Good):
    def fit(self, train, val):
        vote = super().fit(train, val)
        vote.selected = {"k": torch.tensor(1)}
        return vote


class NotesAreAText(Good):
    def fit(self, train, val):
        vote = super().fit(train, val)
        vote.notes = "k is small."
        return vote


class NeedsThreeSamples(Good):
    def fit(self, train, val):
        assert len(train) > 2
        return super().fit(train, val)


class NeedsTwoClasses(Good):
    def fit(self, train, val):
        if train.y.unique().numel() < 2:
            raise DataError("there is one class only. Nothing can be learned from it. Add another.")
        return super().fit(train, val)


class BreaksWithoutValidation(Good):
    def fit(self, train, val):
        val.y.max()
        return super().fit(train, val)


class Nearest(Ranker):
    def __init__(self, train):
        self.train = train

    def rank(self, x):
        return torch.cdist(x, self.train.x).argsort(dim=1)


class GoodRanker(Evaluator):
    def fit(self, train, val):
        return Nearest(train)


class TenNearest(GoodRanker):
    def fit(self, train, val):
        nearest = Nearest(train)
        nearest.rank = lambda x: Nearest.rank(nearest, x)[:, :10]
        return nearest


class FirstTwice(GoodRanker):
    def fit(self, train, val):
        nearest = Nearest(train)
        nearest.rank = lambda x: Nearest.rank(nearest, x).clamp_min(1)
        return nearest


class FarthestFirst(GoodRanker):
    def fit(self, train, val):
        nearest = Nearest(train)
        nearest.rank = lambda x: Nearest.rank(nearest, x).flip(1)
        return nearest


class Spread(Observer):
    def observe(self, x):
        return Observation(values={"deviation": float(x.std())}, arrays={"norm": x.norm(dim=1).numpy()})


class GoodObserver(Evaluator):
    def fit(self, train, val):
        return Spread()


def observing(**seen):
    class Observing(Evaluator):
        def fit(self, train, val):
            outcome = Spread()
            outcome.observe = lambda x: Observation(**seen)
            return outcome

    return Observing


class Tuned(Predictor):
    def __init__(self, encoder, head):
        self.encoder, self.head = encoder, head

    def predict(self, x):
        return self.head(self.encoder(x)).softmax(dim=1)


class GoodOnImages(Evaluator):
    needs = "images"

    def fit(self, train, val):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = nn.Linear(train.feature_dim, train.target.outputs)
        optimizer = torch.optim.Adam([*train.encoder.parameters(), *head.parameters()], lr=0.01)
        for epoch in range(60):
            with train.autocast():
                features = train.encoder(train.augmented(epoch, torch.arange(len(train))))
            loss = F.cross_entropy(head(features), train.y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return Tuned(train.encoder.eval(), head)


class InTrainingMode(GoodOnImages):
    def fit(self, train, val):
        tuned = super().fit(train, val)
        tuned.encoder.train()
        return tuned


class ObservesImages(GoodObserver):
    needs = "images"


@pytest.mark.parametrize("plugin", [Good, GoodRanker, GoodObserver, GoodOnImages])
def test_a_good_evaluator_passes_every_check(plugin):
    results = run_checks("evaluator", plugin)
    assert [result for result in results if result.problem] == []
    assert len(results) > 8


FORM = "outcome keeps its form"


@pytest.mark.parametrize(
    ("plugin", "check"),
    [
        (Doubled, FORM),
        (Negative, FORM),
        (PresentClassesOnly, FORM),
        (Double, FORM),
        (KeepsTheGraph, FORM),
        (NoOutcome, FORM),
        (TenNearest, FORM),
        (FirstTwice, FORM),
        (ObservesImages, FORM),
        (observing(), FORM),
        (observing(values={"rank": float("nan")}), FORM),
        (observing(values={"rank": torch.tensor(1.0)}), FORM),
        (observing(arrays={"map": np.zeros((3, 2))}), FORM),
        (observing(arrays={"map": np.full((20, 2), np.inf)}), FORM),
        (ChoiceIsATensor, "choices and notes are plain"),
        (NotesAreAText, "choices and notes are plain"),
        (Guesses, "tells toy classes apart"),
        (FarthestFirst, "tells toy classes apart"),
        (NormalisesOverTheTestPart, "looks at one test sample at a time"),
        (InTrainingMode, "looks at one test sample at a time"),
        (DrawsGlobally, "equal seeds give equal results"),
        (DrawsFromPython, "equal seeds give equal results"),
        (WritesIntoItsInputs, "leaves its inputs alone"),
        (LearnsFromValidation, "validation labels only choose"),
        (NeedsThreeSamples, "tiny parts work"),
        (NeedsTwoClasses, "tiny parts work"),
        (BreaksWithoutValidation, "tiny parts work"),
    ],
)
def test_a_breach_is_seen_by_its_check(plugin, check, problem):
    assert problem("evaluator", plugin, check)


def test_an_outcome_beside_the_first_is_looked_at_too(problem):
    class WithBroken(Good):
        def fit(self, train, val):
            vote = super().fit(train, val)
            vote.also = {"k9": Doubled(self.config, self.seed).fit(train, val)}
            return vote

    assert problem("evaluator", WithBroken, FORM).startswith(
        "also['k9']: predict() of classes is not valid: probabilities"
    )


def test_another_choice_may_say_something_else(problem):
    class ChoosesByValidation(Good):
        """Its choice follows the validation labels, and it says so."""

        def fit(self, train, val):
            return Vote(train, 1 if int(val.y[0]) == 0 else 3)

    class KeepsItsChoiceToItself(ChoosesByValidation):
        def fit(self, train, val):
            vote = super().fit(train, val)
            vote.selected = {}
            return vote

    check = "validation labels only choose"
    assert not problem("evaluator", ChoosesByValidation, check)
    assert "although selected contains the same choice" in problem("evaluator", KeepsItsChoiceToItself, check)
