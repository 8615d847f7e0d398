"""What limits a section's results: the size of its test part, its seeds, its warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from medssl.errors import counted
from medssl.report.sections import Section
from medssl.report.words.headline import tested_on
from medssl.report.words.settled import settled_text
from medssl.report.words.wording import level_text, named, named_together, sentence, short
from medssl.results.directory import RunResult
from medssl.results.sections import CONFOUNDING, LEAK, CopiesSeen
from medssl.study.results.rows import repeats
from medssl.study.results.summary import Comparison, Estimate, Row

__all__ = ["collapsed_rows", "findings", "majority_text", "sample_text", "too_few_units", "trust_text"]

_FEW_ROWS = 3  # a remark names at most this many rows and counts more
_FEW_SEEDS = 5  # ours: with five, the 95 % interval of a standard deviation ends at 2.9 times its value
_FEW_UNITS = 30  # clustered intervals mislead with fewer than five to thirty clusters: Cameron et al. 2008


def sample_text(section: Section) -> str:
    """Say on how many images and patients the numbers were measured, over how many seeds, after how much training."""
    fewest, most = _seed_range(section)
    seeds = f"{fewest} to {most} seeds" if fewest != most else counted(most, "seed")
    rows = f"{counted(len(section.main_rows), 'row')}, " if len(section.main_rows) > 1 else ""
    runs = "" if section.single else f"; {rows}{seeds}{' each' if rows else ''}"
    scored = f" Scores and tests are{section.per}." if section.per else ""
    return " ".join([f"{tested_on(section)}{runs}.{scored}", *_lengths(section)])


def trust_text(section: Section) -> Iterator[str]:
    """Yield sentences on what limits the results."""
    yield from too_few_units(section)
    yield from _seen_by_encoders(section)
    yield from _leaks(section)
    yield from _confounding(section)
    yield from _size(section)
    yield from _without_interval(section)
    yield from _shared_groups(section)
    yield from _copies(section)
    yield from _tests(section)
    yield from _seeds(section)
    by_kind: dict[str, list[Row]] = {}
    for row, kind in collapsed_rows(section):
        by_kind.setdefault(kind, []).append(row)
    for kind, rows in by_kind.items():
        verb = "has" if len(rows) == 1 else "have"
        yield f"{named_together(rows)} {verb} collapsed ({kind}): the features of different images are almost the same."
    labelled = [row for row in section.main_rows if _uses_labels(row) and not row.baseline]
    if labelled:
        verb = "was" if len(labelled) == 1 else "were"
        yield f"{named_together(labelled)} {verb} trained with the labels of the training part."
    yield from settled_text(section)
    found = findings(section)
    if found:
        verb = "is" if len(found) == 1 else "are"
        yield f"{counted(len(found), 'remark')} about data and training {verb} listed below."


def majority_text(section: Section) -> Iterator[str]:
    """Say how accurate the most frequent class of the test part is as a constant prediction."""
    folds = {run.recipe["split"].get("fold") for run in section.main_rows[0].runs}
    run = section.main_rows[0].runs[0]
    matrices = [scores["confusion_matrix"] for scores in run.evaluations.values() if "confusion_matrix" in scores]
    if len(folds) > 1 or not matrices:
        return
    sizes = [sum(counts) for counts in matrices[0]]
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    name, share = run.data.target.output_names[largest], short(sizes[largest] / sum(sizes))
    yield f"Predicting {name}, the most frequent class of the test part, for every image has an accuracy of {share}."


def findings(section: Section) -> list[str]:
    """Return every warning and note once, with the rows that it concerns if not all; without those of the limits."""
    return [sentence(said) for text, said in _remarks(section) if not text.startswith((LEAK, CONFOUNDING))]


def _leaks(section: Section) -> Iterator[str]:
    """Yield the remarks on test images that the encoder was trained on."""
    yield from (sentence(said) for text, said in _remarks(section) if text.startswith(LEAK))


def _remarks(section: Section) -> list[tuple[str, str]]:
    """Return every warning and note of a section's runs once, plain and with the rows that it concerns if not all."""
    by_text: dict[str, list[Row]] = {}
    for row in section.rows:
        for text in dict.fromkeys([*(text for run in row.runs for text in _said(run)), *row.notes]):
            by_text.setdefault(text, []).append(row)
    return [(text, _attributed(text, rows, len(section.rows))) for text, rows in by_text.items()]


