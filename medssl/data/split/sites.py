"""The split protocol ``site``: each hospital or scanner in turn is the test part, and takes no part in training.

It asks how a model does at a site that it has not seen. The test part of a run is one site. The validation part is
drawn from the other sites, in whole groups if groups are known. A patient with images at several sites is never on both
sides: while one of the sites is tested, the patient's images of the others are not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from medssl.contracts import Sample
from medssl.data.split.protocols import Words, draw_parts
from medssl.errors import DataError, counted, shorten

__all__ = ["leave_site_out", "refuse_sites", "site_names"]


def site_names(labelled: Sequence[Sample]) -> list[str]:
    """Return the sites of the samples, sorted: the order of the folds."""
    return sorted({sample.site for sample in labelled if sample.site})


def refuse_sites(labelled: Sequence[Sample], words: Words) -> None:
    """Check that each site can be left out.

    Raises:
        DataError: Sites are not known for all images, there is only one, a class is at one site only, or a site has
            images of one class only.
    """
    lacking = sorted(sample.id for sample in labelled if not sample.site)
    if len(lacking) == len(labelled):
        raise DataError(
            "the split protocol 'site' leaves out one site at a time, but this dataset has no sites. Tell the dataset "
            "where they are, for instance with dataset.site_column or dataset.site_pattern, or choose another --split."
        )
    if lacking:
        raise DataError(
            f"{counted(len(lacking), 'labelled image')} without a site, for example '{lacking[0]}'. The split protocol "
            "'site' leaves out one site at a time, so each image needs one. Complete the sites, or leave these images "
            "out."
        )
    names = site_names(labelled)
    if len(names) < 2:
        raise DataError(
            f"all labelled images are of one site, '{names[0]}'. Leaving out one site at a time needs two: one to "
            "train on, one to test on. Choose another --split protocol."
        )
    if words.target.every_stratum and (problems := [*_poor_sites(labelled, names, words)]):
        raise DataError(
            f"{shorten(problems, 10, '; ')}. Leaving out one site at a time needs each {words.target.stratum} at two "
            f"sites, and images of two at each. Leave the site or the {words.target.stratum} out, or choose another "
            "--split protocol."
        )


def _poor_sites(labelled: Sequence[Sample], names: Sequence[str], words: Words) -> Iterator[str]:
    """Describe the sites of one class, and the classes of one site."""
    place = {name: at for at, name in enumerate(names)}
    strata, rows = words.strata(labelled) > 0, [place[sample.site or ""] for sample in labelled]
    counts = np.zeros((len(names), strata.shape[1]), dtype=np.int64)
    np.add.at(counts, rows, strata)
    for name, count in zip(names, counts, strict=True):
        if (count > 0).sum() == 1:
            yield f"the site '{name}' has images of {words.of(int(count.argmax()))} only"
    for stratum in np.flatnonzero((counts > 0).sum(axis=0) == 1).tolist():
        yield f"{words.of(stratum)} has images at the site '{names[int(counts[:, stratum].argmax())]}' only"


def leave_site_out(
    labelled: Sequence[Sample], fold: int, shares: Sequence[float], seed: str, words: Words
) -> tuple[dict[str, str], list[str]]:
    """Assign a part to each labelled sample; a sample of a patient who was also at the tested site is ``unused``.

    Args:
        labelled: Samples with a label, checked by :func:`refuse_sites`.
        fold: Number of the site in :func:`site_names`.
        shares: Shares of the training and the validation part in the other sites.
        seed: Seed of the draw.
        words: Words for messages.

    Returns:
        Parts by sample id, and remarks for the reader of the result.

    Raises:
        DataError: The other sites have too few images (or groups) of a class for two parts.
    """
    tested = site_names(labelled)[fold]
    moved = {sample.group for sample in labelled if sample.site == tested and sample.group}
    others = [sample for sample in labelled if sample.site != tested]
    rest = [sample for sample in others if sample.group not in moved]
    grouped = any(sample.group for sample in rest)
    part_of = draw_parts(rest, ("train", "val"), shares, seed, words, grouped=grouped)
    part_of |= {sample.id: "test" for sample in labelled if sample.site == tested}
    part_of |= {sample.id: "unused" for sample in others if sample.id not in part_of}
    aside = len(others) - len(rest)
    notes = [f"one site left out: {aside} images of {words.group_kind}s who were also at that site are not used"]
    return part_of, notes if aside else []
