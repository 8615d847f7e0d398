"""Frozen features in bfloat16 stay within the tolerance that docs/performance.md states, on real images."""

import os
from pathlib import Path

import pytest

from benchmarks.frozen import COSINE, SPREAD, compare_precisions
from medssl_encoders.timm import Timm

DATA = Path(os.environ.get("MEDSSL_DATA", ""))
RADIOGRAPHS = DATA / "pneumonia" / "chest_xray" / "test"
WEIGHTS = {"tf_efficientnet_lite0": DATA / "weights" / "tf_efficientnet_lite0.imagenet.safetensors"}


@pytest.mark.slow
@pytest.mark.skipif(
    "MEDSSL_DATA" not in os.environ or not RADIOGRAPHS.exists(), reason="MEDSSL_DATA has no radiographs"
)
@pytest.mark.parametrize("backbone", ["resnet18", "vit_small_patch16_224", "tf_efficientnet_lite0"])
def test_features_in_bfloat16_are_those_in_float32_within_the_tolerance(backbone):
    found = compare_precisions(RADIOGRAPHS, 4, {backbone: Timm.of(backbone=backbone, weights=WEIGHTS.get(backbone))})
    assert 0 < found[backbone]["cosine"] <= COSINE
    assert 0 < found[backbone]["spread"] <= SPREAD
