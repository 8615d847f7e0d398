"""Searches settings with Optuna. Each trial is a run whose test part is closed.

The objective is a metric on the validation part. The median rule stops trials that are worse than half of the earlier
ones at the same epoch (Golovin et al. 2017, KDD, sec. 3.5.1). The next settings are drawn by a tree-structured Parzen
estimator (Bergstra et al. 2011, NeurIPS); if all ranges are lists and there are enough trials, each combination is
tried once. Every trial is an ordinary run in a directory of its own, and Optuna's
storage is a file beside them, so an interrupted search continues.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssl.catalog import Catalog
from medssl.errors import MedsslError, OptionError, did_you_mean
from medssl.io.files import write_atomic
from medssl.recipe import Recipe, resolve
from medssl.recipe.layers import nested
from medssl.results.directory import RunResult
from medssl.runs.listener import Listener
from medssl.runs.pipeline import Place, execute
from medssl.study.search.ranges import Range
from medssl.train.loop.records import EpochRecord

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

__all__ = ["Search", "Tried", "final_layers", "run_search", "search_folder"]

_STARTUP = 5  # trials before the median rule stops any: Optuna's default


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched.

    Attributes:
        layers: Layers of the recipe, weakest first.
        vary: Ranges of settings by dotted key.
        evaluator: Evaluator of the objective.
        metric: Metric of the objective, on the validation part.
        trials: Number of trials, stopped ones included.
        seed: Seed of the drawn settings.
    """

    layers: Sequence[Mapping[str, Any]]
    vary: Mapping[str, Range]
    evaluator: str
    metric: str
    trials: int
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Tried:
    """The state of a search.

    Attributes:
        settings: The best settings by dotted key.
        value: Their objective; ``None`` if no trial is complete.
        complete: Number of complete trials.
        stopped: Number of trials that the median rule stopped.
        failed: Number of failed trials.
    """

    settings: Mapping[str, str]
    value: float | None
    complete: int
    stopped: int
    failed: int

    @property
    def compared(self) -> int:
        """Number of settings that were compared."""
        return self.complete + self.stopped


def search_folder(search: Search, catalog: Catalog, output: Path) -> Path:
    """Return the folder of a search: its name is that of the recipe, with a key of everything that is searched."""
    recipe = resolve(catalog, search.layers)
    ranges = {key: str(value) for key, value in search.vary.items()}
    content = [recipe.hash, ranges, search.evaluator, search.metric, search.seed]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    return output / f"tune-{recipe.slug.rpartition('-')[0]}-{key}"


def run_search(
    search: Search, catalog: Catalog, place: Place, *, report: Callable[[int, Tried], None] | None = None
) -> Tried:
    """Carry out a search, or continue it.

    Args:
        search: What is searched.
        catalog: The catalogue.
        place: Where to read; the folder of the search is made in its ``output``.
        report: Is told the number of each finished trial and the state of the search.

    Returns:
        The state at the end.

    Raises:
        OptionError: Optuna is not installed, or a setting or the objective does not exist.
        MedsslError: A problem that would stop every trial.
    """
    folder = search_folder(search, catalog, place.output)
    folder.mkdir(parents=True, exist_ok=True)
    here = replace(place, output=folder)
    study = _open_study(folder, search, catalog)
    import optuna  # noqa: PLC0415

    every = _every_setting(search)
    while (number := len(_ended(study))) < (len(every) or search.trials):
        # a sampler of its own for each trial: a continued search draws the same settings as a straight one
        study.sampler = optuna.samplers.TPESampler(seed=search.seed + number)
        if every:
            study.enqueue_trial(every[number], skip_if_exists=True)
        trial = study.ask()
        _carry_out(study, trial, search, catalog, here)
        _write(folder, study, search)
        if report:
            report(number + 1, _state(study))
    return _state(study)


def _every_setting(search: Search) -> list[dict[str, str]]:
    """Return every combination of settings, if all ranges are lists and there are no more than trials; else none."""
    lists = [values.choices for values in search.vary.values()]
    if not all(lists) or math.prod(map(len, lists)) > search.trials:
        return []
    return [dict(zip(search.vary, values, strict=True)) for values in product(*lists)]


def final_layers(search: Search, tried: Tried) -> list[Mapping[str, Any]]:
    """Return the layers of the run with the best settings, on the open test part.

    Raises:
        OptionError: No trial is complete.
    """
    if tried.value is None:
        raise OptionError("no trial of this search is complete, so there are no best settings. Look at the failures.")
    return [*search.layers, *starmap(nested, tried.settings.items()), {"evaluate": {"compared": tried.compared}}]


# ------------------------------------------------------------------------------------------------------------ one trial


