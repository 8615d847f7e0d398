"""What limits a section's numbers: the size of its test part, its seeds, its warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from medssl.report.sections import Section
from medssl.report.words.wording import count, level_text, listed, named, named_together, short
from medssl.results.directory import RunResult
from medssl.study.results.rows import repeats
from medssl.study.results.summary import Comparison, Estimate, Row

__all__ = ["collapsed_rows", "findings", "majority_text", "too_few_units", "trust_text"]

_FEW_UNITS = 30  # clustered intervals mislead with fewer than five to thirty clusters: Cameron et al. 2008


def trust_text(section: Section) -> Iterator[str]:
    """Yield sentences on how far the numbers can be trusted."""
    yield from _seen_by_encoders(section)
    yield from _size(section)
    yield from _shared_groups(section)
    yield from _copies(section)
    yield from _tests(section)
    yield from too_few_units(section)
    yield from _seeds(section)
    yield from _lengths(section)
    for row, kind in collapsed_rows(section):
        yield f"{named(row)} has collapsed ({kind}): its encoder can hardly tell images apart."
    labelled = [named(row) for row in section.main_rows if _uses_labels(row) and not row.baseline]
    if labelled:
        yield f"{listed(labelled)} learned from the training labels."
    found = findings(section)
    if found:
        verb = "is" if len(found) == 1 else "are"
        yield f"{count(len(found), 'remark')} about data and training {verb} listed below."


def majority_text(section: Section) -> Iterator[str]:
    """Say how often the commonest class of the test part would be right, by the confusion matrix of one run."""
    folds = {run.values["recipe"]["split"].get("fold") for run in section.main_rows[0].runs}
    run = section.main_rows[0].runs[0]
    matrices = [scores["confusion_matrix"] for scores in run.evaluations.values() if "confusion_matrix" in scores]
    if len(folds) > 1 or not matrices:
        return
    sizes = [sum(counts) for counts in matrices[0]]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    name, share = run.target.output_names[largest], short(sizes[largest] / sum(sizes))
    yield f"Predicting {name}, the most frequent class of the test part, for every image has an accuracy of {share}."


def findings(section: Section) -> list[str]:
    """Every warning and note of a section's runs, once each, with the rows it is about where it is not about all."""
    by_text: dict[str, list[str]] = {}
    for row in section.rows:
        for text in dict.fromkeys([*(text for run in row.runs for text in _said(run)), *row.notes]):
            by_text.setdefault(text, []).append(named(row))
    return [_attributed(text, rows, len(section.rows)) for text, rows in by_text.items()]


def _attributed(text: str, rows: Sequence[str], total: int) -> str:
    if len(rows) == total:
        return text
    return f"{listed(rows) if len(rows) <= 3 else count(len(rows), 'row')}: {text}"


def collapsed_rows(section: Section) -> list[tuple[Row, str]]:
    """Rows of which a run's features have collapsed, and how far."""
    found = []
    for row in section.rows:
        kinds = [run.values.get("diagnostics", {}).get("features", {}).get("collapsed") for run in row.runs]
        known = [kind for kind in kinds if kind]
        if known:
            seeds = "" if len(row.runs) == 1 else f" in {len(known)} of {len(row.runs)} runs"
            found.append((row, f"{known[0]}{seeds}"))
    return found


def _said(run: RunResult) -> Iterator[str]:
    yield from run.values["data"]["warnings"]
    for name, scores in {**run.evaluations, **run.values.get("diagnostics", {})}.items():
        yield from (f"{name}: {text}" for text in scores.get("notes", ()))


def _uses_labels(row: Row) -> bool:
    return any(run.values["pretrain"].get("uses_labels") for run in row.runs)


def _size(section: Section) -> Iterator[str]:
    test = section.test
    if test.grouped:
        yield f"Measured on {count(test.images, 'test image')} of {count(test.units, test.unit)}."
    else:
        yield (
            f"Measured on {count(test.images, 'test image')}. It is not known which of them belong to one patient. If "
            "several do, the intervals are too narrow."
        )
    if test.units < _FEW_UNITS:
        yield (
            f"{count(test.units, test.unit)[0].upper()}{count(test.units, test.unit)[1:]} are few: with fewer than "
            f"{_FEW_UNITS} an interval is rough, and more often too narrow than too wide (Cameron et al. 2008)."
        )


def _shared_groups(section: Section) -> Iterator[str]:
    """Say how many test images are no test, because their patient was trained on."""
    folds = [run.values["data"] for run in repeats(section.rows[0])[0]]
    shared = sum((fold.get("shared_groups") or {}).get("test", 0) for fold in folds)
    if shared:
        images, kind = sum(fold["test"] for fold in folds), folds[0]["group_kind"] or "group"
        verb = "shares" if shared == 1 else "share"
        protocol = "grouped-kfold" if folds[0]["split"] == "kfold" else "grouped"
        yield (
            f"{shared} of {count(images, 'test image')} {verb} a {kind} with a training image, which makes the numbers "
            f"of every row too good. `--split {protocol}` keeps every {kind} on one side."
        )


