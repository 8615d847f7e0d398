"""Checks of every value that a plugin hands to the core, where it does: type, shape, numbers, length, device.

Each function returns what is wrong in a list of phrases, so that one message names all of it. It is empty for a right
value. The caller that receives the value raises :class:`~medssl.errors.BreachError`.

n samples, M training samples, O outputs of a target, V views.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import torch
from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError
from torch import Tensor, nn

from medssl.contracts.encoders import Built, EncoderCard
from medssl.contracts.evaluators import Observation, Observer, Outcome, Predictor, Ranker
from medssl.contracts.readers import Agreement, FileFacts
from medssl.contracts.targets import Target
from medssl.contracts.views import ViewGroup, ViewSpec
from medssl.errors import BreachError

__all__ = [
    "blocks_problems",
    "built_problems",
    "card_problems",
    "chosen_problems",
    "facts_problems",
    "features_problems",
    "image_problems",
    "loss_problems",
    "observation_problems",
    "outcome_problems",
    "path_problems",
    "prediction_problems",
    "ranking_problems",
    "require_no_problems",
    "state_problems",
    "suffixes_problems",
    "text_problems",
    "type_problems",
    "views_problems",
]

_MOST_OUTCOMES = 1000  # of one evaluator
_MOST_VIEWS = 1000
_LARGEST_SCALE = 16.0  # of a view's side to the recipe's
_LONGEST_NOTE = 10_000  # characters
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+=-]{0,99}")
_FileSuffix = Annotated[str, StringConstraints(pattern=r"^(\.[a-z0-9_+-]+){1,2}$")]
_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
_NUMBERS = (torch.float32, torch.float64)


def require_no_problems(plugin: object, function: str, problems: Sequence[str]) -> None:
    """Raise an error if there are problems.

    Args:
        plugin: An instance of the plugin's class.
        function: The function that returned the value, or the attribute that holds it.
        problems: From a function of this module.

    Raises:
        BreachError: There are problems.
    """
    if problems:
        raise BreachError(type(plugin), function, problems)


def _an(name: str) -> str:
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _word(value: object) -> str:
    """Describe a value by its type, and by its shape where it has one."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ in ("builtins", "torch") else f"{kind.__module__}.{kind.__name__}"
    if isinstance(value, Tensor | np.ndarray):
        return f"a {name} of shape {tuple(value.shape)} and type {str(value.dtype).removeprefix('torch.')}"
    return "None" if value is None else _an(name)


def _tensor_problems(value: object, what: str, shape: tuple[int, ...], types: Sequence[torch.dtype]) -> Iterator[str]:
    if not isinstance(value, Tensor):
        yield f"{what} must be a tensor, but is {_word(value)}"
        return
    if value.layout != torch.strided or value.is_nested or value.is_quantized:
        yield f"{what} must be a plain tensor, but is sparse, nested or quantised"
        return
    if tuple(value.shape) != shape:
        yield f"{what} must have the shape {shape}, but has {tuple(value.shape)}"
    if value.dtype not in types:
        wanted = " or ".join(str(each).removeprefix("torch.") for each in types)
        yield f"{what} must be {wanted}, but is {str(value.dtype).removeprefix('torch.')}"
    if value.device.type != "cpu":
        yield f"{what} must be on the processor, but is on {value.device}"
    elif value.requires_grad:
        yield f"{what} must have no gradient; detach it, or compute it under torch.no_grad()"


# ---------------------------------------------------------------------------------------------------------- evaluators


def outcome_problems(outcome: object) -> list[str]:
    """Check what ``fit`` returned: its type, ``selected``, ``notes`` and every further outcome in ``also``.

    Args:
        outcome: Should be a Predictor, a Ranker or an Observer.
    """
    found: list[str] = []
    _check_outcome(outcome, "", (), found)
    return found


