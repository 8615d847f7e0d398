"""Checks of the contract of evaluators, on Gaussian blobs, or on toy images for evaluators of images.

Every kind of targets that an evaluator serves is checked. Most of the toy findings that are present are unknown.

N test samples, M training samples, F features, O outputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.conformance import toy
from medssl.conformance.running import Check, Subject, require, without_global_draws
from medssl.contracts import TARGETS, Features, Images, Kept, Observation, Observer, Outcome, Predictor, Ranker, Target
from medssl.contracts.crossing.evaluators import (
    observation_problems,
    outcome_problems,
    prediction_problems,
    ranking_problems,
)
from medssl.errors import MedsslError

__all__ = ["CHECKS"]

_TRAIN, _VAL, _TEST = 60, 30, 20
_EASY = 90  # test samples where a share of them must be right
_LEAST = {"classes": (0.8, 0.6), "grades": (0.8, 0.6), "findings": (0.7, 0.55), "quantity": (0.5, 0.2)}  # that share
_FEW = 24, 12  # training and validation samples in checks that need no good accuracy


# ------------------------------------------------------------------------------------------------------------ the rig


def _kinds(subject: Subject) -> tuple[str, ...]:
    """Return the kinds of targets that it serves; of classes and grades, which look alike, the first."""
    served = [kind for kind in TARGETS if kind in subject.plugin.targets]
    return tuple(kind for kind in served if kind != "grades" or "classes" not in served)


def _refitted(subject: Subject) -> tuple[str, ...]:
    """Return those of them with which it is fitted again and again: of an evaluator of images, which is slow, one."""
    kinds = _kinds(subject)
    return kinds if subject.plugin.needs == "features" else kinds[:1]


def _part(subject: Subject, kind: str, n: int, seed: int, present: int = toy.CLASSES) -> Features | Images:
    draw = toy.features if subject.plugin.needs == "features" else toy.image_part
    return draw(n, seed, present, kind)


def _few(subject: Subject, kind: str) -> tuple[Features | Images, Features | Images]:
    return _part(subject, kind, _FEW[0], 0), _part(subject, kind, _FEW[1], 1)


def _test_inputs(subject: Subject, kind: str, n: int = _TEST) -> Tensor:
    return _inputs(_part(subject, kind, n, 2))


def _inputs(part: Features | Images) -> Tensor:
    """Return the input of ``predict`` and similar methods for a part: features or images."""
    return part.x if isinstance(part, Features) else part.plain(torch.arange(len(part)))


def _fit(subject: Subject, train: Features | Images, val: Features | Images) -> Outcome:
    outcome = subject.plugin(subject.config, 0).fit(train, val)
    kinds = (Predictor, Ranker, Observer)
    require(
        isinstance(outcome, kinds),
        f"fit() must return a Predictor, a Ranker or an Observer, but returned {type(outcome).__name__}",
    )
    if subject.plugin.needs == "images":
        text = f"an evaluator of images must return a Predictor, but fit() returned a {type(outcome).__name__}"
        require(isinstance(outcome, Predictor), text)
    fitted: Outcome = outcome
    return fitted


@lru_cache(maxsize=len(TARGETS))
def _fitted(subject: Subject, kind: str) -> Outcome:
    """Fit once for all checks that only inspect the outcome."""
    return _fit(subject, _part(subject, kind, _TRAIN, 0), _part(subject, kind, _VAL, 1))


def _outcomes(outcome: Outcome, prefix: str = "") -> Iterator[tuple[str, Outcome]]:
    yield prefix, outcome
    for suffix, other in outcome.also.items():
        yield from _outcomes(other, f"{prefix}also['{suffix}']: ")


def _predict(subject: Subject, predictor: Predictor, x: Tensor) -> Tensor:
    """Predict as the core does, without gradients if a network predicts."""
    with torch.no_grad() if subject.plugin.needs == "images" else nullcontext():
        return predictor.predict(x)


def _readings(subject: Subject, outcome: Outcome, x: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Return all outputs of an outcome for ``x``, by name."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for prefix, each in _outcomes(outcome):
        if isinstance(each, Predictor):
            found[f"{prefix}prediction"] = _predict(subject, each, x).numpy()
        elif isinstance(each, Ranker):
            found[f"{prefix}ranking"] = each.rank(x).numpy()
        elif isinstance(each, Observer):
            seen = each.observe(x)
            found |= {f"{prefix}{name}": np.asarray(value) for name, value in {**seen.values, **seen.arrays}.items()}
    return found


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return the name of the first output that differs between two fits; empty if they are equal."""
    for name in {**first, **second}:
        if name not in first or name not in second or not np.array_equal(first[name], second[name], equal_nan=True):
            return name
    return ""


# ----------------------------------------------------------------------------------------------- what an outcome says


