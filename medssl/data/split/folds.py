"""Split protocols that take several runs: every image is tested on in exactly one of them.

``kfold`` divides the images into folds, ``grouped-kfold`` whole groups, and ``loso`` makes a fold of each group. The
test part of a run is one fold, its validation part is drawn from the others. Nothing here depends on the order of the
samples it is given.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medssl.contracts import Sample
from medssl.data.split.protocols import Words, assign, draw_parts, refuse_small_strata, rest_shares, units_of_strata
from medssl.errors import DataError, OptionError
from medssl.recipe.settings import SplitSettings

__all__ = ["FOLDED", "check_fold", "count_folds", "draw_fold", "refuse_undivided"]

FOLDED = frozenset({"kfold", "grouped-kfold", "loso"})


def count_folds(labelled: Sequence[Sample], settings: SplitSettings, protocol: str) -> int:
    """Count the runs that a folded protocol takes."""
    return len({sample.group for sample in labelled}) if protocol == "loso" else settings.folds


def check_fold(labelled: Sequence[Sample], settings: SplitSettings, protocol: str) -> None:
    """Make sure that the settings name one fold where there are several, and none where there is one split.

    Raises:
        OptionError: They do not.
    """
    if protocol not in FOLDED:
        if settings.fold is not None:
            raise OptionError(
                f"split.fold is {settings.fold}, but the split protocol '{protocol}' makes no folds. Leave it out, or "
                f"choose one of --split {', '.join(sorted(FOLDED))}."
            )
        return
    count = count_folds(labelled, settings, protocol)
    if settings.fold is None:
        raise OptionError(
            f"the split protocol '{protocol}' makes {count} folds here, and one run is tested on one of them. "
            f"Choose it with --set split.fold=N, N from 0 to {count - 1}, and repeat for each."
        )
    if settings.fold >= count:
        raise OptionError(
            f"there is no fold {settings.fold}. The split protocol '{protocol}' makes {count} here. "
            f"Give split.fold from 0 to {count - 1}."
        )


def refuse_undivided(labelled: Sequence[Sample], settings: SplitSettings, protocol: str, words: Words) -> None:
    """Make sure that every fold can be carried out.

    Raises:
        DataError: There are too few images (or groups), in all or of a class, or the groups that the protocol needs
            are not known.
    """
    if protocol == "loso":
        _refuse_loso(labelled, words)
        return
    grouped = protocol == "grouped-kfold"
    if grouped and not any(sample.group for sample in labelled):
        raise DataError(
            "the split protocol 'grouped-kfold' keeps groups together, and this dataset knows none. "
            "Choose --split kfold, or tell the dataset where its groups are."
        )
    least = settings.folds if settings.folds > 2 else 4  # what one of two folds leaves must fill two parts
    wants = f"{settings.folds} folds need {least} of each class."
    refuse_small_strata(labelled, least, wants, words, grouped=grouped)


def draw_fold(
    labelled: Sequence[Sample], settings: SplitSettings, protocol: str, words: Words
) -> tuple[dict[str, str], list[str]]:
    """Draw the part of each labelled sample in one fold.

    Args:
        labelled: Samples with a label, that :func:`refuse_undivided` has passed.
        settings: With a fold that :func:`check_fold` has passed.
        protocol: One of :data:`FOLDED`.
        words: For messages.

    Returns:
        Parts by sample id, and sentences that the reader of a result must see.

    Raises:
        DataError: What the fold leaves of a class are too few groups for a training and a validation part.
    """
    seed, shares = f"{settings.seed}/{settings.fold}", rest_shares(settings.fractions)
    if protocol == "loso":
        return _leave_one_out(labelled, settings, seed, words)
    grouped = protocol == "grouped-kfold"
    fold_of = assign(labelled, [1 / settings.folds] * settings.folds, settings.seed, words, grouped=grouped)
    rest = [sample for sample in labelled if fold_of[sample.id] != settings.fold]
    part_of = draw_parts(rest, ("train", "val"), shares, seed, words, grouped=grouped)
    return {sample.id: part_of.get(sample.id, "test") for sample in labelled}, []


def _leave_one_out(
    labelled: Sequence[Sample], settings: SplitSettings, seed: str, words: Words
) -> tuple[dict[str, str], list[str]]:
    """Test on the fold's group; validate on whole groups where every class keeps images to train on, else on images."""
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
    """Whether a stratum that there must be has samples, but none to train on."""
    if not words.target.every_stratum:
        return False
    return bool((words.strata(rest).any(axis=0) & ~words.strata(train).any(axis=0)).any())


def _by_image(rest: Sequence[Sample], shares: Sequence[float], seed: str, words: Words) -> dict[str, int]:
    """Divide single images; one that is alone in a stratum is trained on."""
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
            f"{len(lacking)} labelled images have no {kind}, '{lacking[0]}' among them. The split protocol 'loso' "
            f"leaves out one {kind} at a time and needs one for each. Tell the dataset where its groups are, or "
            "choose --split kfold."
        )
    lone = [
        f"{words.of(stratum)} has {count} {kind}s"
        for stratum, count in enumerate(units_of_strata(labelled, words, grouped=True))
        if count < 2 and words.target.every_stratum
    ]
    if not lone and len({sample.group for sample in labelled}) < 2:
        lone = [f"there is one {kind}"]
    if lone:
        raise DataError(
            f"{'; '.join(lone)}. Leaving out one {kind} at a time takes two of each {words.target.stratum}: one to "
            f"learn from, one to test on. Leave the {words.target.stratum} out, or choose another --split protocol."
        )