def _check_outcome(outcome: object, prefix: str, above: tuple[int, ...], found: list[str]) -> None:
    if not isinstance(outcome, Predictor | Ranker | Observer):
        found.append(f"{prefix or 'the result '}must be a Predictor, a Ranker or an Observer, but is {_word(outcome)}")
        return
    found.extend(f"{prefix}{text}" for text in _remark_problems(outcome))
    also: object = outcome.also
    if not isinstance(also, Mapping):
        found.append(f"{prefix}also must be a mapping of outcomes by suffix, but is {_word(also)}")
        return
    if id(outcome) in above or len(above) > 20 or len(also) > _MOST_OUTCOMES:
        found.append(f"{prefix}also contains itself, or has too many outcomes")
        return
    for suffix, other in also.items():
        if not isinstance(suffix, str) or not _SUFFIX.fullmatch(suffix):
            found.append(f"{prefix}the suffix {suffix!r:.60} in also must be letters, digits, _, -, +, = and dots")
        else:
            _check_outcome(other, f"{prefix}also['{suffix}']: ", (*above, id(outcome)), found)


def _remark_problems(outcome: Outcome) -> Iterator[str]:
    selected: object = outcome.selected
    if not isinstance(selected, Mapping):
        yield f"selected must be a mapping of plain values by name, but is {_word(selected)}"
    else:
        for name, value in selected.items():
            if not isinstance(name, str):
                yield f"the name {name!r:.60} in selected must be a text"
            elif problem := _plain_problem(value):
                yield f"selected['{name:.60}'] must be a plain, finite value, but is {problem}"
    notes: object = outcome.notes
    if isinstance(notes, str) or not isinstance(notes, Sequence):
        yield f"notes must be a list of sentences, but is {_word(notes)}"
    elif strangers := [note for note in notes if not isinstance(note, str) or len(note) > _LONGEST_NOTE]:
        yield f"notes must be sentences, but has {_word(strangers[0])}"


