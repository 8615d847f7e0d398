"""Split protocols with several runs: every image is a test image in exactly one run.

``kfold`` divides images into folds, ``grouped-kfold`` divides whole groups, ``loso`` makes each group a fold, and
``site`` each site (:mod:`medssl.data.split.sites`). The test part of a run is one fold, and its validation part is
drawn from the others. The result does not depend on the order of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medssl.contracts import Sample
from medssl.data.split.protocols import Words, assign, draw_parts, refuse_small_strata, rest_shares, units_of_strata
from medssl.data.split.sites import leave_site_out, refuse_sites, site_names
from medssl.errors import DataError, OptionError, counted, shorten
from medssl.recipe.settings import SplitSettings

__all__ = ["FOLDED", "check_fold", "count_folds", "draw_fold", "refuse_undivided"]

FOLDED = frozenset({"kfold", "grouped-kfold", "loso", "site"})


def count_folds(labelled: Sequence[Sample], settings: SplitSettings, protocol: str) -> int:
    """Return the number of runs of a protocol with folds."""
    if protocol == "site":
        return len(site_names(labelled))
    return len({sample.group for sample in labelled}) if protocol == "loso" else settings.folds


def check_fold(labelled: Sequence[Sample], settings: SplitSettings, protocol: str) -> None:
    """Check that the settings name a fold exactly when the protocol has folds.

    Raises:
        OptionError: The fold is missing, unknown, or not allowed.
    """
    if protocol not in FOLDED:
        if settings.fold is not None:
            raise OptionError(
                f"split.fold is {settings.fold}, but the split protocol '{protocol}' has no folds. Leave it out, or "
                f"choose one of --split {', '.join(sorted(FOLDED))}."
            )
        return
    count = count_folds(labelled, settings, protocol)
    if settings.fold is None:
        raise OptionError(
            f"the split protocol '{protocol}' has {count} folds here, and each run tests on one of them. "
            f"Choose it with --set split.fold=N, N from 0 to {count - 1}, and repeat for each."
        )
    if settings.fold >= count:
        raise OptionError(
            f"fold {settings.fold} does not exist. The split protocol '{protocol}' has {count} folds here. "
            f"Give split.fold from 0 to {count - 1}."
        )


def refuse_undivided(labelled: Sequence[Sample], settings: SplitSettings, protocol: str, words: Words) -> None:
    """Check that every fold can be made.

    Raises:
        DataError: There are too few images (or groups) in total or in a class, or the protocol needs groups or sites
            and the dataset has none.
    """
    if protocol in ("loso", "site"):
        (_refuse_loso if protocol == "loso" else refuse_sites)(labelled, words)
        return
    grouped = protocol == "grouped-kfold"
    if grouped and not any(sample.group for sample in labelled):
        raise DataError(
            "the split protocol 'grouped-kfold' keeps groups together, but this dataset has no groups. "
            "Choose --split kfold, or tell the dataset where its groups are."
        )
    least = settings.folds if settings.folds > 2 else 4  # with two folds, the rest of one fold must fill two parts
    wants = f"{settings.folds} folds need {least} of each class."
    refuse_small_strata(labelled, least, wants, words, grouped=grouped)


def draw_fold(
    labelled: Sequence[Sample], settings: SplitSettings, protocol: str, words: Words
) -> tuple[dict[str, str], list[str]]:
    """Assign a part to each labelled sample, for one fold.

    Args:
        labelled: Samples with a label, checked by :func:`refuse_undivided`.
        settings: Settings whose fold was checked by :func:`check_fold`.
        protocol: One of :data:`FOLDED`.
        words: Words for messages.

    Returns:
        Parts by sample id, and warnings for the reader of the result.

    Raises:
        DataError: Outside the fold, a class has too few groups for a training and a validation part.
    """
    seed, shares = f"{settings.seed}/{settings.fold}", rest_shares(settings.fractions)
    if protocol == "loso":
        return _leave_one_out(labelled, settings, seed, words)
    if protocol == "site":
        return leave_site_out(labelled, settings.fold or 0, shares, seed, words)
    grouped = protocol == "grouped-kfold"
    fold_of = assign(labelled, [1 / settings.folds] * settings.folds, settings.seed, words, grouped=grouped)
    rest = [sample for sample in labelled if fold_of[sample.id] != settings.fold]
    part_of = draw_parts(rest, ("train", "val"), shares, seed, words, grouped=grouped)
    return {sample.id: part_of.get(sample.id, "test") for sample in labelled}, []


def _leave_one_out(
    labelled: Sequence[Sample], settings: SplitSettings, seed: str, words: Words
) -> tuple[dict[str, str], list[str]]:
    """Test on the fold's group; validate on whole groups if possible, else on single images."""
    left_out = sorted({sample.group for sample in labelled if sample.group})[settings.fold or 0]
    rest = [sample for sample in labelled if sample.group != left_out]
    shares = rest_shares(settings.fractions)
    chosen, notes = assign(rest, shares, seed, words, grouped=True), []
    if len(set(chosen.values())) < 2 or _lacks_stratum([s for s in rest if chosen[s.id] == 0], rest, words):
        chosen = _by_image(rest, shares, seed, words)
        notes.append(
            f"one {words.group_kind} left out: training and validation part share {words.group_kind}s, because whole "
            f"ones would leave a {words.target.stratum} without training images"
        )
    return {s.id: ("train", "val")[chosen[s.id]] if s.id in chosen else "test" for s in labelled}, notes


def _lacks_stratum(train: Sequence[Sample], rest: Sequence[Sample], words: Words) -> bool:
    """Whether a required stratum has samples, but no training samples."""
    if not words.target.every_stratum:
        return False
    return bool((words.strata(rest).any(axis=0) & ~words.strata(train).any(axis=0)).any())


def _by_image(rest: Sequence[Sample], shares: Sequence[float], seed: str, words: Words) -> dict[str, int]:
    """Divide single images; the only image of a stratum is used for training."""
    strata = words.strata(rest)
    alone = np.asarray((strata[:, strata.sum(axis=0) == 1] > 0).any(axis=1))
    divided = [sample for sample, lone in zip(rest, alone.tolist(), strict=True) if not lone]
    chosen = assign(divided, shares, seed, words, grouped=False)
    return {sample.id: chosen.get(sample.id, 0) for sample in rest}


def _refuse_loso(labelled: Sequence[Sample], words: Words) -> None:
    kind = words.group_kind
    lacking = sorted(sample.id for sample in labelled if not sample.group)
    if lacking:
        raise DataError(
            f"{counted(len(lacking), 'labelled image')} without a {kind}, for example '{lacking[0]}'. The split "
            f"protocol 'loso' leaves out one {kind} at a time, so each image needs one. Tell the dataset where its "
            "groups are, or choose --split kfold."
        )
    lone = [
        f"{words.of(stratum)} has {counted(units, kind)}"
        for stratum, units in enumerate(units_of_strata(labelled, words, grouped=True))
        if units < 2 and words.target.every_stratum
    ]
    if not lone and len({sample.group for sample in labelled}) < 2:
        lone = [f"there is only one {kind}"]
    if lone:
        raise DataError(
            f"{shorten(lone, 10, '; ')}. Leaving out one {kind} at a time needs two for each {words.target.stratum}: "
            f"one to train on, one to test on. Leave the {words.target.stratum} out, or "
            "choose another --split protocol."
        )
