"""The conformance kit: what a plugin promises beyond its signature, as small checks that say what they saw.

Use it from the command line (``medssl check dcl``) or in a plugin package's own tests::

    from medssl.conformance import check_plugin
    from my_package import MyMethod

    def test_my_method_keeps_the_contract() -> None:
        check_plugin("method", MyMethod)

Each ``check_*`` function takes the plugin's class, looks at one property, and raises :class:`ContractError` with
what the contract is and what was seen.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medssl import options
from medssl.contracts import Batch, Dataset, Evaluator, Features, Method, Task
from medssl.errors import DataError, PluginError
from medssl.plugins import violations

__all__ = ["CheckResult", "ContractError", "check_plugin", "checks_for", "run_checks"]


class ContractError(PluginError):
    """A plugin breaks its contract; the message says what the contract is and what was seen."""


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check: its name in words, and what was wrong (``None``: nothing)."""

    name: str
    problem: str | None


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise ContractError(text)


# ----------------------------------------------------------------------------------------------------------- methods

_FEATURES, _SIDE, _CLASSES = 32, 16, 3


class _ToyEncoder(nn.Module):
    """Flattens, mixes, rectifies: ``(N, 3, H, W)`` of any size to ``(N, 32)``."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.mix = nn.Linear(3 * 16, _FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        mixed: Tensor = torch.relu(self.mix(self.pool(images).flatten(1)))
        return mixed


def _build_method(plugin: type[Method], samples: int = 64, batch: int = 8) -> tuple[Method, _ToyEncoder]:
    torch.manual_seed(0)
    encoder = _ToyEncoder()
    task = Task(
        feature_dim=_FEATURES,
        num_samples=samples,
        num_classes=_CLASSES,
        image_size=_SIDE,
        batch_size=batch,
        total_steps=100,
    )
    return plugin(plugin.Config(), encoder, task), encoder


def _make_batch(method: Method, n: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    views = [
        torch.randn(n, 3, max(4, round(_SIDE * group.scale)), max(4, round(_SIDE * group.scale)), generator=generator)
        for group in method.views.groups
        for _ in range(group.count)
    ]
    label = torch.arange(n) % _CLASSES if method.uses_labels else None
    return Batch(
        views=tuple(views),
        index=torch.arange(n),
        group=torch.arange(n),
        label=label,
        generator=torch.Generator().manual_seed(seed),
        step=0,
    )


def _encode_with(encoder: nn.Module) -> Any:
    def encode(views: Sequence[Tensor], encoder: nn.Module | None = encoder) -> tuple[Tensor, ...]:
        used = encoder or default
        return tuple(used(view) for view in views)

    default = encoder
    return encode


def _loss(method: Method, encoder: nn.Module, n: int, seed: int = 0) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return method.loss(_make_batch(method, n, seed), _encode_with(encoder))


def check_loss_is_a_finite_scalar(plugin: type[Method]) -> None:
    """A loss is one finite float32 number, for the smallest batch of two as for larger ones, without a warning."""
    for n in (2, 3, 8):
        method, encoder = _build_method(plugin, batch=n)
        loss = _loss(method, encoder, n)
        _require(loss.shape == (), f"loss() must return a scalar, but for {n} samples it has shape {tuple(loss.shape)}")
        _require(loss.dtype == torch.float32, f"loss() must return float32, but returned {loss.dtype}")
        _require(bool(torch.isfinite(loss)), f"loss() must be finite, but for {n} samples it is {loss.item()}")


def check_gradients_reach_the_encoder(plugin: type[Method]) -> None:
    """Training must change the encoder, and every gradient must be finite."""
    method, encoder = _build_method(plugin)
    _loss(method, encoder, 8).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in encoder.parameters()]
    _require(
        all(g is not None for g in gradients), "no gradient reaches the encoder: loss() must use what encode() gives"
    )
    _require(any(bool(g.abs().sum() > 0) for g in gradients if g is not None), "every encoder gradient is zero")
    every = [p.grad for p in method.parameters() if p.grad is not None] + gradients
    _require(all(bool(torch.isfinite(g).all()) for g in every if g is not None), "a gradient is not finite")


def check_draws_only_from_the_batch_generator(plugin: type[Method]) -> None:
    """A resumed run can repeat only what comes from ``batch.generator``."""
    method, encoder = _build_method(plugin)
    before = _global_states()
    _loss(method, encoder, 8)
    for library, then, now in zip(("torch", "numpy"), before, _global_states(), strict=True):
        _require(then == now, f"loss() drew from {library}'s global generator; use batch.generator instead")


def _global_states() -> tuple[bytes, bytes]:
    legacy = np.random.get_state()  # noqa: NPY002  (watched, not used)
    return torch.get_rng_state().numpy().tobytes(), pickle.dumps(legacy)


def check_equal_seeds_give_equal_losses(plugin: type[Method]) -> None:
    """The same seed must give the same heads, the same loss and the same gradients."""
    losses = []
    for _ in range(2):
        method, encoder = _build_method(plugin)
        losses.append(_loss(method, encoder, 8).item())
    _require(losses[0] == losses[1], f"two equal runs gave the losses {losses[0]} and {losses[1]}")


def check_state_survives_a_resume(plugin: type[Method]) -> None:
    """What a method remembers between steps must lie in its state_dict."""
    method, encoder = _build_method(plugin)
    for step in range(2):
        _loss(method, encoder, 8, seed=step)
        method.after_step(step + 1, 100)
    restored, other = _build_method(plugin)
    other.load_state_dict(encoder.state_dict())
    restored.load_state_dict(method.state_dict())
    straight, resumed = _loss(method, encoder, 8, seed=9).item(), _loss(restored, other, 8, seed=9).item()
    _require(
        straight == resumed,
        f"the loss after a restore is {resumed}, but {straight} without one: some state is no buffer or parameter",
    )


# ---------------------------------------------------------------------------------------------------------- datasets


def _open(plugin: type[Dataset], root: Path) -> tuple[Dataset, list[Any]]:
    dataset = plugin(plugin.Config(), root)
    return dataset, dataset.samples()


def check_missing_files_are_explained(plugin: type[Dataset]) -> None:
    """Over an empty folder a dataset says what it expects (DataError), unless it needs no files."""
    with TemporaryDirectory() as empty:
        try:
            _open(plugin, Path(empty))
        except DataError as error:
            _require(len(str(error)) > 40, f"the message must say what was expected where, but reads: {error}")


def check_samples_are_sound(plugin: type[Dataset], root: Path | None = None) -> None:
    """Ids are unique and stable, labels count into a fixed list of classes, parts are known words, images decode."""
    with TemporaryDirectory() as empty:
        try:
            dataset, samples = _open(plugin, root or Path(empty))
        except DataError:
            return  # its files are not here: nothing to look at
        again = _open(plugin, root or Path(empty))[1]
        ids = [sample.id for sample in samples]
        _require(len(set(ids)) == len(ids), "sample ids must be unique")
        _require(samples == again, "samples() must return the same list in the same order each time")
        _require(not any("\\" in name for name in ids), "sample ids must use forward slashes")
        wrong = [s.id for s in samples if s.label is not None and not 0 <= s.label < len(dataset.classes)]
        _require(not wrong, f"labels must count into the {len(dataset.classes)} classes, but not so: {wrong[:3]}")
        _require(
            all(s.part in (None, "train", "val", "test") for s in samples), "a part must be train, val, test or None"
        )
        _require(
            any(s.group for s in samples) == (dataset.group_kind is not None), "group_kind must say what a group is"
        )
        _check_image(dataset, samples[0])


def _check_image(dataset: Dataset, sample: Any) -> None:
    image = dataset.read(sample)
    right = image.ndim == 3 and image.shape[2] in (1, 3) and image.dtype in (np.uint8, np.uint16)
    _require(right, f"read() must return (H, W, 1 or 3) uint8 or uint16, but gave {image.shape} {image.dtype}")
    _require(bool(np.array_equal(image, dataset.read(sample))), "read() must give the same pixels each time")


# -------------------------------------------------------------------------------------------------------- evaluators


def _blobs(n: int, classes: int, seed: int, present: int | None = None) -> Features:
    """Gaussian blobs, one per class, wide enough to overlap a little."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % (present or classes)
    x = torch.randn(n, _FEATURES, generator=generator)
    x[torch.arange(n), label] += 3.0
    return Features(x=x, label=label, num_classes=classes)


