import numpy as np
from medssl.conformance.pytest import contract_tests
from medssl_malaria import Malaria
from PIL import Image


def write_images(root):
    """Write a few images in the dataset's layout."""
    for name in Malaria.classes:
        folder = root / "cell_images" / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(6):
            pixels = np.random.default_rng(i).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"C{i // 2}P0ThinF_cell_{i}.png")


test_contract = contract_tests("dataset", Malaria, files=write_images)
