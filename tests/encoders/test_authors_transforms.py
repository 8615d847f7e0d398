"""Every encoder of the catalogue sees images as its authors prepare them, computed by their own library.

Each row names the authors' transform independently of the catalogue: timm's configuration of the weights, the steps of
the model card or of the loaders of TRIDENT (T) and of RETFound's code (R), a configuration of an image processor of
transformers, or open_clip's transform. Where medssl differs on purpose, the row says how. The comparison begins with an
image as a store keeps it: with a short side of at most twice the encoder's size.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms.v2 import functional as F

from medssl.catalog import load_catalog
from medssl.contracts import Preprocessing
from medssl.data.views import engine
from medssl.export.transform import Transform
from medssl.recipe import choose

CATALOG = load_catalog()
ROWS = [name for name in CATALOG.presets("encoder") if "plugin" in CATALOG.entry("encoder", name)]
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
OPTIMUS = {"mean": (0.707223, 0.578729, 0.703617), "std": (0.211883, 0.230117, 0.177517)}
LUNIT = {"mean": (0.7032, 0.5361, 0.6610), "std": (0.2172, 0.2608, 0.2072)}
BILINEAR, BICUBIC = {"interpolation": "bilinear"}, {"interpolation": "bicubic"}


def published(tag):
    """timm's configuration of published weights."""
    known = timm.get_pretrained_cfg(tag)
    return {name: getattr(known, name) for name in ("mean", "std", "interpolation", "crop_pct", "crop_mode")}


#: For `timm.data.create_transform`.
TIMM = {
    "dinov2-s": published("vit_small_patch14_reg4_dinov2.lvd142m"),
    "dinov2-b": published("vit_base_patch14_reg4_dinov2.lvd142m"),
    "dinov2-l": published("vit_large_patch14_reg4_dinov2.lvd142m"),
    "dinov3-s": published("vit_small_patch16_dinov3.lvd1689m"),
    "dinov3-b": published("vit_base_patch16_dinov3.lvd1689m"),
    "dinov3-l": published("vit_large_patch16_dinov3.lvd1689m"),
    "dinov3-convnext-t": published("convnext_tiny.dinov3_lvd1689m"),
    "efficientnet-lite0": published("tf_efficientnet_lite0.in1k"),
    "gigapath": {**IMAGENET, **BICUBIC, "crop_pct": 0.875},  # T: resized to 256, cut to 224
    "h-optimus-0": {**OPTIMUS, **BILINEAR},  # T
    "h-optimus-1": {**OPTIMUS, **BILINEAR},  # T
    "h0-mini": {**OPTIMUS, **BICUBIC},  # as the repository's config.json says
    "kaiko-s": {**HALF, **BILINEAR},  # T
    "lunit-s8": {**LUNIT, **BILINEAR},
    "midnight-12k": {**HALF, **BILINEAR},  # T
    "retfound-cfp": {**IMAGENET, **BICUBIC, "crop_pct": 0.875},  # R
    "retfound-oct": {**IMAGENET, **BICUBIC, "crop_pct": 0.875},  # R
    "retfound-dinov2": {**IMAGENET, **BICUBIC, "crop_pct": 0.875},  # R
    "uni": {**IMAGENET, **BILINEAR},  # T
    "uni2-h": {**IMAGENET, **BILINEAR},  # T
    "virchow": {**IMAGENET, **BICUBIC},  # T
    "virchow2": {**IMAGENET, **BICUBIC},  # T
}
DINOV2 = {"image_processor_type": "BitImageProcessor", "do_center_crop": True}
#: `preprocessor_config.json` for transformers.AutoImageProcessor.
PROCESSORS = {
    "dinov2-b-facebook": {**DINOV2, "size": {"shortest_edge": 518}, "crop_size": {"height": 518, "width": 518}},
    "phikon-v2": {**DINOV2, "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}},
    "rad-dino": {
        **DINOV2,
        "size": {"shortest_edge": 518},
        "crop_size": {"height": 518, "width": 518},
        "image_mean": [0.5307] * 3,
        "image_std": [0.2583] * 3,
    },
    "dinov3-b-facebook": {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "resample": 2,
        "size": {"height": 256, "width": 256},
    },
    "medsiglip": {
        "image_processor_type": "SiglipImageProcessor",
        "resample": 2,
        "size": {"height": 448, "width": 448},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    },
}
for _name in ("dinov2-b-facebook", "phikon-v2", "dinov3-b-facebook"):
    PROCESSORS[_name] |= {"image_mean": list(IMAGENET["mean"]), "image_std": list(IMAGENET["std"])}
CLIP = ("biomedclip", "biomedclip-trunk")
#: The authors cut the margin of each image off, and medssl shows all of it unless it is asked to do the same.
MARGIN = dict.fromkeys(("efficientnet-lite0", "retfound-cfp", "retfound-oct", "retfound-dinov2"), 0.875)
#: The processor resizes floating-point numbers, and medssl whole grey levels, so up to a level is lost.
UNROUNDED = ("dinov3-b-facebook",)


def test_every_row_of_the_catalogue_is_compared():
    assert {*TIMM, *PROCESSORS, *CLIP} == {*ROWS}


def described(name, hub):
    """The card of a row, from the authors' files on a hub where the catalogue leaves it to them."""
    entry = CATALOG.entry("encoder", name)
    place = f"/{entry['options']['repository']}/resolve/main/"
    if name in PROCESSORS:
        hub.files[place + "config.json"] = b'{"model_type": "dinov2"}'
        hub.files[place + "preprocessor_config.json"] = json.dumps(PROCESSORS[name]).encode()
    else:
        known = TIMM.get(name, {})
        values = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {**known, "input_size": [3, 224, 224]}}
        hub.files[place + "config.json"] = json.dumps(values).encode()
    if name == "midnight-12k":  # its repository has no preprocessor_config.json of its own values
        hub.files[place + "config.json"] = b'{"model_type": "dinov2"}'
        hub.files[place + "preprocessor_config.json"] = b'{"resample": 2}'
    choice = choose("encoder", name, {"weights": None, **({"crop": MARGIN[name]} if name in MARGIN else {})}, CATALOG)
    return choice.plugin(choice.config, choice.facts).card


