"""Whether training had settled: the loss and the validation score at the end of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from medssl.report.sections import Section
from medssl.report.words.compared import trained
from medssl.report.words.wording import listed, named_together
from medssl.results.directory import RunDirectory, RunResult, read_history
from medssl.study.results.summary import Row

__all__ = ["settled_text"]

_LEAST = 8  # epochs, ours: two per quarter of the training
_SCORES = 4  # validations, ours: one per quarter
_LOSS = 0.05  # ours: the share of the whole decrease that the last quarter may bring
_SCORE = 0.01  # ours: the gain of a validation score from one quarter to the next; less is lost in its noise

_Epochs = Sequence[Mapping[str, Any]]


def settled_text(section: Section) -> Iterator[str]:
    """Yield sentences on whether the training of the rows was long enough.

    The loss had settled if the last quarter of the epochs brought less than 5 % of its decrease. The validation score
    had settled if the mean of the last quarter is not more than .01 above that of the quarter before. With fewer than
    eight epochs neither can be judged. A row whose runs have no history is left out.
    """
    rows = [(row, _verdict(row.runs)) for row in _with_training(section)]
    found: dict[str, list[Row]] = {}
    for row, verdict in rows:
        if verdict:
            found.setdefault(verdict, []).append(row)
    for verdict, its in found.items():
        every = len(its) == len(rows)
        yield verdict.format("" if every else f" of {named_together(its)}")


def _with_training(section: Section) -> list[Row]:
    rows = [row for row in section.main_rows if row.runs[0].training.epochs]
    return trained(rows) or rows


def _verdict(runs: Sequence[RunResult]) -> str:
    histories = [read_history(RunDirectory(run.path)) for run in runs]
    known = [epochs for epochs in histories if epochs]
    if not known:
        return ""
    fewest = min(len(epochs) for epochs in known)
    if fewest < _LEAST:
        return (
            f"Training{{}} was short: in {fewest} epoch{'s' if fewest > 1 else ''}, loss and validation cannot show "
            "whether it had settled. Longer training may change the answer."
        )
    moving = [what for what, moves in (("loss", _falling), ("validation score", _rising)) if any(map(moves, known))]
    if moving:
        verbs = {"loss": "the loss was still falling", "validation score": "the validation score was still rising"}
        said = listed([verbs[what] for what in moving])
        return f"Training{{}} had not settled: {said} at the end. Longer training may change the answer."
    scored = any(_validated(epochs) for epochs in known)
    return f"Training{{}} had settled: the loss {'and the validation score ' if scored else ''}no longer changed."


def _quarters(values: Sequence[float]) -> tuple[float, float]:
    """Return the means of the last quarter and of the quarter before."""
    size = max(1, len(values) // 4)
    return fmean(values[-size:]), fmean(values[-2 * size : -size])


def _falling(epochs: _Epochs) -> bool:
    losses = [float(epoch["loss"]) for epoch in epochs if epoch.get("loss") is not None]
    if len(losses) < _LEAST:
        return False
    last, before = _quarters(losses)
    return before - last > _LOSS * max(losses[0] - min(losses), 0.0)


def _rising(epochs: _Epochs) -> bool:
    scores = _validated(epochs)
    if len(scores) < _SCORES:
        return False
    last, before = _quarters(scores)
    return last - before > _SCORE


def _validated(epochs: _Epochs) -> list[float]:
    """Return the first score of each validation, in which higher values are better."""
    found = (next(iter(epoch.get("validation", {}).values()), None) for epoch in epochs)
    return [float(value) for value in found if value is not None]