def check_outcome_keeps_its_form(subject: Subject) -> None:
    """Predictions are those of the target, rankings contain every training sample once, observations are plain."""
    for kind in _kinds(subject):
        for present in (toy.CLASSES, toy.CLASSES - 1):  # the last class or finding may be in no training sample
            if present == toy.CLASSES:
                outcome = _fitted(subject, kind)
            else:
                parts = (_part(subject, kind, n, seed, present) for seed, n in enumerate((_TRAIN, _VAL)))
                outcome = _fit(subject, *parts)
            x = _test_inputs(subject, kind)
            for prefix, each in _outcomes(outcome):
                if isinstance(each, Predictor):
                    _require_predictions(prefix, toy.target(kind), _predict(subject, each, x))
                elif isinstance(each, Ranker):
                    _require_ranking(prefix, each.rank(x))
                elif isinstance(each, Observer):
                    _require_observation(prefix, each.observe(x))


def _require_predictions(prefix: str, target: Target, prediction: Tensor) -> None:
    name = f"{prefix}predict() of {target.kind}"
    problems = prediction_problems(prediction, target, _TEST)
    require(not problems, f"{name} is not valid: {'; '.join(problems)}")
    require(prediction.dtype == torch.float32, f"{name} must return float32, not {prediction.dtype}")


def _require_ranking(prefix: str, ranked: Tensor) -> None:
    problems = ranking_problems(ranked, _TEST, _TRAIN)
    require(not problems, f"{prefix}rank() is not valid: {'; '.join(problems)}")


def _require_observation(prefix: str, seen: Observation) -> None:
    problems = observation_problems(seen, _TEST)
    require(not problems, f"{prefix}observe() is not valid: {'; '.join(problems)}")
    for name, value in {**seen.values, **seen.arrays}.items():
        array: np.ndarray[Any, Any] = np.asarray(value)
        finite = array.dtype.kind == "U" or bool(np.isfinite(array).all())
        require(finite, f"{prefix}'{name}' must be finite, but is not")
    require(bool(seen.values or seen.arrays), f"{prefix}observe() must return a value or an array, but returned none")


def check_choices_and_notes_are_plain(subject: Subject) -> None:
    """``selected`` and ``notes`` are written to ``result.json``: numbers, strings, lists and mappings of these."""
    for kind in _kinds(subject):
        problems = outcome_problems(_fitted(subject, kind))
        require(not problems, "; ".join(problems))


def check_tells_toy_classes_apart(subject: Subject) -> None:
    """At least 0.8 of the test samples of three well-separated classes must be classified correctly.

    For images the limit is 0.6, because the toy encoder is untrained, and an evaluator may keep it so. A prediction is
    correct if the most likely class is the true one; a ranking, if its first sample is of that class. A finding is
    correct if its probability is on the true side of a half; presence and absence count equally. The limit of findings
    is 0.7 (images: 0.55), because most of those that are present are unknown; an evaluator that takes unknown ones for
    absent reaches 0.5. Of a quantity 0.5 of the variance must be explained (images: 0.2).
    """
    label = torch.arange(_EASY) % toy.CLASSES
    for kind in _kinds(subject):
        least = _LEAST[kind][subject.plugin.needs == "images"]
        x = _test_inputs(subject, kind, _EASY)
        for prefix, each in _outcomes(_fitted(subject, kind)):
            if isinstance(each, Predictor):
                right = _share_right(kind, _predict(subject, each, x), label)
            elif isinstance(each, Ranker):
                right = float((each.rank(x)[:, 0] % toy.CLASSES == label).float().mean())
            else:
                continue
            text = f"{prefix}at least {least} of easy {kind} must be predicted correctly, but only {right:.2f} were"
            require(right >= least, text)


def _share_right(kind: str, prediction: Tensor, label: Tensor) -> float:
    if kind == "findings":
        present = toy.toy_truth(kind, label) > 0
        right = (prediction > 0.5) == present
        return float((right[present].float().mean() + right[~present].float().mean()) / 2)
    if kind == "quantity":
        y = toy.toy_truth(kind, label)
        return float(1 - (prediction[:, 0] - y).square().mean() / y.var(correction=0))
    return float((prediction.argmax(dim=1) == label).float().mean())


def check_looks_at_one_test_sample_at_a_time(subject: Subject) -> None:
    """The output for a test sample does not depend on the other samples in its batch."""
    for kind in _kinds(subject):
        x = _test_inputs(subject, kind)
        for prefix, each in _outcomes(_fitted(subject, kind)):
            if isinstance(each, Observer):
                continue  # it uses the whole part at once
            say = partial(_predict, subject, each) if isinstance(each, Predictor) else each.rank  # type: ignore[attr-defined]
            together, alone = say(x)[:3], torch.cat([say(x[i : i + 1]) for i in range(3)])
            close = torch.allclose(together.double(), alone.double(), atol=1e-4)
            text = "the output for a test sample must not depend on its batch, but changed with another batch"
            require(close, f"{prefix}{text}")