def photograph(height, width):
    """Smooth colours, edges and noise, and no square."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / 97
    smooth = np.stack([np.sin(x + 2 * y), np.cos(3 * x - y), np.sin(x * y / 4)], axis=2) * 90 + 128
    smooth[height // 3 : height // 2, width // 4 : width // 2] = (240, 30, 60)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def by_steps(transform, pixels):
    """Resize and cut with the steps of the library on a tensor of whole grey levels."""
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    resize, cut = transform.transforms[:2]
    size = resize.size if isinstance(resize.size, int) else list(resize.size)
    levels = cut(F.resize(tensor, size, interpolation=resize.interpolation, antialias=True)) / 255
    last = transform.transforms[-1]
    mean, std = (torch.as_tensor(value)[:, None, None] for value in (last.mean, last.std))
    return (levels - mean) / std, std


def of_authors(name, size, pixels, folder):
    """Return the tensor of the authors' library, and for Pillow's own resizing another one or ``None``."""
    if name in PROCESSORS:
        library = pytest.importorskip("transformers")
        (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[name]))
        processor = library.AutoImageProcessor.from_pretrained(folder)
        return processor(images=Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0], None, None
    if name in CLIP:
        library = pytest.importorskip("open_clip")
        transform = library.image_transform(size, is_train=False)
    else:
        transform = create_transform(input_size=(3, size, size), **{"crop_pct": 1.0, **TIMM[name]})
    tensor, std = by_steps(transform, pixels)
    return tensor, transform(Image.fromarray(pixels)), std


def with_even_margin(pixels, size):
    """Leave out columns: where a margin is odd, transformers and torchvision cut a pixel apart."""
    height, width = pixels.shape[:2]
    assert height <= width
    return next(pixels[:, :w] for w in range(width, height, -1) if (size * w // height - size) % 2 == 0)


def assert_as_by_the_authors(name, card, pixels, folder):
    size = card.image_size or 224
    pixels = with_even_margin(pixels, size) if name in PROCESSORS else pixels
    found = Transform(size, card.preprocessing)(pixels)
    expected, by_pillow, std = of_authors(name, size, pixels, folder)
    assert found.shape == expected.shape == (3, size, size)
    most = 1 / 255 / min(card.preprocessing.std) if name in UNROUNDED else 1e-5
    assert (found - expected).abs().max() < most
    if by_pillow is not None:  # rounds in another way: fewer than 1 in 20 values are one grey level apart
        apart = (by_pillow - found).abs() * std * 255
        assert apart.max() < 1.01
        assert (apart > 0.01).float().mean() < 0.05


@pytest.mark.parametrize("name", ROWS)
def test_images_are_prepared_as_by_the_authors_library(name, hub, tmp_path):
    card = described(name, hub)
    short = min(540, 2 * (card.image_size or 224))
    assert_as_by_the_authors(name, card, photograph(short, short * 3 // 2 - 1), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_real_images_are_prepared_as_by_the_authors_library(name, hub, tmp_path, real_data):
    folder = real_data("pneumonia_fullsize")
    path = min(p for p in folder.rglob("*") if p.suffix.lower() in (".jpeg", ".jpg", ".png"))
    card = described(name, hub)
    image = Image.open(path).convert("RGB")
    scale = min(1, 2 * (card.image_size or 224) / min(image.size))
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BOX)
    assert_as_by_the_authors(name, card, np.array(image), tmp_path)


@pytest.mark.parametrize("name", MARGIN)
def test_margin_is_shown_unless_it_is_cut_on_request(name, hub):
    assert described(name, hub).preprocessing.crop == MARGIN[name]
    choice = choose("encoder", name, {"weights": None}, CATALOG)
    assert choice.plugin(choice.config, choice.facts).card.preprocessing.crop == 1


# ------------------------------------------------------------------------------------------------------------ squashing


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(90, 70), (110, 170), (56, 56)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_squashed_image_equals_timms(interpolation, shape, crop, monkeypatch):
    pixels = photograph(*shape)
    expects = Preprocessing(**IMAGENET, interpolation=interpolation, crop=crop, fit="squash")
    settings = {"input_size": (3, 56, 56), **IMAGENET, "interpolation": interpolation, "crop_pct": crop}
    theirs, std = by_steps(create_transform(**settings, crop_mode="squash"), pixels)
    found = Transform(56, expects)(pixels)
    assert (found - theirs).abs().max() < 1e-5
    monkeypatch.setattr(engine, "centres_one_by_one", engine.centres_at_once)  # as on a GPU
    assert ((Transform(56, expects)(pixels) - found).abs() * std * 255).max() < 2.01


def test_a_cut_changes_no_hash_and_squashing_does():
    assert "fit" not in Preprocessing(**IMAGENET).described()
    assert Preprocessing(**IMAGENET, fit="squash").described()["fit"] == "squash"


def test_timms_squash_is_taken_over_and_can_be_overridden(hub):
    values = {"architecture": "test_vit", "pretrained_cfg": {"crop_mode": "squash", "input_size": [3, 64, 64]}}
    hub.files["/lab/tiny/resolve/main/config.json"] = json.dumps(values).encode()
    for given, fit in (({}, "squash"), ({"fit": "crop"}, "crop")):
        choice = choose("encoder", "hub", {"repository": "lab/tiny", "weights": None, **given}, CATALOG)
        assert choice.plugin(choice.config, choice.facts).card.preprocessing.fit == fit
