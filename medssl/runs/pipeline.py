"""One run, from a recipe to ``result.json``: the table of contents of the whole program.

:func:`execute` reads top to bottom, one line per stage. Each stage takes the value of the one before and returns one
of its own; none calls back.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medssl.catalog import Catalog, load_catalog
from medssl.contracts import Dataset
from medssl.contracts.kinds import DATASET, METHOD
from medssl.data.loading import Data, DataOrigin, base_folder, fingerprint, load_data, open_dataset
from medssl.errors import CheckpointError, OptionError
from medssl.evaluation.metrics import metric_facts
from medssl.io.files import checksum
from medssl.io.locks import hold
from medssl.recipe import Recipe, choose, resolve
from medssl.results.directory import SCHEMA, RunDirectory, RunResult
from medssl.runs.blame import naming_the_plugin
from medssl.runs.evaluation import Evaluated, evaluate
from medssl.runs.features import extract_features
from medssl.runs.listener import Listener
from medssl.runs.pretraining import pretrain, save
from medssl.runs.reuse import adopt, find_pretrained
from medssl.runs.seen import Judged, hold_against
from medssl.train.encoder.backbones import Encoder
from medssl.train.loop.trainer import EpochRecord
from medssl.train.machine.device import describe_environment
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory
from medssl.train.machine.small_maps import REASON

__all__ = ["Place", "collect_warnings", "execute", "fetch_dataset", "require_origin", "run"]


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
    method: str | Mapping[str, Any] | None = None,
    dataset: str | Mapping[str, Any] | None = None,
    /,
    *,
    place: Place | None = None,
    catalog: Path | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> RunResult:
    """Resolve a recipe and run it; what ``medssl run`` does.

    Args:
        method: The method: its name, or a mapping of ``plugin`` (the name) and options.
        dataset: The dataset, likewise.
        place: Where to read and write.
        catalog: A catalogue file of the user's own, merged over medssl's.
        listener: Hears what is going on.
        **settings: Sections of a recipe, for instance ``train={"epochs": 30}``. Here too a plugin is a name or a
            mapping, and its options go over those above: ``run("dcl", "phantom", method={"temperature": 0.2})``.
            ``evaluators`` is a list of either, one of either, or a mapping of options by name.

    Returns:
        The result, as in ``result.json``.

    Raises:
        MedsslError: Something the user can put right.
    """
    known = load_catalog(catalog)
    recipe = resolve(known, [{METHOD.section: method, DATASET.section: dataset}, settings])
    return execute(recipe, catalog=known, place=place or Place(), listener=listener or Listener())


@kept_memory()
def execute(recipe: Recipe, *, catalog: Catalog, place: Place, listener: Listener) -> RunResult:
    """Carry out a recipe, or return the result that an earlier call left.

    Raises:
        MedsslError: Something the user can put right.
    """
    _require_weights(recipe)
    with _open_directory(recipe, place) as directory, naming_the_plugin(recipe):
        if finished := directory.finished():
            return require_origin(finished, recipe, DataOrigin.of(recipe.dataset, catalog, place.data_dir))
        with collect_warnings() as warnings:
            start = time.perf_counter()
            listener.stage("data")
            dataset = open_dataset(recipe.dataset, catalog, place.data_dir)
            data = load_data(recipe.data, dataset, on_bad_image=place.on_bad_image, progress=listener.progress)
            seen = hold_against(recipe, data)
            data.split.save(directory.splits)
            machine = Machine.choose(place.device, recipe.precision)
            listener.note(machine.reasons)
            listener.stage("pre-training")
            source = None if place.force else find_pretrained(directory, fingerprint(recipe, data))
            encoder, history = _encoder(source, recipe, data, machine, directory, listener)
            save(encoder, recipe, data, directory)
            listener.stage("features")
            features = extract_features(recipe, data, encoder, machine, directory)
            listener.stage("evaluation")
            findings = evaluate(recipe, data, encoder, features, machine, directory, listener)
        environment = {**describe_environment(), **machine.describe(), **_describe_float32(encoder)}
        seconds = time.perf_counter() - start
        training = {
            **_describe_training(recipe, len(data.pretrained_on), history),
            "init": encoder.origin or None,
            "reused": source and source.path.name,
        }
        return directory.finish(_describe_run(recipe, data, seen, environment, training, findings, warnings, seconds))


def _require_weights(recipe: Recipe) -> None:
    if recipe.method.plugin.needs_weights and recipe.encoder.weights is None:
        raise OptionError(
            f"the method '{recipe.method.name}' needs an encoder with weights. This recipe starts from random ones. "
            "Give --init FILE, or --init pretrained for timm's own."
        )


def _encoder(
    source: RunDirectory | None,
    recipe: Recipe,
    data: Data,
    machine: Machine,
    directory: RunDirectory,
    listener: Listener,
) -> tuple[Encoder, list[EpochRecord]]:
    """Take the encoder of another run, or train one."""
    if source is None:
        return pretrain(recipe, data, machine, directory, listener)
    listener.note(f"the encoder of {source.path.name}: only the evaluation differs")
    return adopt(source, directory, machine)


def _describe_float32(encoder: Encoder) -> dict[str, object]:
    layers = list(encoder.float32_layers)
    return {"float32_layers": layers, "float32_layers_reason": REASON if layers else None}


@contextlib.contextmanager
def _open_directory(recipe: Recipe, place: Place) -> Iterator[RunDirectory]:
    """Make the run's directory this recipe's, keep other processes out of it, and leave none without content."""
    directory = RunDirectory(place.output / recipe.slug)
    directory.make()
    with hold(directory.path):
        if place.force:
            directory.clear()
        directory.claim(recipe.to_dict())
        try:
            yield directory
        except BaseException:
            directory.abandon()
            raise


def require_origin(result: RunResult, recipe: Recipe, source: DataOrigin) -> RunResult:
    """Return a finished run if it was made from the images and the weights that there are today.

    Raises:
        CheckpointError: It was made from others.
    """
    way_out = "Give another --output, or --force to start over here."
    if change := source.change_since(result.values["data"]):
        raise CheckpointError(f"{result.path} holds this recipe's result for other images. {change} {way_out}")
    weights, init = recipe.encoder.weights, result.values["pretrain"]["init"]
    if isinstance(weights, Path) and weights.is_file() and init and init["sha256"] != checksum(weights):
        raise CheckpointError(
            f"{result.path} holds this recipe's result for other weights. {weights} was another file then. {way_out}"
        )
    return result


def fetch_dataset(name: str, options: Mapping[str, Any], catalog: Catalog, data_dir: Path | None) -> Path:
    """Bring a dataset's files to ``<data-dir>/<name>``; what ``medssl fetch`` does.

    Returns:
        The folder that holds them.

    Raises:
        DataError: They cannot be had from here; the message says which file to put where.
    """
    choice = choose(DATASET.name, name, options, catalog)
    if choice.plugin.fetch is Dataset.fetch:
        dataset = open_dataset(choice, catalog, data_dir)
        dataset.samples()  # it brings nothing: what is missing, it says here
        return dataset.root
    folder = (base_folder(data_dir) / name.rpartition(":")[2]).resolve()
    dataset = choice.plugin(choice.config, folder, catalog.entry(DATASET.name, name))
    dataset.fetch()
    return folder


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
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


def _describe_run(
    recipe: Recipe,
    data: Data,
    seen: Judged,
    environment: Mapping[str, Any],
    training: Mapping[str, Any],
    findings: Evaluated,
    warnings: Sequence[str],
    seconds: float,
) -> dict[str, Any]:
    """Put together what ``result.json`` holds.

    Args:
        recipe: What was run.
        data: On what.
        seen: What of it the encoder had seen before this run.
        environment: With which versions, on which device, in which precision and why.
        training: What came of the pre-training.
        findings: What the evaluators came to.
        warnings: What the reader must know, beside what ``data`` says.
        seconds: Wall time of this call.
    """
    described = dict(data.describe())
    described["encoder_seen"] = seen.values
    described["warnings"] = list(dict.fromkeys([*seen.warnings, *described["warnings"], *warnings]))
    return {
        "schema": SCHEMA,
        "method": recipe.method.name,
        "dataset": recipe.dataset.name,
        "seed": recipe.seed,
        "recipe": {**recipe.to_dict(), "hash": recipe.hash},
        "plugins": recipe.per_kind(lambda choice: choice.origin),
        "environment": dict(environment),
        "data": described,
        "pretrain": dict(training),
        "metrics": metric_facts(data.target),
        "evaluations": findings.evaluations,
        "diagnostics": findings.diagnostics,
        "seconds": round(seconds, 3),
    }


def _describe_training(recipe: Recipe, images: int, history: Sequence[EpochRecord]) -> dict[str, Any]:
    """Say what came of the pre-training; ``history`` has one record per epoch, an interrupted call's included."""
    seconds = sum(record.seconds for record in history)
    seen = sum(record.images for record in history)
    return {
        "uses_labels": recipe.method.plugin.uses_labels,
        "epochs": len(history),
        "steps": len(history) * (images // recipe.train.batch_size),
        "seconds": round(seconds, 3),
        "images_per_second": round(seen / seconds, 1) if seconds else None,
        "final_loss": history[-1].loss if history else None,
    }