def _fit(plugin: type[Evaluator], train: Features, val: Features, seed: int = 0) -> Any:
    return plugin(plugin.Config(), seed).fit(train, val)


def check_probabilities_sum_to_one(plugin: type[Evaluator]) -> None:
    """``predict_proba`` gives (N, K) float32 rows that sum to one, also for classes without a training sample."""
    for present in (_CLASSES, 2):
        predictor = _fit(plugin, _blobs(60, _CLASSES, 0, present), _blobs(30, _CLASSES, 1, present))
        for name, each in {"": predictor, **predictor.also}.items():
            proba = each.predict_proba(_blobs(20, _CLASSES, 2).x)
            _require(proba.shape == (20, _CLASSES), f"{name} predict_proba must be (N, K), but is {tuple(proba.shape)}")
            _require(proba.dtype == torch.float32, f"{name} predict_proba must be float32, but is {proba.dtype}")
            _require(bool((proba >= 0).all()), f"{name} a probability is negative")
            close = torch.allclose(proba.sum(1), torch.ones(20), atol=1e-4)
            _require(close, f"{name} probabilities must sum to one, but sum to {proba.sum(1)[0].item()}")


def check_separates_blobs(plugin: type[Evaluator]) -> None:
    """Three Gaussian blobs at a distance of three deviations are easy: at least 0.8 of the test points are right."""
    test = _blobs(90, _CLASSES, 2)
    predictor = _fit(plugin, _blobs(90, _CLASSES, 0), _blobs(45, _CLASSES, 1))
    right = float((predictor.predict_proba(test.x).argmax(1) == test.label).float().mean())
    _require(right >= 0.8, f"it classifies {right:.2f} of three well separated blobs correctly")