def _plain_problem(value: object) -> str | None:
    """Describe what JSON cannot hold; ``None`` for a number, a text, or lists and mappings of them."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return f"{float(value)}"
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return _word(value)
    return None if len(text) <= _LONGEST_NOTE else f"a value of {len(text):,} characters"


def prediction_problems(prediction: object, target: Target, n: int) -> list[str]:
    """Check the result of ``predict`` for n samples.

    Args:
        prediction: Should be ``(n, O)`` float, finite, as :meth:`~medssl.contracts.targets.Target.prediction_error`
            demands.
        target: What is predicted.
        n: Number of samples.
    """
    found = list(_tensor_problems(prediction, "the result", (n, target.outputs), _NUMBERS))
    if not found and isinstance(prediction, Tensor) and (error := target.prediction_error(prediction.numpy())):
        found.append(error)
    return found


def ranking_problems(ranking: object, n: int, ranked: int) -> list[str]:
    """Check the result of ``rank`` for n samples: ``(n, M)`` int64, each row with all M training samples."""
    found = list(_tensor_problems(ranking, "the result", (n, ranked), (torch.int64,)))
    if not found and isinstance(ranking, Tensor):
        every = torch.arange(ranked).expand(n, ranked)
        if not torch.equal(ranking.sort(dim=1).values, every):
            found.append(f"each row must contain each of the {ranked} training samples once")
    return found


def observation_problems(seen: object, n: int) -> list[str]:
    """Check the result of ``observe`` for n samples: numbers by name, and arrays of n rows by name."""
    if not isinstance(seen, Observation):
        return [f"the result must be an Observation, but is {_word(seen)}"]
    values: object = seen.values
    arrays: object = seen.arrays
    found = []
    if not isinstance(values, Mapping):
        found.append(f"values must be a mapping of numbers by name, but is {_word(values)}")
    else:
        for name, value in values.items():
            number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            if not isinstance(name, str) or not number:
                found.append(f"values[{name!r:.60}] must be a number under a name, but is {_word(value)}")
    if not isinstance(arrays, Mapping):
        return [*found, f"arrays must be a mapping of arrays by name, but is {_word(arrays)}"]
    for name, array in arrays.items():
        right = isinstance(array, np.ndarray) and array.dtype.kind in "biufU" and array.ndim > 0
        if not isinstance(name, str) or not _SUFFIX.fullmatch(name) or not right:
            found.append(f"arrays[{name!r:.60}] must be an array of numbers or texts, but is {_word(array)}")
        elif len(array) != n:
            found.append(f"arrays['{name}'] must have one row for each of {n} test images, but has {len(array)}")
        elif array.dtype.kind == "f" and np.isinf(array).any():
            found.append(f"arrays['{name}'] must be finite")
    return found


# ------------------------------------------------------------------------------------------------------------- methods


def loss_problems(loss: object, device: torch.device) -> list[str]:
    """Check the result of ``loss``: one real number with a gradient, on the device.

    Whether it is finite is another question: a loss that explodes is no fault of the plugin's code.
    """
    if not isinstance(loss, Tensor):
        return [f"the result must be one number as a tensor with a gradient, but is {_word(loss)}"]
    found = []
    if loss.numel() != 1:
        found.append(f"the result must be one number, but is a tensor of shape {tuple(loss.shape)}; return the mean")
    if not loss.is_floating_point():
        found.append(f"the result must be floating point, but is {str(loss.dtype).removeprefix('torch.')}")
    elif not loss.requires_grad:
        found.append("the result must have a gradient, but is a tensor without a gradient; do not detach it")
    if loss.device.type != device.type:
        found.append(f"the result must be on {device}, but is on {loss.device}")
    return found


def views_problems(views: object) -> list[str]:
    """Check ``views`` of a method: a ViewSpec with groups of views."""
    if not isinstance(views, ViewSpec):
        return [f"views must be a ViewSpec, but is {_word(views)}"]
    groups: object = views.groups
    if not isinstance(groups, tuple | list) or not groups:
        return [f"the groups of views must be a tuple of ViewGroup, but are {_word(groups)}"]
    found = []
    for group in groups:
        if not isinstance(group, ViewGroup):
            found.append(f"a group of views must be a ViewGroup, but is {_word(group)}")
            continue
        count: object = group.count
        scale: object = group.scale
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_VIEWS:
            found.append(f"the count of a group of views must be from 1 to {_MOST_VIEWS}, but is {count!r:.40}")
        if not isinstance(scale, int | float) or not 0 < scale <= _LARGEST_SCALE:
            found.append(f"the scale of a group of views must be above 0, up to {_LARGEST_SCALE:g}, not {scale!r:.40}")
        if not isinstance(group.augment, Mapping):
            found.append(f"augment of a group of views must be a mapping, but is {_word(group.augment)}")
    if not isinstance(views.geometry, bool):
        found.append(f"geometry of views must be True or False, but is {_word(views.geometry)}")
    return found


def state_problems(state: object, name: str = "state_dict()", depth: int = 0) -> list[str]:
    """Check what a method stores: only tensors, numbers, texts, and lists and mappings of them can be read back."""
    if state is None or isinstance(state, Tensor | bool | int | float | str | bytes) or depth > 10:
        return []
    if isinstance(state, Mapping | list | tuple):
        inside = state.items() if isinstance(state, Mapping) else enumerate(state)
        return [each for key, value in inside for each in state_problems(value, f"{name}[{key!r:.60}]", depth + 1)]
    return [f"{name} must be tensors, numbers, texts, or lists and mappings of them, but has {_word(state)}"]


# ------------------------------------------------------------------------------------------------------------ datasets


def image_problems(pixels: object) -> list[str]:
    """Check the result of ``read``: ``(H, W, C)``, uint8 or uint16."""
    wanted = "an image is (H, W, C), uint8 or uint16"
    if not isinstance(pixels, np.ndarray):
        return [f"the result must be an array, but is {_word(pixels)}; {wanted}"]
    right = pixels.dtype.newbyteorder("=") in (np.dtype(np.uint8), np.dtype(np.uint16))
    if not right or pixels.ndim != 3 or not pixels.size:
        return [f"the result is an array of shape {pixels.shape} and type {pixels.dtype}; {wanted}"]
    return []


def path_problems(path: object) -> list[str]:
    """Check the result of ``path``: a Path, or ``None``."""
    right = path is None or isinstance(path, Path)
    return [] if right else [f"the result must be a Path or None, but is {_word(path)}"]


def text_problems(text: object) -> list[str]:
    """Check the result of ``fingerprint``: a text, or ``None``."""
    right = text is None or isinstance(text, str)
    return [] if right else [f"the result must be a text or None, but is {_word(text)}"]


# ------------------------------------------------------------------------------------- encoders, readers and trackers


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=_STRICT)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, localns={"nn": nn}, include_extras=True)


def type_problems(value: object, hint: Any, words: str, what: str = "the result") -> list[str]:
    """Check a value against an annotation, without conversion; numbers must be finite.

    A text is not shown, because it may name a patient.

    Args:
        value: The value.
        hint: The annotation: ``tuple[str, ...]``.
        words: The annotation in words.
        what: The value in words.
    """
    try:
        _adapter(hint).validate_python(value)
    except (ValidationError, RecursionError):
        return [f"{what} must be {words}, but is {repr(value) if isinstance(value, int | float) else _word(value)}"]
    return []


def _field_problems(value: object, kind: type, what: str = "the result") -> list[str]:
    """Check every field of a dataclass against its annotation."""
    if not (isinstance(value, kind) and is_dataclass(kind)):
        return [f"{what} must be {_an(kind.__name__)}, but is {_word(value)}"]
    found: list[str] = []
    for name, words in ((field.name, str(field.type)) for field in fields(kind)):
        hint, inside = _hints(kind)[name], getattr(value, name)
        nested = isinstance(hint, type) and is_dataclass(hint)
        found += _field_problems(inside, hint, name) if nested else type_problems(inside, hint, words, name)
    return found


def card_problems(card: object, weights: object) -> list[str]:
    """Check the result of ``read_card``, an EncoderCard, and ``weights``."""
    return _field_problems(card, EncoderCard) + type_problems(
        weights, Path | str | None, "Path | str | None", "weights"
    )


def built_problems(built: object) -> list[str]:
    """Check the result of ``build``: a Built whose network has finite float32 parameters and buffers."""
    if (found := _field_problems(built, Built)) or not isinstance(built, Built):
        return found
    numbers = {
        name: x for name, x in built.network.state_dict().items() if isinstance(x, Tensor) and x.is_floating_point()
    }
    wrong = {
        "float32": [name for name, x in numbers.items() if x.dtype != torch.float32],
        "finite": [name for name, x in numbers.items() if not (x.is_meta or x.isfinite().all())],
    }
    return [
        f"the weights of network must be {words}, but '{names[0]}' is not" for words, names in wrong.items() if names
    ]


def features_problems(features: object, *shape: int) -> list[str]:
    """Check the result of ``features`` or ``dense``: floating point, of this shape; -1 stands for any length.

    Whether it is finite is another question: weights that diverge are no fault of the plugin's code.
    """
    if not isinstance(features, Tensor):
        return [f"the result must be a tensor, but is {_word(features)}"]
    found = []
    if features.ndim != len(shape) or any(n not in (-1, m) for n, m in zip(shape, features.shape, strict=True)):
        wanted = ", ".join("any" if n == -1 else str(n) for n in shape)
        found.append(f"the result must have the shape ({wanted}), but has {tuple(features.shape)}")
    if not features.is_floating_point():
        found.append(f"the result must be floating point, but is {str(features.dtype).removeprefix('torch.')}")
    return found


def blocks_problems(blocks: object, modules: Container[str]) -> list[str]:
    """Check the result of ``blocks``: names of modules of the network."""
    if found := type_problems(blocks, list[str] | tuple[str, ...], "names of modules"):
        return found
    names: Sequence[str] = blocks  # type: ignore[assignment]  # checked above
    return [f"the network has no module '{name}'" for name in names if name not in modules][:3]


def suffixes_problems(suffixes: object) -> list[str]:
    """Check ``suffixes`` of a reader: a set of texts in lower case, each with its dot."""
    return type_problems(suffixes, frozenset[_FileSuffix], "a frozenset of texts such as '.png'", "suffixes")


def chosen_problems(chosen: object, count: int) -> list[str]:
    """Check the result of ``chosen``: numbers of frames below the count, each once."""
    frames = list(chosen) if isinstance(chosen, Sequence) else [chosen]
    right = all(isinstance(each, int) and 0 <= each < count for each in frames) and len(set(frames)) == len(frames)
    return [] if right else [f"the result must be numbers of frames below {count}, each once, but is {_word(chosen)}"]


def facts_problems(facts: object) -> list[str]:
    """Check the result of ``facts`` of a reader: a FileFacts."""
    if (found := _field_problems(facts, FileFacts)) or not isinstance(facts, FileFacts):
        return found
    found = [each for agreement in facts.agree for each in _field_problems(agreement, Agreement)]
    plain = not any(map(_plain_problem, facts.values.values()))
    return found if plain else [*found, "values must be plain, finite values by name"]
