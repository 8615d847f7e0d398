"""Checks of the contract of evaluators, on Gaussian blobs, or on toy images for evaluators of images.

N test samples, M training samples, F features, K classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medssl.conformance import toy
from medssl.conformance.running import Check, Subject, require, without_global_draws
from medssl.contracts import Features, Images, Observation, Observer, Outcome, Predictor, Ranker
from medssl.errors import MedsslError

__all__ = ["CHECKS"]

_TRAIN, _VAL, _TEST = 60, 30, 20
_FEW = 24, 12  # training and validation samples in checks that need no good accuracy


# ------------------------------------------------------------------------------------------------------------ the rig


def _part(subject: Subject, n: int, seed: int, present: int = toy.CLASSES) -> Features | Images:
    draw = toy.features if subject.plugin.needs == "features" else toy.image_part
    return draw(n, seed, present)


def _few(subject: Subject) -> tuple[Features | Images, Features | Images]:
    return _part(subject, _FEW[0], 0), _part(subject, _FEW[1], 1)


def _inputs(part: Features | Images) -> Tensor:
    """Return the input of ``predict_proba`` and similar methods for a part: features or images."""
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


@lru_cache(maxsize=1)
def _fitted(subject: Subject) -> Outcome:
    """Fit once for all checks that only inspect the outcome."""
    return _fit(subject, _part(subject, _TRAIN, 0), _part(subject, _VAL, 1))


def _outcomes(outcome: Outcome, prefix: str = "") -> Iterator[tuple[str, Outcome]]:
    yield prefix, outcome
    for suffix, other in outcome.also.items():
        yield from _outcomes(other, f"{prefix}also['{suffix}']: ")


def _predict(subject: Subject, predictor: Predictor, x: Tensor) -> Tensor:
    """Predict as the core does, without gradients if a network predicts."""
    with torch.no_grad() if subject.plugin.needs == "images" else nullcontext():
        return predictor.predict_proba(x)


def _readings(subject: Subject, outcome: Outcome, x: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Return all outputs of an outcome for ``x``, by name."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for prefix, each in _outcomes(outcome):
        if isinstance(each, Predictor):
            found[f"{prefix}probabilities"] = _predict(subject, each, x).numpy()
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
    """Probabilities sum to one, rankings contain every training sample once, observations are plain finite numbers."""
    for present in (toy.CLASSES, toy.CLASSES - 1):  # the last class may have no training sample
        outcome = _fitted(subject)
        if present < toy.CLASSES:
            outcome = _fit(subject, _part(subject, _TRAIN, 0, present), _part(subject, _VAL, 1, present))
        x = _inputs(_part(subject, _TEST, 2))
        for prefix, each in _outcomes(outcome):
            if isinstance(each, Predictor):
                _require_probabilities(prefix, _predict(subject, each, x))
            elif isinstance(each, Ranker):
                _require_rankings(prefix, each.rank(x))
            elif isinstance(each, Observer):
                _require_observation(prefix, each.observe(x))


def _require_probabilities(prefix: str, proba: Tensor) -> None:
    shape = (_TEST, toy.CLASSES)
    require(proba.shape == shape, f"{prefix}predict_proba() must return (N, K) = {shape}, not {tuple(proba.shape)}")
    require(proba.dtype == torch.float32, f"{prefix}predict_proba() must return float32, not {proba.dtype}")
    require(bool((proba >= 0).all()), f"{prefix}probabilities must not be negative, but the least is {proba.min()}")
    require(not proba.requires_grad, f"{prefix}probabilities must not require gradients, but do: detach them")
    sums = proba.sum(dim=1)
    close = torch.allclose(sums, torch.ones(_TEST), atol=1e-4)
    require(close, f"{prefix}probabilities of a sample must sum to one, but sum to {sums[0].item()} for the first")


def _require_rankings(prefix: str, ranked: Tensor) -> None:
    shape = (_TEST, _TRAIN)
    require(ranked.shape == shape, f"{prefix}rank() must return (N, M) = {shape}, not {tuple(ranked.shape)}")
    require(ranked.dtype == torch.int64, f"{prefix}rank() must return int64, not {ranked.dtype}")
    whole = torch.equal(ranked.sort(dim=1).values, torch.arange(_TRAIN).expand(shape))
    require(
        whole, f"{prefix}a ranking must contain each training sample once, but the first row is {ranked[0].tolist()}"
    )


def _require_observation(prefix: str, seen: Observation) -> None:
    for name, value in seen.values.items():
        plain = isinstance(value, int | float) and math.isfinite(value)
        require(plain, f"{prefix}values['{name}'] must be a plain finite number, but is {value!r}")
    for name, array in seen.arrays.items():
        right = isinstance(array, np.ndarray) and array.ndim > 0 and len(array) == _TEST
        require(right, f"{prefix}arrays['{name}'] must be a numpy array with a row for each of {_TEST} test samples")
        require(bool(np.isfinite(array).all()), f"{prefix}arrays['{name}'] must be finite, but is not")
    require(bool(seen.values or seen.arrays), f"{prefix}observe() must return a value or an array, but returned none")


def check_choices_and_notes_are_plain(subject: Subject) -> None:
    """``selected`` and ``notes`` are written to ``result.json``: numbers, strings, lists and mappings of these."""
    for prefix, each in _outcomes(_fitted(subject)):
        try:
            json.dumps(dict(each.selected), allow_nan=False)
        except (TypeError, ValueError) as error:
            require(False, f"{prefix}selected must contain plain finite values, but contains {each.selected}: {error}")
        texts = not isinstance(each.notes, str) and all(isinstance(note, str) for note in each.notes)
        require(texts, f"{prefix}notes must be a sequence of sentences, but is {each.notes!r}")


def check_tells_toy_classes_apart(subject: Subject) -> None:
    """At least 0.8 of the test samples of three well-separated classes must be classified correctly.

    For images the limit is 0.6, because the toy encoder is untrained, and an evaluator may keep it so.

    A prediction is correct if the most likely class is the true one; a ranking, if its first sample is of that class.
    """
    train, test = _part(subject, _TRAIN, 0), _part(subject, 90, 2)
    least = 0.8 if subject.plugin.needs == "features" else 0.6
    for prefix, each in _outcomes(_fitted(subject)):
        if isinstance(each, Predictor):
            found = _predict(subject, each, _inputs(test)).argmax(dim=1)
        elif isinstance(each, Ranker):
            found = train.label[each.rank(_inputs(test))[:, 0]]
        else:
            continue
        right = float((found == test.label).float().mean())
        text = f"{prefix}at least {least} of three easy classes must be classified correctly, but only {right:.2f} were"
        require(right >= least, text)


def check_looks_at_one_test_sample_at_a_time(subject: Subject) -> None:
    """The output for a test sample does not depend on the other samples in its batch."""
    x = _inputs(_part(subject, _TEST, 2))
    for prefix, each in _outcomes(_fitted(subject)):
        if isinstance(each, Observer):
            continue  # it uses the whole part at once
        say = partial(_predict, subject, each) if isinstance(each, Predictor) else each.rank  # type: ignore[attr-defined]
        together, alone = say(x)[:3], torch.cat([say(x[i : i + 1]) for i in range(3)])
        close = torch.allclose(together.double(), alone.double(), atol=1e-4)
        require(
            close, f"{prefix}the output for a test sample must not depend on its batch, but changed with another batch"
        )


# -------------------------------------------------------------------------------------------------------- how it learns


def check_equal_seeds_give_equal_results(subject: Subject) -> None:
    """Equal seeds give equal results, and no global random generator is used."""
    x = _inputs(_part(subject, _TEST, 2))
    readings = []
    for _ in range(2):
        parts = _few(subject)
        with without_global_draws("fit() and what it returns", "generators seeded with Evaluator.seed"):
            readings.append(_readings(subject, _fit(subject, *parts), x))
    if name := _difference(*readings):
        require(False, f"two fits with the same seed must be equal, but differ in {name}")


def check_leaves_its_inputs_alone(subject: Subject) -> None:
    """The tensors stay unchanged, because other evaluators get them afterwards."""
    train, val = _few(subject)
    test = _inputs(_part(subject, _TEST, 2))
    tensors = {"train": _inputs(train), "val": _inputs(val), "x": test}
    tensors |= {"train.label": train.label, "val.label": val.label}
    before = {name: value.clone() for name, value in tensors.items()}
    _readings(subject, _fit(subject, train, val), test)
    for name, value in tensors.items():
        require(torch.equal(value, before[name]), f"an evaluator must not change its inputs, but changed {name}")


def check_validation_labels_only_choose(subject: Subject) -> None:
    """An evaluator learns only from the training part; ``val`` only selects settings, recorded in ``selected``.

    If other labels of the validation samples lead to the same selection, the outputs must be the same. Entries of
    ``selected`` whose names begin with ``val_`` are scores of the selection; the others are the selection itself.
    """
    x = _inputs(_part(subject, _TEST, 2))
    seen: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for turn in range(toy.CLASSES):
        train, val = _few(subject)
        val.label.copy_((val.label + turn) % toy.CLASSES)
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
    test = _inputs(_part(subject, 3, 2))
    cases = {"two training samples": (2, 2, 2), "one class only": (6, 3, 1), "one validation sample": (6, 1, 3)}
    for words, (train, val, present) in cases.items():
        try:
            _readings(subject, _fit(subject, _part(subject, train, 0, present), _part(subject, val, 1, present)), test)
        except Exception as error:  # any error is the finding
            require(False, f"an evaluator must work with {words}, but raised {type(error).__name__}: {error}")
    try:
        _fit(subject, _part(subject, 6, 0), _part(subject, 0, 1))
    except MedsslError:
        pass
    except Exception as error:  # any error, as above
        require(False, f"without a validation part it must work or raise a DataError, but raised {error!r}")


CHECKS: tuple[Check, ...] = (
    check_outcome_keeps_its_form,
    check_choices_and_notes_are_plain,
    check_tells_toy_classes_apart,
    check_looks_at_one_test_sample_at_a_time,
    check_equal_seeds_give_equal_results,
    check_leaves_its_inputs_alone,
    check_validation_labels_only_choose,
    check_tiny_parts_work,
)
