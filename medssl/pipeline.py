"""One run, from a recipe to ``result.json``: the table of contents of the whole program.

:func:`execute` reads top to bottom, one line per stage. Each stage takes the value of the one before and returns one
of its own; none calls back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medssl.catalog import Catalog, load_catalog
from medssl.contracts import Dataset, Evaluator, Features, Method, Predictor, Task, ViewSpec
from medssl.contracts import Part as PartName
from medssl.data.loading import Data, Part, data_folder, load_data, open_dataset
from medssl.data.views import PlainViews, Views
from medssl.errors import CheckpointError
from medssl.evaluate.features import extract
from medssl.evaluate.scoring import score
from medssl.recipe import Recipe, choose, resolve
from medssl.record import RunDirectory, RunResult, describe_run
from medssl.train.backbones import Encoder, build_encoder
from medssl.train.checkpoint import save_encoder, write_atomic_with
from medssl.train.device import Precision, choose_device, choose_precision, describe_environment
from medssl.train.trainer import EpochRecord, StepRecord, Trainer

__all__ = ["Listener", "Place", "execute", "fetch_dataset", "run"]

_PARTS: tuple[PartName, ...] = ("train", "val", "test")
_ONLINE_BANK = 1000  # training images that the online validation compares with: keeps it under 3 % of an epoch


class Listener:
    """Hears what a run is doing; the command line's display is one. Every method may be left as it is."""

    def stage(self, title: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def progress(self, done: int, total: int) -> None:
        """Images read so far, while the store is built."""

    def step(self, record: StepRecord) -> None:
        """An optimizer step is done."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is done."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run reads and writes; nothing here changes what is computed.

    Attributes:
        data_dir: Folder that holds one folder per dataset, or the dataset itself; ``None``: ``MEDSSL_DATA``, else here.
        output: Folder for run directories.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        force: Start over although the run directory holds something.
        on_bad_image: ``fail``: an image that cannot be read stops the run; ``skip``: it is left out and reported.
    """

    data_dir: Path | None = None
    output: Path = Path("runs")
    device: str = "auto"
    force: bool = False
    on_bad_image: Literal["fail", "skip"] = "fail"


def run(
    method: str | None = None,
    dataset: str | None = None,
    *,
    place: Place | None = None,
    registry: Path | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> RunResult:
    """Resolve a recipe and run it; what ``medssl run`` does.

    Args:
        method: Name of the method.
        dataset: Name of the dataset.
        place: Where to read and write.
        registry: A catalogue of the user's own, laid over medssl's.
        listener: Hears what is going on.
        **settings: Sections of a recipe, for instance ``train={"epochs": 30}``, ``method={"temperature": 0.2}``.

    Returns:
        The result, as in ``result.json``.

    Raises:
        MedsslError: Something the user can put right.
    """
    catalog = load_catalog(registry)
    recipe = resolve(catalog, [settings, {"method": method, "dataset": dataset}])
    return execute(recipe, catalog=catalog, place=place or Place(), listener=listener or Listener())


def execute(recipe: Recipe, *, catalog: Catalog, place: Place, listener: Listener) -> RunResult:
    """Carry out a recipe, or return the result that an earlier call left.

    Raises:
        MedsslError: Something the user can put right.
    """
    directory = _open_directory(recipe, place)
    if finished := directory.finished():
        return _same_data(finished, recipe, place)
    with _collect_warnings() as warnings:
        start = time.perf_counter()
        listener.stage("data")
        dataset = open_dataset(recipe.dataset, catalog, place.data_dir)
        data = load_data(recipe, dataset, on_bad_image=place.on_bad_image, progress=listener.progress)
        data.split.save(directory.splits)
        machine = Machine.choose(recipe, place)
        listener.note(machine.reasons)
        listener.stage("pre-training")
        encoder, history = _pretrain(recipe, data, machine, directory, listener)
        _save_encoder(recipe, encoder, directory)
        listener.stage("features")
        features = _extract(recipe, data, encoder, machine, directory)
        listener.stage("evaluation")
        evaluations = _evaluate(recipe, data, features, directory)
    environment = {**describe_environment(), **machine.describe()}
    seconds = time.perf_counter() - start
    return directory.finish(describe_run(recipe, data, environment, history, evaluations, warnings, seconds))


# ------------------------------------------------------------------------------------ the directory and the machine


def _open_directory(recipe: Recipe, place: Place) -> RunDirectory:
    directory = RunDirectory(place.output / recipe.slug)
    if place.force:
        directory.clear()
    directory.claim(recipe.to_dict())
    return directory


def _same_data(result: RunResult, recipe: Recipe, place: Place) -> RunResult:
    folder = str(data_folder(recipe.dataset.name, place.data_dir))
    made_from = result.values["data"]["directory"]
    if made_from != folder:
        raise CheckpointError(
            f"{result.path} holds this recipe's result for other images. They lay in {made_from}, not in {folder}. "
            "Give another --output, or --force to start over here."
        )
    return result


def fetch_dataset(name: str, options: Mapping[str, Any], catalog: Catalog, data_dir: Path | None) -> Path:
    """Bring a dataset's files to ``<data-dir>/<name>``; what ``medssl fetch`` does.

    Raises:
        DataError: They cannot be had from here; the message says which file to put where.
    """
    choice = choose("dataset", name, options, catalog)
    base = data_dir or Path(os.environ.get("MEDSSL_DATA", "."))
    folder = (base / name.rpartition(":")[2]).resolve()
    dataset: Dataset = choice.plugin(choice.config, folder, catalog.entry("dataset", name))
    dataset.fetch()
    return folder


@dataclass(frozen=True)
class Machine:
    """The device and the precision of a run."""

    device: torch.device
    precision: Precision

    @classmethod
    def choose(cls, recipe: Recipe, place: Place) -> Machine:
        """Take what the user asks for, else the best there is."""
        device = choose_device(place.device)
        return cls(device, choose_precision(recipe.precision, device))

    @property
    def reasons(self) -> str:
        """One line for the user."""
        return f"{self.device} in {self.precision.name}: {self.precision.reason}"

    def describe(self) -> dict[str, str]:
        """Return what ``result.json`` says of it."""
        return {
            "device": str(self.device),
            "precision": self.precision.name,
            "precision_reason": self.precision.reason,
        }


# ------------------------------------------------------------------------------------------------------ pre-training


def _pretrain(
    recipe: Recipe, data: Data, machine: Machine, directory: RunDirectory, listener: Listener
) -> tuple[Encoder, list[EpochRecord]]:
    encoder = build_encoder(recipe.encoder, recipe.views.image_size, recipe.seed)
    encoder.to(machine.device)
    if not recipe.method.plugin.trains:
        listener.note(f"{recipe.method.name} trains nothing: the encoder is evaluated as it is")
        return encoder, []
    part = data.part("train", labelled=False)
    method = _build_method(recipe, data, encoder, len(part))
    views = Views(
        data.store,
        part.rows,
        _overridden_spec(method, recipe),
        replace(recipe.augmentation, **recipe.overridden),
        image_size=recipe.views.image_size,
        seed=recipe.seed,
        device=machine.device,
        normalisation=recipe.views.normalisation,
    )
    trainer = Trainer(
        encoder,
        method,
        views,
        settings=recipe.train,
        seed=recipe.seed,
        device=machine.device,
        precision=machine.precision,
        labels=part.labels if method.uses_labels else None,
        groups=part.groups,
        directory=directory.path,
        fingerprint=data.fingerprint,
    )
    validate = _online_validation(recipe, data, encoder, machine)
    return encoder, trainer.fit(validate=validate, report=listener.epoch, progress=listener.step)


def _build_method(recipe: Recipe, data: Data, encoder: Encoder, num_samples: int) -> Method:
    batch = recipe.train.batch_size
    task = Task(
        feature_dim=encoder.feature_dim,
        num_samples=num_samples,
        num_classes=len(data.classes),
        image_size=recipe.views.image_size,
        batch_size=batch,
        total_steps=recipe.train.epochs * (num_samples // batch),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        method: Method = recipe.method.plugin(recipe.method.config, encoder, task)
    return method


def _overridden_spec(method: Method, recipe: Recipe) -> ViewSpec:
    """What the user set by hand wins over what the method asks of a group of views."""
    groups = tuple(
        replace(group, augment={k: v for k, v in group.augment.items() if k not in recipe.overridden})
        for group in method.views.groups
    )
    return replace(method.views, groups=groups)


def _online_validation(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine
) -> Callable[[], Mapping[str, float]] | None:
    """Score the first quick evaluator on the validation part, against a fixed sample of the training part."""
    quick = next((choice for choice in recipe.evaluators if choice.plugin.online), None)
    if quick is None:
        return None
    train = data.part("train")
    val = data.part("val")
    chosen = np.sort(np.random.default_rng(recipe.seed).permutation(len(train))[:_ONLINE_BANK])
    bank = replace(train, rows=train.rows[chosen], labels=train.labels[torch.from_numpy(chosen)])

    def validate() -> Mapping[str, float]:
        x = [_features(recipe, data, part.rows, encoder, machine) for part in (bank, val)]
        evaluator: Evaluator = quick.plugin(quick.config, recipe.seed)
        known = [Features(x=x[i], label=p.labels, num_classes=len(data.classes)) for i, p in enumerate((bank, val))]
        correct = evaluator.fit(*known).predict_proba(x[1]).argmax(1) == val.labels
        return {f"val_{quick.name}": float(correct.float().mean())}

    return validate


# -------------------------------------------------------------------------------------------- features and evaluation


def _features(recipe: Recipe, data: Data, rows: np.ndarray, encoder: Encoder, machine: Machine) -> Tensor:
    views = PlainViews(
        data.store,
        rows,
        image_size=recipe.views.image_size,
        device=machine.device,
        normalisation=recipe.views.normalisation,
    )
    return extract(encoder, views, len(rows), precision=machine.precision)


def _save_encoder(recipe: Recipe, encoder: Encoder, directory: RunDirectory) -> None:
    header = {
        "normalisation": recipe.views.normalisation,
        "image_size": str(recipe.views.image_size),
        "recipe": recipe.hash,
    }
    save_encoder(directory.encoder, encoder, header)


def _extract(
    recipe: Recipe, data: Data, encoder: Encoder, machine: Machine, directory: RunDirectory
) -> dict[str, tuple[Part, Tensor]]:
    """Compute features once per part and leave them in ``features.npz``."""
    found: dict[str, tuple[Part, Tensor]] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in _PARTS:
        part = data.part(name)
        x = _features(recipe, data, part.rows, encoder, machine)
        found[name] = (part, x)
        arrays |= {f"{name}_x": x.numpy(), f"{name}_label": part.labels.numpy(), f"{name}_id": np.array(part.ids)}
    write_atomic_with(directory.features, lambda file: np.savez(file, **arrays))
    return found


def _evaluate(
    recipe: Recipe, data: Data, features: Mapping[str, tuple[Part, Tensor]], directory: RunDirectory
) -> dict[str, Any]:
    """Fit every evaluator on train and validation; only here do test labels meet predictions."""
    train, val = (
        Features(x=x, label=part.labels, num_classes=len(data.classes))
        for part, x in (features["train"], features["val"])
    )
    part, x = features["test"]
    groups = part.groups.numpy() if part.grouped else None
    evaluations, arrays = {}, {"id": np.array(part.ids), "label": part.labels.numpy()}
    for choice in recipe.evaluators:
        evaluator: Evaluator = choice.plugin(choice.config, recipe.seed)
        for name, predictor in _predictors(choice.name, evaluator.fit(train, val)):
            proba = predictor.predict_proba(x).numpy()
            scores = score(proba, part.labels.numpy(), groups, recipe.evaluate, recipe.seed)
            evaluations[name] = {**scores, "selected": dict(predictor.selected), "notes": list(predictor.notes)}
            arrays[name] = proba
    write_atomic_with(directory.predictions, lambda file: np.savez(file, **arrays))
    return evaluations


def _predictors(name: str, predictor: Predictor) -> Iterator[tuple[str, Predictor]]:
    yield name, predictor
    for suffix, other in predictor.also.items():
        yield f"{name}_{suffix}", other


# ------------------------------------------------------------------------------------------------------------ result


@contextlib.contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """Gather what medssl and its plugins log as a warning, for the result's reader."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Collector(logging.WARNING)
    logger = logging.getLogger("medssl")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
