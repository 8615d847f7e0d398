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
from medssl.contracts import Dataset, Target
from medssl.contracts.kinds import DATASET, METHOD, TRACKER
from medssl.data.external import Mapped
from medssl.data.listing import index
from medssl.data.loading import base_folder, fingerprint, load_data, open_dataset
from medssl.data.origin import DataOrigin
from medssl.errors import CheckpointError, OptionError
from medssl.evaluation.prior import require_prior
from medssl.io.files import checksum, clear_unfinished
from medssl.io.leases import holding
from medssl.recipe import Recipe, choose, resolve
from medssl.results.directory import RunDirectory, RunResult
from medssl.runs.blame import naming_the_plugin
from medssl.runs.context import KeptHeads, RunContext
from medssl.runs.description import Remarks, describe_run
from medssl.runs.kept.heads import keep_heads
from medssl.runs.kept.reuse import adopt, find_pretrained, turn_to_train
from medssl.runs.listener import Listener
from medssl.runs.pictures.pictures import leave_pictures
from medssl.runs.stages.baseline import baseline_features, describe_baseline
from medssl.runs.stages.evaluation import evaluate
from medssl.runs.stages.external import list_others, open_others, require_same_others, score_others
from medssl.runs.stages.features import extract_features
from medssl.runs.stages.judging import require_columns
from medssl.runs.stages.pretraining import Trained, pretrain, save
from medssl.runs.stages.seen import hold_against
from medssl.runs.stages.served import require_served
from medssl.runs.stages.sites import site_in_features
from medssl.runs.tracking import page_for_trackers, tracking
from medssl.train.machine.machine import Machine
from medssl.train.machine.memory import kept_memory
from medssl.world import ALONE, World

