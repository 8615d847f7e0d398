"""Colorectal cancer histology, eight tissue textures (Kather et al. 2016)."""

from __future__ import annotations

import re

from medssl.contracts import Classes, Listing, Sample
from medssl.errors import shorten
from medssl_datasets.folders.files import PublishedTree, images_below, log, subfolders

__all__ = ["Colorectal", "slide"]

_SLIDE = re.compile(r"CRC-Prim-HE-\d\d")


def slide(name: str) -> str | None:
    """Return the source slide in a tile's official file name, ``None`` for any other name.

    After the two digits of the slide, region names have several forms: ``CRC-Prim-HE-01``, ``-01b``, ``-10c``,
    ``-02_003b``, ``-07_001_copy``.
    """
    found = _SLIDE.search(name)
    return found[0] if found else None


class Colorectal(PublishedTree):
    """5,000 H&E tiles of 150 x 150 px (0.495 um/px), 625 of each of eight tissues, from ten slides.

    Layout: ``Kather_texture_2016_image_tiles_5000/01_TUMOR/*.tif`` and seven more; any image format is allowed. A part
    of the tiles is also allowed, with a warning that has their number. Other folders are ignored, with a warning.

    Source: Kather et al., Sci. Rep. 6:27988 (2016), doi:10.5281/zenodo.53169. Licence: CC BY 4.0.

    Known leaks: all tiles come from ten slides, many from neighbouring fields of a slide, so a random split has the
    same slide on both sides. The slide is the group; versions with renamed tiles have no groups.
    """

    name = "colorectal"
    classes = ("01_TUMOR", "02_STROMA", "03_COMPLEX", "04_LYMPHO", "05_DEBRIS", "06_MUCOSA", "07_ADIPOSE", "08_EMPTY")
    layouts = (classes,)
    wrappers = ("Kather_texture_2016_image_tiles_5000", "archive", "colorectal")
    expected = "Kather_texture_2016_image_tiles_5000/01_TUMOR/*.tif and the other seven class folders"
    augmentation = "histology"

    def index(self) -> Listing:
        """List the tiles by class, then by name.

        Raises:
            DataError: The tree does not exist, or a class folder is missing or empty.
        """
        samples = [
            Sample(id=f"{name}/{tile}", y=label, group=slide(tile))
            for label, name in enumerate(self.classes)
            for tile in images_below(self.tree / name)
        ]
        self.check_classes(samples)
        if stray := sorted(set(subfolders(self.tree)) - set(self.classes) - set(self.wrappers)):
            log.warning("colorectal: folders that are not a class are ignored: %s", shorten(stray))
        self.warn_of_counts(samples, self.facts.get("counts", {}))
        return Listing(
            samples=samples,
            target=Classes(self.classes),
            group_kind="slide" if any(sample.group for sample in samples) else None,
            default_split="random",
            split_reason="the ten slides do not all hold every class (ADIPOSE comes from six, EMPTY from two), so no "
            "split by slide has every class in every part; tiles of one slide may be on both sides",
        )
