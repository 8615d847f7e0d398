"""One run, from a recipe to ``result.json``: the list of all stages.

:func:`execute` has one line per stage, in order. Each stage takes the run's context and the values of previous stages,
and returns its own value; there are no callbacks.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from medssl.catalog import Catalog, load_catalog
from medssl.contracts import Dataset
from medssl.contracts.kinds import DATASET, METHOD
from medssl.data.listing import index
from medssl.data.loading import DataOrigin, base_folder, fingerprint, load_data, open_dataset
from medssl.errors import CheckpointError, OptionError
from medssl.io.files import checksum
from medssl.io.locks import hold
from medssl.recipe import Recipe, choose, resolve
from medssl.results.directory import RunDirectory, RunResult
from medssl.runs.blame import naming_the_plugin
from medssl.runs.context import RunContext
from medssl.runs.description import Remarks, describe_run
from medssl.runs.listener import Listener
from medssl.runs.pictures.pictures import leave_pictures
from medssl.runs.stages.baseline import baseline_features, describe_baseline
from medssl.runs.stages.evaluation import evaluate
from medssl.runs.stages.features import extract_features
from medssl.runs.stages.pretraining import Trained, pretrain, save
from medssl.runs.stages.reuse import adopt, find_pretrained
from medssl.runs.stages.seen import hold_against
from medssl.runs.stages.served import require_served
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory

__all__ = ["Place", "collect_warnings", "execute", "fetch_dataset", "require_origin", "run"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run reads and writes; these settings do not change the results.

    Attributes:
        data_dir: Folder with one folder per dataset, or the dataset folder itself; ``None``: ``MEDSSL_DATA``, else the
            current folder.
        output: Folder for run directories.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        force: Start over even if the run directory has files.
        on_bad_image: ``fail``: an image that cannot be read stops the run; ``skip``: it is left out and reported.
    """

    data_dir: Path | None = None
    output: Path = Path("runs")
    device: str = "auto"
    force: bool = False
    on_bad_image: Literal["fail", "skip"] = "fail"

    def __post_init__(self) -> None:
        """Take texts for paths, as notebooks write them."""
        for name in ("data_dir", "output"):
            if isinstance(given := getattr(self, name), str):
                object.__setattr__(self, name, Path(given))


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
    """Resolve a recipe and run it, like ``medssl run``.

    Args:
        method: The method: its name, or a mapping of ``plugin`` (the name) and options.
        dataset: The dataset, in the same form.
        place: Where to read and write.
        catalog: A catalogue file of the user; its entries override those of medssl.
        listener: Receives progress events.
        **settings: Sections of a recipe, for instance ``train={"epochs": 30}``. A plugin is again a name or a
            mapping, and its options override those above: ``run(METHOD, DATASET, method={"temperature": 0.2})``.
            ``evaluators`` is a list of names and mappings, a single one, or a mapping of options by name.

    Returns:
        The result, as in ``result.json``.

    Raises:
        MedsslError: A problem that the user can correct.
    """
    known = load_catalog(catalog)
    recipe = resolve(known, [{METHOD.section: method, DATASET.section: dataset}, settings])
    return execute(recipe, catalog=known, place=place or Place(), listener=listener or Listener())


@kept_memory()
def execute(recipe: Recipe, *, catalog: Catalog, place: Place, listener: Listener) -> RunResult:
    """Run a recipe, or return its result if it is already finished.

    Raises:
        MedsslError: A problem that the user can correct.
    """
    _require_weights(recipe)
    with _open_directory(recipe, place) as directory, naming_the_plugin(recipe):
        if finished := directory.finished():
            result = require_origin(finished, recipe, DataOrigin.of(recipe.dataset, catalog, place.data_dir))
            return result if directory.report.exists() else _with_page(result, catalog)
        start = time.perf_counter()
        with collect_warnings() as warnings:
            listener.stage("data")
            dataset = open_dataset(recipe.dataset, catalog, place.data_dir)
            data = load_data(
                recipe.data,
                dataset,
                on_bad_image=place.on_bad_image,
                check=partial(require_served, recipe),
                progress=listener.progress,
            )
            seen = hold_against(recipe, data)
            data.split.save(directory.splits)
            context = RunContext(recipe, data, Machine.choose(place.device, recipe.precision), directory, listener)
            listener.note(context.machine.reasons)
            before = baseline_features(context)
            listener.stage("pre-training")
            trained = _train(context, anew=place.force)
            save(context, trained.encoder)
            listener.stage("features")
            features = extract_features(context, trained.encoder)
            listener.stage("evaluation")
            findings = evaluate(context, trained.encoder, features)
            baseline = describe_baseline(context, before, findings)
            listener.stage("report")
            leave_pictures(context, trained, features, findings)
        remarks = Remarks(seen, warnings, baseline)
        seconds = time.perf_counter() - start
        return _with_page(directory.finish(describe_run(context, trained, findings, remarks, seconds)), catalog)


def _require_weights(recipe: Recipe) -> None:
    if recipe.method.plugin.needs_weights and recipe.encoder.weights is None:
        raise OptionError(
            f"the method '{recipe.method.name}' needs an encoder with weights, but this recipe has random ones. "
            "Give --init FILE, or --init pretrained for the weights that timm provides."
        )


def _with_page(result: RunResult, catalog: Catalog) -> RunResult:
    """Write ``report.html``."""
    from medssl.report.page import write_page  # noqa: PLC0415  (matplotlib, half a second: not before it is needed)

    write_page(result, catalog)
    return result


def _train(context: RunContext, *, anew: bool) -> Trained:
    """Reuse the encoder of another run, or train one."""
    source = None if anew else find_pretrained(context.directory, fingerprint(context.recipe, context.data))
    if source is None:
        return pretrain(context)
    context.listener.note(f"reusing the encoder of {source.path.name}, because only the evaluation differs")
    return adopt(context, source)


@contextlib.contextmanager
def _open_directory(recipe: Recipe, place: Place) -> Iterator[RunDirectory]:
    """Reserve the run's directory for this recipe and lock it; remove it afterwards if it is empty."""
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
    """Return a finished run if it was made from the current images and weights.

    Raises:
        CheckpointError: It was made from other images or weights.
    """
    way_out = "Give another --output, or --force to start over here."
    if change := source.change_since(result.data):
        raise CheckpointError(f"{result.path} has a result of this recipe for other images. {change} {way_out}")
    weights, init = recipe.encoder.weights, result.training.init
    if isinstance(weights, Path) and weights.is_file() and init and init.sha256 != checksum(weights):
        raise CheckpointError(
            f"{result.path} has a result of this recipe for other weights. {weights} has changed since then. {way_out}"
        )
    return result


def fetch_dataset(name: str, options: Mapping[str, Any], catalog: Catalog, data_dir: Path | None) -> Path:
    """Download a dataset's files to ``<data-dir>/<name>``, like ``medssl fetch``.

    Returns:
        The folder with the files.

    Raises:
        DataError: They cannot be downloaded; the message says which file to put where.
    """
    choice = choose(DATASET.name, name, options, catalog)
    if choice.plugin.fetch is Dataset.fetch:
        dataset = open_dataset(choice, catalog, data_dir)
        index(dataset)  # a dataset without a download reports missing files here
        return dataset.root
    folder = (base_folder(data_dir) / name.rpartition(":")[2]).resolve()
    dataset = choice.plugin(choice.config, folder, catalog.entry(DATASET.name, name))
    dataset.fetch()
    return folder


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the warnings that medssl and its plugins log, for the reader of the result."""
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