__all__ = ["Place", "collect_warnings", "execute", "fetch_dataset", "follow", "require_origin", "run"]


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
        keep_heads: The fitted heads to keep in ``heads.safetensors``, with which the run predicts new images: ``all``;
            ``features``: no fine-tuned networks, which are as large as the encoder; ``none``.
        patient: Whether to wait while another process trains the same encoder, instead of raising ``BusyError``.
    """

    data_dir: Path | None = None
    output: Path = Path("runs")
    device: str = "auto"
    force: bool = False
    on_bad_image: Literal["fail", "skip"] = "fail"
    keep_heads: KeptHeads = "all"
    patient: bool = True

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
def execute(recipe: Recipe, *, catalog: Catalog, place: Place, listener: Listener, world: World = ALONE) -> RunResult:
    """Run a recipe, or return its result if it is already finished.

    Args:
        recipe: Every setting.
        catalog: Of plugins.
        place: Where to read and write.
        listener: Receives progress events.
        world: The processes that train together, of which this is rank 0; the others call :func:`follow`.

    Raises:
        MedsslError: A problem that the user can correct.
    """
    _require_weights(recipe)
    with (
        _open_directory(recipe, place) as directory,
        naming_the_plugin(recipe),
        tracking(recipe, directory, listener) as tracked,
    ):
        if finished := directory.finished():
            result = require_origin(finished, recipe, DataOrigin.of(recipe.data, catalog, place.data_dir))
            require_same_others(result, recipe, catalog)
            world.tell("done")
            return result if directory.report.exists() else _with_page(result, catalog)
        start = time.perf_counter()
        with collect_warnings() as warnings:
            tracked.stage("data")
            dataset = open_dataset(recipe.dataset, catalog, place.data_dir, recipe.data.readers)
            listed: list[Mapped] = []
            data = load_data(
                recipe.data,
                dataset,
                on_bad_image=place.on_bad_image,
                positive=recipe.evaluate.positive,
                check=partial(_check, recipe, catalog, listed),
                progress=tracked.progress,
            )
            require_columns(recipe, data)
            seen = hold_against(recipe, data)
            others = open_others(recipe, data, listed, place.on_bad_image)
            directory.remember(dataset.root)
            data.split.save(directory.splits)
            world.tell("data")
            machine = Machine.choose(world.device or place.device, recipe.precision)
            context = RunContext(recipe, data, machine, directory, tracked, place.keep_heads, world)
            tracked.note(f"{world.size} devices, {machine.reasons}" if world.several else machine.reasons)
            before = baseline_features(context)
            tracked.stage("pre-training")
            with turn_to_train(context, patient=place.patient):
                trained = _train(context, anew=place.force)
                world.tell("done")
                save(context, trained)
            tracked.stage("features")
            features = extract_features(context, trained.encoder)
            tracked.stage("evaluation")
            site = site_in_features(context, features)
            if site and site.above_chance:
                tracked.note(site.sentence("frozen features", data.target.stratum))
            findings = evaluate(context, trained.encoder, features)
            keep_heads(context, findings.fitted, features)
            external = score_others(context, trained.encoder, findings, others)
            baseline = describe_baseline(context, before, findings)
            tracked.stage("report")
            leave_pictures(context, trained, features, findings)
        remarks = Remarks(seen, warnings, baseline, external, site)
        seconds = time.perf_counter() - start
        result = _with_page(directory.finish(describe_run(context, trained, findings, remarks, seconds)), catalog)
        if recipe.chosen(TRACKER):
            _with_page(result, catalog, page_for_trackers(directory))
        tracked.finished(result)
        return result


@kept_memory()
def follow(recipe: Recipe, *, catalog: Catalog, place: Place, world: World) -> None:
    """Join a run that rank 0 carries out, on another rank: read the images, train along, and write nothing.

    Raises:
        MedsslError: A problem that the user can correct, or another rank has ended.
    """
    with naming_the_plugin(recipe):
        context: RunContext | None = None
        while (word := world.hear()) != "done":
            if word == "data":
                dataset = open_dataset(recipe.dataset, catalog, place.data_dir, recipe.data.readers)
                positive = recipe.evaluate.positive
                data = load_data(recipe.data, dataset, on_bad_image=place.on_bad_image, positive=positive)
                machine = Machine.choose(world.device or place.device, recipe.precision)
                directory = RunDirectory(place.output / recipe.slug)
                context = RunContext(recipe, data, machine, directory, Listener(), world=world)
            elif context is not None:
                pretrain(context)


def _check(recipe: Recipe, catalog: Catalog, listed: list[Mapped], target: Target) -> None:
    """Check the target before anything is decoded, and list the external test sets with its labels."""
    require_served(recipe, target)
    if recipe.evaluate.prior:
        require_prior(target, recipe.evaluate.prior)
    listed += list_others(recipe, catalog, target)


def _require_weights(recipe: Recipe) -> None:
    if recipe.method.plugin.needs_weights and recipe.initial_weights is None:
        raise OptionError(
            f"the method '{recipe.method.name}' needs an encoder with weights, but this recipe has random ones. "
            "Give --init FILE, or --init pretrained for the weights that timm provides."
        )


def _with_page(result: RunResult, catalog: Catalog, shared: Path | None = None) -> RunResult:
    """Write ``report.html``, or a page without images to another file."""
    from medssl.report.page import write_page  # noqa: PLC0415  (matplotlib, half a second: not before it is needed)

    write_page(result, catalog, shared)
    return result


def _train(context: RunContext, *, anew: bool) -> Trained:
    """Reuse the encoder of another run, or train one."""
    source = None if anew else find_pretrained(context.directory, fingerprint(context.recipe, context.data))
    if source is None:
        context.world.tell("train")
        return pretrain(context)
    context.listener.note(f"reusing the encoder of {source.path.name}, because only the evaluation differs")
    return adopt(context, source)


@contextlib.contextmanager
def _open_directory(recipe: Recipe, place: Place) -> Iterator[RunDirectory]:
    """Reserve the run's directory for this recipe and lock it; remove it afterwards if it is empty."""
    directory = RunDirectory(place.output / recipe.slug)
    directory.make()
    with holding(directory.path) as lease:
        clear_unfinished(directory.path, alone=True)
        if place.force:
            directory.clear()
        directory.claim(recipe.identity, recipe.paths)
        try:
            yield directory
        except BaseException:
            if not lease.lost:
                directory.abandon()
            raise


def require_origin(result: RunResult, recipe: Recipe, source: DataOrigin) -> RunResult:
    """Return a finished run if it was made from the current images and weights.

    Raises:
        CheckpointError: It was made from other images or weights.
    """
    way_out = "Give another --output, or --force to start over here."
    if change := source.change_since(result.data, result.folder):
        raise CheckpointError(f"{result.path} has a result of this recipe for other images. {change} {way_out}")
    weights, init = recipe.initial_weights, result.training.init
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