def check_fit_is_deterministic(plugin: type[Evaluator]) -> None:
    """Equal seeds give equal probabilities, and nothing is drawn from a global generator."""
    before = torch.get_rng_state()
    parts = _blobs(60, _CLASSES, 0), _blobs(30, _CLASSES, 1)
    probas = [_fit(plugin, *parts).predict_proba(parts[1].x) for _ in range(2)]
    _require(torch.equal(probas[0], probas[1]), "two fits with one seed give different probabilities")
    _require(
        torch.equal(before, torch.get_rng_state()), "fit() drew from torch's global generator; use the seed it is given"
    )


def check_tiny_sets_work(plugin: type[Evaluator]) -> None:
    """Two training samples, and a training part of one class, must not break it."""
    _fit(plugin, _blobs(2, _CLASSES, 0), _blobs(2, _CLASSES, 1)).predict_proba(_blobs(3, _CLASSES, 2).x)
    _fit(plugin, _blobs(6, _CLASSES, 0, 1), _blobs(3, _CLASSES, 1, 1)).predict_proba(_blobs(3, _CLASSES, 2).x)


# -------------------------------------------------------------------------------------------------------- all of them


def check_options_have_names_types_and_defaults(plugin: type[Any]) -> None:
    """``Config`` can be built without arguments, from its own values, and described for the user."""
    config = plugin.Config()
    values = {option.name: getattr(config, option.name) for option in fields(config)}
    _require(options.build(plugin.Config, values, "Config") == config, "Config does not accept its own defaults")
    _require(len(options.describe(plugin.Config)) == len(values), "some option cannot be described")


_CHECKS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "method": (
        check_options_have_names_types_and_defaults,
        check_loss_is_a_finite_scalar,
        check_gradients_reach_the_encoder,
        check_draws_only_from_the_batch_generator,
        check_equal_seeds_give_equal_losses,
        check_state_survives_a_resume,
    ),
    "dataset": (
        check_options_have_names_types_and_defaults,
        check_missing_files_are_explained,
        check_samples_are_sound,
    ),
    "evaluator": (
        check_options_have_names_types_and_defaults,
        check_probabilities_sum_to_one,
        check_separates_blobs,
        check_fit_is_deterministic,
        check_tiny_sets_work,
    ),
}


def checks_for(kind: str, plugin: type[Any]) -> tuple[Callable[..., None], ...]:
    """Return the checks of a kind; a method that trains nothing has no loss to look at."""
    if kind == "method" and not plugin.trains:
        return (check_options_have_names_types_and_defaults,)
    return _CHECKS[kind]


def run_checks(kind: str, plugin: type[Any]) -> list[CheckResult]:
    """Run every check on a plugin's class and report each; a broken signature stops before the first.

    Args:
        kind: ``method``, ``dataset`` or ``evaluator``.
        plugin: The class.
    """
    if found := violations(kind, plugin):
        return [CheckResult("keeps the signature", "; ".join(found))]
    return [CheckResult("keeps the signature", None), *(_run(check, plugin) for check in checks_for(kind, plugin))]


def _run(check: Callable[..., None], plugin: type[Any]) -> CheckResult:
    name = check.__name__.removeprefix("check_").replace("_", " ")
    with torch.random.fork_rng(devices=[]):
        try:
            check(plugin)
        except ContractError as violation:
            return CheckResult(name, str(violation))
        except Exception as error:  # whatever a third party raises is the finding
            return CheckResult(name, f"it raised {type(error).__name__}: {error}")
    return CheckResult(name, None)


def check_plugin(kind: str, plugin: type[Any]) -> None:
    """Run every check; raise with all findings at once.

    Raises:
        ContractError: At least one check failed.
    """
    failed = [result for result in run_checks(kind, plugin) if result.problem]
    if failed:
        lines = "\n".join(f"- {result.name}: {result.problem}" for result in failed)
        raise ContractError(f"{plugin.__name__} breaks the {kind} contract:\n{lines}")