def check_kept_predictors_predict_the_same(subject: Subject) -> None:
    """A predictor whose ``keep`` returns something is restored from it, with equal predictions.

    What is kept must be tensors and JSON values, because it is written to a file.
    """
    for kind in _kinds(subject):
        x = _test_inputs(subject, kind)
        for prefix, each in _outcomes(_fitted(subject, kind)):
            kept = each.keep() if isinstance(each, Predictor) else None
            if kept is None or not isinstance(each, Predictor):
                continue
            tensors = {name: value.clone() for name, value in kept.tensors.items()}
            read = Kept(tensors=tensors, settings=json.loads(json.dumps(dict(kept.settings), allow_nan=False)))
            restored = subject.plugin.restore(read, toy.restore_context(kind))
            same = torch.equal(_predict(subject, restored, x), _predict(subject, each, x))
            require(same, f"{prefix}restore() must give the same predictions as the predictor that was kept")


# -------------------------------------------------------------------------------------------------------- how it learns


def check_equal_seeds_give_equal_results(subject: Subject) -> None:
    """Equal seeds give equal results, and no global random generator is used."""
    for kind in _refitted(subject):
        x = _test_inputs(subject, kind)
        readings = []
        for _ in range(2):
            parts = _few(subject, kind)
            with without_global_draws("fit() and what it returns", "generators seeded with Evaluator.seed"):
                readings.append(_readings(subject, _fit(subject, *parts), x))
        if name := _difference(*readings):
            require(False, f"two fits with the same seed must be equal, but differ in {name}")


def check_leaves_its_inputs_alone(subject: Subject) -> None:
    """The tensors stay unchanged, because other evaluators get them afterwards."""
    for kind in _refitted(subject):
        train, val = _few(subject, kind)
        test = _test_inputs(subject, kind)
        tensors = {"train": _inputs(train), "val": _inputs(val), "x": test, "train.y": train.y, "val.y": val.y}
        before = {name: value.clone() for name, value in tensors.items()}
        _readings(subject, _fit(subject, train, val), test)
        for name, value in tensors.items():
            same = torch.equal(value.nan_to_num(-1), before[name].nan_to_num(-1))
            require(same, f"an evaluator must not change its inputs, but changed {name}")


def check_validation_labels_only_choose(subject: Subject) -> None:
    """An evaluator learns only from the training part; ``val`` only selects settings, recorded in ``selected``.

    If other labels of the validation samples lead to the same selection, the outputs must be the same. Entries of
    ``selected`` whose names begin with ``val_`` are scores of the selection; the others are the selection itself.
    """
    for kind in _refitted(subject):
        x = _test_inputs(subject, kind)
        seen: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for turn in range(toy.CLASSES):
            train, val = _few(subject, kind)
            val.y.copy_(val.y.roll(turn, 1) if kind == "findings" else (val.y + turn) % toy.CLASSES)
            outcome = _fit(subject, train, val)
            choices = {prefix: _choice(each) for prefix, each in _outcomes(outcome)}
            readings = _readings(subject, outcome, x)
            name = _difference(seen.setdefault(str(choices), readings), readings)
            require(
                not name,
                f"the validation part may only select settings, but other labels in it changed the {name} "
                f"although selected contains the same choice: {_choice(outcome) or 'none'}",
            )


def _choice(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in outcome.selected.items() if not name.startswith("val_")}


def check_tiny_parts_work(subject: Subject) -> None:
    """Two training samples, one class, one test sample, or no validation part: it works or explains why not.

    Only without a validation part may an evaluator raise a :class:`~medssl.errors.MedsslError`.
    """
    for kind in _refitted(subject):
        test = _test_inputs(subject, kind, 3)
        cases = {"two training samples": (2, 2, 2), "one class only": (6, 3, 1), "one validation sample": (6, 1, 3)}
        for words, (n, m, present) in cases.items():
            train, val = _part(subject, kind, n, 0, present), _part(subject, kind, m, 1, present)
            try:
                _readings(subject, _fit(subject, train, val), test)
            except Exception as error:  # any error is the finding
                what = f"{type(error).__name__}: {error}"
                require(False, f"an evaluator must work with {words} of {kind}, but raised {what}")
        try:
            _fit(subject, _part(subject, kind, 6, 0), _part(subject, kind, 0, 1))
        except MedsslError:
            pass
        except Exception as error:  # any error, as above
            require(False, f"without a validation part it must work or raise a DataError, but raised {error!r}")


CHECKS: tuple[Check, ...] = (
    check_outcome_keeps_its_form,
    check_choices_and_notes_are_plain,
    check_tells_toy_classes_apart,
    check_looks_at_one_test_sample_at_a_time,
    check_kept_predictors_predict_the_same,
    check_equal_seeds_give_equal_results,
    check_leaves_its_inputs_alone,
    check_validation_labels_only_choose,
    check_tiny_parts_work,
)
