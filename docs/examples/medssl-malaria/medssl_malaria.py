"""NIH malaria cell images (Rajaraman et al. 2018, doi 10.7717/peerj.4568). Public domain."""

import re

from medssl.contracts import Classes, Dataset, Listing, Sample
from medssl.errors import DataError
from medssl.tools import read_image


class Malaria(Dataset):
    classes = ("Uninfected", "Parasitized")  # 0 and 1: a fixed order, not the disk's
    augmentation = "microscopy"  # single cells, without an up or down

    def index(self):
        folder = self.root / "cell_images"
        if not folder.is_dir():
            raise DataError(
                f"{folder} is missing. It holds the folders {' and '.join(self.classes)} of PNG files. "
                "Unpack cell_images.zip from https://data.lhncbc.nlm.nih.gov/public/Malaria/ there, "
                "or name another place with --data-dir."
            )
        samples = [
            Sample(id=path.relative_to(self.root).as_posix(), y=number, group=patient(path.name))
            for number, name in enumerate(self.classes)
            for path in sorted((folder / name).glob("*.png"))
        ]
        return Listing(
            samples=samples,
            target=Classes(self.classes),
            group_kind="patient",
            default_split="grouped",
            split_reason="cells of one smear look alike, so a patient must not be on both sides",
        )

    def read(self, sample):
        return read_image(self.root / sample.id)

    def path(self, sample):
        return self.root / sample.id


def patient(name):
    """C100P61ThinF_IMG_20150918_144104_cell_168.png -> C100."""
    found = re.match(r"C\d+", name)
    return found[0] if found else None