def _seen_by_encoders(section: Section) -> Iterator[str]:
    """Say of which rows the encoder was trained on test images before, or on unknown ones."""
    unknown = []
    for row in section.rows:
        found = [seen for run in row.runs if (seen := run.values["data"].get("encoder_seen"))]
        known = max((seen["test"]["either"] - seen["test"]["by_split"] for seen in found), default=0)
        if known:
            images = count(found[0]["test"]["images"], "test image")
            yield (
                f"{named(row)} is no fair test: its encoder knows {known} of {images} from its training "
                "(`--allow-seen`)."
            )
        if any(not seen["known"] for seen in found):
            unknown.append(row)
    if unknown:
        verb = "starts" if len(unknown) == 1 else "start"
        yield (
            f"{named_together(unknown)} {verb} from weights that do not say which images they were trained on: test "
            "images may have been among them."
        )


def _copies(section: Section) -> Iterator[str]:
    """Say how many test images are no test, because a copy was trained on."""
    folds = [run.values["data"].get("seen_before", {}).get("test", {}) for run in repeats(section.rows[0])[0]]
    images, copies = (sum(fold.get(key, 0) for fold in folds) for key in ("images", "either"))
    if copies:
        verb = "is a duplicate or near-duplicate" if copies == 1 else "are duplicates or near-duplicates"
        yield (
            f"{copies} of {count(images, 'test image')} {verb} of training or validation images, which makes the "
            "numbers of every row too good. `medssl audit --groups` writes a table of groups that keeps duplicates in "
            "one part."
        )


def too_few_units(section: Section) -> Iterator[str]:
    """Say so where no difference can be shown, however large: of U units the smallest p is 2^(1 - U), uncorrected."""
    tested, test = _tested(section), section.test
    if tested and 2.0 ** (1 - test.units) * len(tested) > 1 - section.confidence:
        differences = count(len(tested), "difference")
        yield f"With {count(test.units, test.unit)} and {differences} to test none can be shown, however large it is."


def _tested(section: Section) -> list[Comparison]:
    keys = {row.key for row in section.main_rows}
    return [c for c in section.comparisons if c.metric == section.lead and keys >= {c.first, c.second}]


def _tests(section: Section) -> Iterator[str]:
    tested = _tested(section)
    if not tested:
        if len(section.main_rows) > 1:
            yield "No differences were tested: the rows have no predictions for the same test images."
        return
    main = [c for c in tested if c.evaluator in section.judges]
    shown = sum(c.shown for c in main)
    level = level_text(1 - section.confidence)
    yield (
        f"Of {count(len(main), 'tested difference')} of {section.lead_title}, {shown or 'none'} "
        f"{'is' if shown < 2 else 'are'} shown at the {level} level, corrected for {count(len(tested), 'test')} (Holm)."
    )
    widths = _half_widths(tested)
    if widths:
        yield (
            f"The intervals of the differences reach {short(median(widths))} to either side (median): a smaller "
            "difference goes unseen here."
        )


def _half_widths(tested: Sequence[Comparison]) -> list[float]:
    return [(c.high - c.low) / 2 for c in tested if c.low is not None and c.high is not None]


def _seeds(section: Section) -> Iterator[str]:
    runs = [estimate.runs for row in section.main_rows for estimate in _estimates(row, section.lead)]
    fewest, most = min(runs, default=1), max(runs, default=1)
    if most == 1:
        yield "There is one seed per row. The intervals do not contain the variation between seeds."
        return
    seeds = f"{fewest} seeds" if fewest == most else f"{fewest} to {most} seeds"
    yield (
        f"Rows are means over {seeds}; their intervals cover the chance in training and in the choice of test "
        f"{section.test.unit}s.{' Few seeds say little about other seeds.' if fewest < 5 else ''}"
    )


def _lengths(section: Section) -> Iterator[str]:
    """Say for how long rows were trained, the most common length first."""
    rows: dict[int, list[Row]] = {}
    for row in section.main_rows:
        if epochs := row.runs[0].values["pretrain"]["epochs"]:
            rows.setdefault(epochs, []).append(row)
    said: list[str] = []
    for epochs, alike in sorted(rows.items(), key=lambda item: -len(item[1])):
        steps = sorted({row.runs[0].values["pretrain"]["steps"] for row in alike})
        span = f"{steps[0]:,} to {steps[-1]:,} steps" if len(steps) > 1 else count(steps[0], "step")
        words = f"{count(epochs, 'epoch')} ({span})"
        said.append(f"{named_together(alike)} for {words}" if said else words)
    if said:
        yield f"Trained for {listed(said)}."


def _estimates(row: Row, metric: str) -> Iterator[Estimate]:
    for scores in row.scores.values():
        if metric in scores:
            yield scores[metric]