def _attributed(text: str, rows: Sequence[Row], total: int) -> str:
    if len(rows) == total:
        return text
    return f"{named_together(rows) if len(rows) <= _FEW_ROWS else counted(len(rows), 'row')}: {text}"


def collapsed_rows(section: Section) -> list[tuple[Row, str]]:
    """Return the rows with a run whose features have collapsed, with the kind of collapse."""
    found = []
    for row in section.rows:
        kinds = [run.diagnostics.get("features", {}).get("collapsed") for run in row.runs]
        known = [kind for kind in kinds if kind]
        if known:
            seeds = "" if len(row.runs) == 1 else f" in {len(known)} of {len(row.runs)} runs"
            found.append((row, f"{known[0]}{seeds}"))
    return found


def _said(run: RunResult) -> Iterator[str]:
    yield from run.warnings
    for name, scores in {**run.evaluations, **run.diagnostics}.items():
        yield from (f"{name}: {text}" for text in scores.get("notes", ()))


def _uses_labels(row: Row) -> bool:
    return any(run.training.uses_labels for run in row.runs)


def _size(section: Section) -> Iterator[str]:
    test = section.test
    if not test.grouped:
        yield "The patients of the images are not known. If a patient has several images, the intervals are too narrow."
    if test.units < _FEW_UNITS:
        yield (
            f"{counted(test.units, test.unit)} {'is' if test.units == 1 else 'are'} few: with fewer than {_FEW_UNITS}, "
            "intervals are imprecise and more often too narrow than too wide (Cameron et al. 2008)."
        )


def _without_interval(section: Section) -> Iterator[str]:
    """Say why the leading metric has no interval, if too many resamples lack an outcome."""
    for run in section.runs:
        for scores in section.scores_of(run.evaluations).values():
            bootstrap, found = scores.get("bootstrap", {}), scores.get(section.lead)
            skipped = (bootstrap.get("skipped") or {}).get(section.lead, 0)
            if skipped and found and found.get("low") is None:
                yield (
                    f"There is no interval for {section.lead_title}: {skipped:,} of {bootstrap['resamples']:,} "
                    "resamples of the test part lack an outcome that it needs."
                )
                return


def _confounding(section: Section) -> Iterator[str]:
    """Say what predicts the target or the site beside the disease; numbers of several encoders stand once."""
    said = [text for run in section.runs for text in run.warnings if text.startswith(CONFOUNDING)]
    first = {text.partition("(balanced")[0]: text for text in reversed(said)}
    for text in reversed(first.values()):
        plain = text.removeprefix(CONFOUNDING)
        yield sentence(f"{plain[:1].upper()}{plain[1:]}")


def _shared_groups(section: Section) -> Iterator[str]:
    """Count the test images of patients that also have training images."""
    folds = [run.data for run in repeats(section.rows[0])[0]]
    shared = sum((fold.shared_groups or {}).get("test", 0) for fold in folds)
    if shared:
        images, kind = sum(fold.test for fold in folds), folds[0].group_kind or "group"
        verb = "shares" if shared == 1 else "share"
        protocol = "grouped-kfold" if folds[0].split == "kfold" else "grouped"
        yield (
            f"{shared} of {counted(images, 'test image')} {verb} a {kind} with a training image, so all results are "
            f"too good. `--split {protocol}` keeps every {kind} in one part."
        )


def _seen_by_encoders(section: Section) -> Iterator[str]:
    """Name the rows whose initial encoder was trained on test images, or on unknown images."""
    unknown = []
    for row in section.rows:
        found = [seen for run in row.runs if (seen := run.data.encoder_seen)]
        known = max((seen.test.either - seen.test.by_split for seen in found), default=0)
        if known:
            images = counted(found[0].test.images, "test image")
            yield (
                f"The result of {named(row)} is not a valid test: its encoder was trained on {known} of {images} "
                "(`--allow-seen`)."
            )
        if any(not seen.known for seen in found):
            unknown.append(row)
    if unknown:
        verb = "starts" if len(unknown) == 1 else "start"
        yield (
            f"{named_together(unknown)} {verb} from weights whose training images are not known. They may include test "
            "images."
        )


