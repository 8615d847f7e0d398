import numpy as np
from medssl.conformance.pytest import contract_tests
from medssl_ward_xrays import WardXrays
from PIL import Image


def write_images(root):
    """Write a table and a few images, two of each patient."""
    rows = ["file,patient,scanner,effusion,consolidation,nodule"]
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i:03}.png")
        findings = ("yes,no,", "no,yes,no", "no,no,yes")[i // 2 % 3]
        rows.append(f"{i:03}.png,P{i // 2},{'AB'[i % 2]},{findings}")
    (root / "reports.csv").write_text("\n".join(rows), encoding="utf-8")


test_contract = contract_tests("dataset", WardXrays, files=write_images)