class _Watch(Listener):
    """Stops a trial that is worse than half of the earlier ones at this epoch."""

    def __init__(self, trial: Trial, sign: int) -> None:
        self._trial, self._sign = trial, sign

    def epoch(self, record: EpochRecord) -> None:
        from optuna import TrialPruned  # noqa: PLC0415

        for value in list(record.validation.values())[:1]:
            self._trial.report(self._sign * value, record.epoch)
            if self._trial.should_prune():
                raise TrialPruned


def _carry_out(study: Study, trial: Trial, search: Search, catalog: Catalog, place: Place) -> None:
    from optuna import TrialPruned  # noqa: PLC0415
    from optuna.trial import TrialState  # noqa: PLC0415

    drawn = {key: values.draw(trial, key) for key, values in search.vary.items()}
    # other hospitals are tested on as well, so they stay closed too
    layers = [{key: value for key, value in layer.items() if key != "external"} for layer in search.layers]
    recipe = resolve(catalog, [*layers, *starmap(nested, drawn.items()), {"evaluate": {"closed": True}}])
    trial.set_user_attr("run", recipe.slug)
    trial.set_user_attr("settings", drawn)
    try:
        result = execute(recipe, catalog=catalog, place=place, listener=_Watch(trial, _sign(study)))
    except TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except OptionError:
        study.tell(trial, state=TrialState.FAIL)
        raise
    except MedsslError as error:  # a trial whose training diverges is a result too
        trial.set_user_attr("failure", str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, _objective(result, search))


def _objective(result: RunResult, search: Search) -> float:
    score = result.scores[search.evaluator].get(search.metric)
    if score is None or score.value is None:
        known = list(result.scores[search.evaluator])
        raise OptionError(
            f"{search.evaluator} has no {search.metric} on the validation part.{did_you_mean(search.metric, known)} "
            f"It has: {', '.join(known)}. Choose another with --objective."
        )
    return score.value


# ------------------------------------------------------------------------------------------------------------- storage


def _open_study(folder: Path, search: Search, catalog: Catalog) -> Study:
    try:
        import optuna  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            f"a search needs the package optuna. {error}. Install it with `pip install medssl[tune]`."
        ) from error
    from optuna.storages import JournalStorage  # noqa: PLC0415
    from optuna.storages.journal import JournalFileBackend  # noqa: PLC0415
    from optuna.trial import TrialState  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    recipe = resolve(catalog, search.layers)
    log = folder / "trials.log"
    log.touch(mode=0o600)  # messages of failed trials may name files
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(log))),
        study_name="search",
        direction="maximize" if _higher_is_better(search, recipe) else "minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP),
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):  # an interrupted call left it
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _higher_is_better(search: Search, recipe: Recipe) -> bool:
    from medssl.evaluation.metrics import METRICS  # noqa: PLC0415

    if search.evaluator not in {choice.name for choice in recipe.evaluators}:
        names = [choice.name for choice in recipe.evaluators]
        raise OptionError(
            f"the objective is a metric of '{search.evaluator}', which this recipe does not use. It uses: "
            f"{', '.join(names)}. Choose another with --objective."
        )
    known = {metric.name: metric for metric in METRICS}
    if search.metric not in known:
        raise OptionError(
            f"the metric '{search.metric}' does not exist.{did_you_mean(search.metric, known)} "
            "Write the objective as EVALUATOR.METRIC."
        )
    return known[search.metric].higher_is_better


def _sign(study: Study) -> int:
    """Return the sign with which a score of the validation is passed on: it is always better when higher."""
    return 1 if study.direction.name == "MAXIMIZE" else -1


def _ended(study: Study) -> list[FrozenTrial]:
    """Return the trials that count: those that an interruption left are carried out again."""
    return [t for t in study.trials if t.state.is_finished() and (t.state.name != "FAIL" or "failure" in t.user_attrs)]


def _state(study: Study) -> Tried:
    ended = _ended(study)
    complete = [trial for trial in ended if trial.state.name == "COMPLETE"]
    best = study.best_trial if complete else None
    return Tried(
        settings=dict(best.user_attrs["settings"]) if best else {},
        value=best.value if best else None,
        complete=len(complete),
        stopped=sum(trial.state.name == "PRUNED" for trial in ended),
        failed=sum(trial.state.name == "FAIL" for trial in ended),
    )


def _write(folder: Path, study: Study, search: Search) -> None:
    """Write ``search.json``: what was searched, and every trial."""
    trials = [
        {
            "settings": trial.user_attrs.get("settings", {}),
            "run": trial.user_attrs.get("run"),
            "state": trial.state.name.lower(),
            "value": trial.value,
            "failure": trial.user_attrs.get("failure"),
        }
        for trial in _ended(study)
    ]
    content = {
        "objective": f"{search.evaluator}.{search.metric}",
        "part": "validation",
        "vary": {key: str(value) for key, value in search.vary.items()},
        "seed": search.seed,
        "best": asdict(_state(study)),
        "trials": trials,
    }
    write_atomic(folder / "search.json", (json.dumps(content, indent=2) + "\n").encode(), private=True)