def _copies(section: Section) -> Iterator[str]:
    """Count the test images that have a duplicate in the training or validation part."""
    folds = [run.data.seen_before.get("test", CopiesSeen()) for run in repeats(section.rows[0])[0]]
    images, copies = sum(fold.images for fold in folds), sum(fold.either for fold in folds)
    if copies:
        verb = "is a duplicate or near-duplicate" if copies == 1 else "are duplicates or near-duplicates"
        yield (
            f"{copies} of {counted(images, 'test image')} {verb} of training or validation images, so all results "
            "are too good. `medssl audit --groups` writes a table of groups that keeps duplicates in "
            "one part."
        )


def too_few_units(section: Section) -> Iterator[str]:
    """Say so if no difference can be significant: with U units the smallest possible uncorrected p is 2^(1 - U)."""
    tested, test = _tested(section), section.test
    if tested and 2.0 ** (1 - test.units) * len(tested) > 1 - section.confidence:
        comparisons = counted(len(tested), "comparison")
        yield f"With {counted(test.units, test.unit)} and {comparisons}, no difference can reach significance."


def _tested(section: Section) -> list[Comparison]:
    keys = {row.key for row in section.main_rows}
    return [c for c in section.comparisons if c.metric == section.lead and keys >= {c.first, c.second}]


def _tests(section: Section) -> Iterator[str]:
    tested = _tested(section)
    if not tested:
        if len(section.main_rows) > 1:
            yield "No differences were tested, because the rows have no predictions for the same test images."
        return
    main = [c for c in tested if c.evaluator in section.judges]
    shown = sum(c.shown for c in main)
    level = level_text(1 - section.confidence)
    if not list(too_few_units(section)):
        yield (
            f"Of {counted(len(main), 'tested difference')} in {section.lead_title}, {shown or 'none'} "
            f"{'is' if shown < 2 else 'are'} significant ({level} level, Holm correction for "
            f"{counted(len(tested), 'test')})."
        )
    widths = _half_widths(tested)
    if widths:
        yield (
            f"The intervals of the differences extend {short(median(widths))} to either side (median). Smaller "
            "differences are usually not detected."
        )


def _half_widths(tested: Sequence[Comparison]) -> list[float]:
    return [(c.high - c.low) / 2 for c in tested if c.low is not None and c.high is not None]


def _seed_range(section: Section) -> tuple[int, int]:
    runs = [estimate.runs for row in section.main_rows for estimate in _estimates(row, section.lead)]
    return min(runs, default=1), max(runs, default=1)


def _seeds(section: Section) -> Iterator[str]:
    fewest, most = _seed_range(section)
    if most == 1:
        there = "There is" if len(section.main_rows) == 1 else "Each row has"
        yield f"{there} one seed, so the intervals do not include the variation between seeds."
        return
    few = f" With fewer than {_FEW_SEEDS} seeds, the variation between seeds is poorly known."
    yield (
        f"The intervals include the variation between seeds and between test {section.test.unit}s."
        f"{few if fewest < _FEW_SEEDS else ''}"
    )


def _lengths(section: Section) -> Iterator[str]:
    """Say how long the rows were trained, the most frequent length first."""
    rows: dict[int, list[Row]] = {}
    for row in section.main_rows:
        if epochs := row.runs[0].training.epochs:
            rows.setdefault(epochs, []).append(row)
    said: list[str] = []
    for epochs, alike in sorted(rows.items(), key=lambda item: -len(item[1])):
        steps = sorted({row.runs[0].training.steps for row in alike})
        span = f"{steps[0]:,} to {steps[-1]:,} steps" if len(steps) > 1 else counted(steps[0], "step")
        words = f"{counted(epochs, 'epoch')} ({span})"
        said.append(f"{named_together(alike)} for {words}" if said else words)
    if said:
        yield f"Trained for {'; '.join(said)}."


def _estimates(row: Row, metric: str) -> Iterator[Estimate]:
    for scores in row.scores.values():
        if metric in scores:
            yield scores[metric]
