"""Views: the whole way from a store to normalised batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import functional as F

from medssl.contracts import HALF, IMAGENET, Augmentation, Preprocessing, ViewGroup, ViewSpec
from medssl.data.store.windows import own_window
from medssl.data.views import PlainViews, Views, ops
from medssl.data.views import engine as module
from medssl.data.views.draws import uniforms
from medssl.data.views.operation import Operation, Parameters, change_some
from medssl.data.views.ops.jitter import BRIGHTNESS, CONTRAST, HUE, SATURATION
from medssl.errors import PluginError

STILL = Augmentation(crop_scale=(1, 1), crop_ratio=(1, 1), horizontal_flip=0, jitter=0, greyscale=0, blur=0)
RICH = Augmentation(vertical_flip=0.5, rotate90=0.6, solarise=0.3, greyscale=0.3)
DOMAIN = dataclasses.replace(
    RICH,
    rotation=30,
    window=(20, 230),
    window_jitter=0.5,
    gamma=0.5,
    stain=0.5,
    stain_scale=0.2,
    stain_shift=0.2,
    noise=0.5,
)
LEVEL = 1 / 255


class Store:
    """Images in memory, with what views need of a store."""

    levels = None

    def __init__(self, images: list[np.ndarray]) -> None:
        self.dtype, self.channels = images[0].dtype, images[0].shape[2]
        self.shapes = np.array([image.shape[:2] for image in images], dtype=np.int32)
        self.pixels = np.concatenate([image.reshape(-1) for image in images])
        self.pixels.flags.writeable = False  # as a memory map is


def make_images(shapes: list[tuple[int, int]], channels: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Smooth images with some noise, uint8."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for height, width in shapes:
        coarse = torch.rand(1, channels, 6, 6, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
        noisy = (smooth + 0.03 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)
        images.append(np.ascontiguousarray((noisy * 255).byte().permute(1, 2, 0).numpy()))
    return images


EVEN = make_images([(50, 60)] * 24)
RAGGED = make_images([(50, 60), (64, 40), (37, 90), (120, 45)] * 6)
TINY = make_images([(28, 28)] * 24)
STORES = {"even": EVEN, "ragged": RAGGED, "tiny": TINY}


def make_views(images: list[np.ndarray], augmentation: Augmentation = RICH, **changes) -> Views:
    settings = {"image_size": 32, "seed": 5, "device": "cpu", "preprocessing": IMAGENET, **changes}
    spec = settings.pop("spec", ViewSpec())
    return Views(Store(images), np.arange(len(images)), spec, augmentation, **settings)


def drawn(views: Views, epoch: int, number: int) -> Parameters:
    """What was drawn for one view of every image, with the seed 5."""
    (group,) = views._groups
    places = np.arange(len(views))
    return group.draw(uniforms(5, epoch, np.array([number]), places, group.columns)[0], places)


def levels(view: Tensor) -> Tensor:
    """Undo the normalisation: 0 to 255."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (view.permute(0, 2, 3, 1) * deviation + mean) * 255


@pytest.fixture
def at_once(monkeypatch):
    """Make views on the CPU the way a GPU makes them."""
    monkeypatch.setattr(module, "fill_in_pieces", module.fill_at_once)
    monkeypatch.setattr(module, "centres_one_by_one", module.centres_at_once)


# ---------------------------------------------------------------------------------------------- against torchvision


def by_torchvision(image: np.ndarray, p: Parameters, i: int, size: int, *, pil: bool = True) -> np.ndarray:
    """The same view made by torchvision's functions, one after the other; colour on the PIL image or on a tensor."""
    x = Image.fromarray(image)
    x = F.resized_crop(x, *(int(p[name][i]) for name in ("top", "left", "height", "width")), [size, size])
    x = F.hflip(x) if p["mirror"][i] else x
    x = F.vflip(x) if p["upend"][i] else x
    x = x.transpose(Image.Transpose.TRANSPOSE) if p["transpose"][i] else x
    x = x if pil else F.to_tensor(x)
    operations = {
        BRIGHTNESS: F.adjust_brightness,
        CONTRAST: F.adjust_contrast,
        SATURATION: F.adjust_saturation,
        HUE: F.adjust_hue,
    }
    for kind in p["order"][i] if "jitter" in p and p["jitter"][i] else []:
        x = operations[int(kind)](x, float(p["factors"][i, kind]))
    x = F.rgb_to_grayscale(x, 3) if "grey" in p and p["grey"][i] else x
    x = F.gaussian_blur(x, [23, 23], [float(p["sigma"][i])] * 2) if "sigma" in p and p["sigma"][i] > 0 else x
    return np.asarray(x).astype(np.float32) if pil else x.permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("way", ["in pieces", "at once"])
@pytest.mark.parametrize(
    ("pil", "hue", "mean", "most"),
    [
        (False, 0.1, 0.6, 8),  # a level or two of rounding when resized, stretched by the jitter
        (True, 0.0, 2.5, 14),  # PIL cuts to whole levels after every operation; its hue is too coarse to compare with
    ],
)
def test_views_are_those_of_torchvision_with_the_same_parameters(store, way, pil, hue, mean, most, request):
    if way == "at once":
        request.getfixturevalue("at_once")
    images, size = STORES[store], 32
    recipe = dataclasses.replace(RICH, solarise=0, hue=hue)  # a threshold would turn one level into 255
    views = make_views(images, recipe)
    views.start_epoch(2)
    made = views(torch.arange(len(images)))
    for number, view in enumerate(made):
        p = drawn(views, epoch=2, number=number)
        for i, (image, mine) in enumerate(zip(images, levels(view).numpy(), strict=True)):
            difference = np.abs(mine - by_torchvision(image, p, i, size, pil=pil))
            assert difference.mean() < mean, (number, i)
            assert difference.max() < most, (number, i)


def test_views_before_colour_are_within_a_grey_level_of_torchvisions():
    recipe = dataclasses.replace(RICH, jitter=0, greyscale=0, blur=0, solarise=0)
    views = make_views(RAGGED, recipe)
    made = views(torch.arange(24))
    p = drawn(views, epoch=0, number=1)
    assert p["transpose"].any()
    assert p["mirror"].any()
    for i, mine in enumerate(levels(made[1]).numpy()):
        assert np.abs(mine - by_torchvision(RAGGED[i], p, i, 32)).max() < 1.01


@pytest.mark.parametrize("way", ["in pieces", "at once"])
@pytest.mark.parametrize("store", STORES)
def test_plain_views_equal_torchvisions_resize_and_centre_crop(store, way, request):
    if way == "at once":
        request.getfixturevalue("at_once")
    images, size = STORES[store], 24
    plain = PlainViews(Store(images), np.arange(len(images)), image_size=size, device="cpu", preprocessing=IMAGENET)(
        torch.arange(len(images))
    )
    assert plain.shape == (len(images), 3, size, size)
    assert plain.is_contiguous(memory_format=torch.channels_last)
    for image, mine in zip(images, levels(plain).numpy(), strict=True):
        expected = F.center_crop(F.resize(Image.fromarray(image), size), [size, size])
        assert np.abs(mine - np.asarray(expected)).max() < 1.6


# -------------------------------------------------------------------------------------------- what a view depends on


@pytest.mark.parametrize("recipe", [RICH, DOMAIN], ids=["rich", "domain"])
@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("store", STORES)
def test_a_view_has_the_same_bits_in_whatever_batch_and_order_it_comes(store, size, recipe):
    views = make_views(STORES[store], recipe, image_size=size)
    whole = views(torch.arange(24))
    for positions in (torch.tensor([7]), torch.tensor([23, 0, 11, 7, 4]), torch.arange(23, -1, -1)):
        for view, complete in zip(views(positions), whole, strict=True):
            assert torch.equal(view, complete[positions])


@pytest.mark.parametrize(("size", "recipe"), [(32, RICH), (200, RICH), (32, DOMAIN)])
@pytest.mark.parametrize("store", STORES)
def test_the_number_of_threads_does_not_change_a_bit(store, size, recipe):
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(make_views(STORES[store], recipe, image_size=size)(torch.arange(5)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))


def test_another_object_with_the_same_seed_and_epoch_makes_the_same_views():
    views, again = make_views(EVEN), make_views(EVEN)
    views.start_epoch(1)
    views(torch.arange(4))
    views.start_epoch(3)
    again.start_epoch(3)
    assert torch.equal(views(torch.arange(8))[1], again(torch.arange(8))[1])


def test_epoch_seed_sample_and_view_change_the_view():
    same = make_views([EVEN[0]] * 2)
    one = same(torch.tensor([0]))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(same(torch.tensor([1]))[0], one[0])
    assert not torch.equal(make_views([EVEN[0]] * 2, seed=6)(torch.tensor([0]))[0], one[0])
    same.start_epoch(1)
    assert not torch.equal(same(torch.tensor([0]))[0], one[0])


def test_a_position_counts_within_the_part_not_within_the_store():
    part = Views(Store(EVEN), [20, 3], ViewSpec(), RICH, image_size=32, seed=5, device="cpu", preprocessing=IMAGENET)
    alone = make_views([EVEN[20], EVEN[3]])
    assert len(part) == 2
    assert torch.equal(part(torch.tensor([1, 0]))[0], alone(torch.tensor([1, 0]))[0])


def test_global_random_numbers_are_neither_used_nor_changed():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must stay
    make_views(EVEN)(torch.arange(4))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002 - likewise


def test_samples_of_a_batch_differ_although_their_image_is_the_same():
    jitter_only = dataclasses.replace(STILL, jitter=1)
    view = make_views([EVEN[0]] * 16, jitter_only)(torch.arange(16))[0]
    assert len(torch.unique(view.mean((1, 2, 3)))) == 16


# ------------------------------------------------------------------------------------------------------- operations


def test_nothing_drawn_leaves_the_resized_image():
    square = make_images([(40, 40)] * 3)
    still = make_views(square, STILL)(torch.arange(3))
    plain = PlainViews(Store(square), np.arange(3), image_size=32, device="cpu", preprocessing=IMAGENET)
    for view in still:
        assert torch.equal(view, plain(torch.arange(3)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"horizontal_flip": 1}, lambda x: x.flip(3)),
        ({"vertical_flip": 1}, lambda x: x.flip(2)),
        ({"solarise": 1, "solarise_threshold": 0.0}, lambda x: 1 - x),
    ],
)
def test_probability_one_always_applies_the_operation(change, expected):
    plain, changed = (
        make_views(EVEN, recipe, preprocessing=HALF)(torch.arange(24))[0] * 0.5 + 0.5
        for recipe in (STILL, dataclasses.replace(STILL, **change))
    )
    assert torch.allclose(changed, expected(plain), atol=1e-6)


@pytest.mark.parametrize(
    "weak",
    [
        {"jitter": 1, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0},
        {"gamma": 1, "gamma_range": (1, 1)},
        {"stain": 1, "stain_scale": 0, "stain_shift": 0},
        {"noise": 1, "noise_sigma": (0, 0)},
    ],
)
def test_an_operation_of_no_strength_changes_nothing(weak):
    weak = dataclasses.replace(STILL, **weak)
    assert torch.equal(make_views(EVEN, weak)(torch.arange(5))[0], make_views(EVEN, STILL)(torch.arange(5))[0])


class Invert(Operation):
    """An operation that the engine has never heard of: half of the views are inverted."""

    fields, columns = (), slice(52, 53)

    @classmethod
    def of(cls, augmentation, scene):
        return cls()

    def draw(self, u, places):
        return {"invert": u[0] < 0.5}

    def apply(self, x, piece):
        return change_some(x, piece.parameters["invert"], lambda some, rows: 1 - some)


@pytest.mark.parametrize("way", ["in pieces", "at once"])
def test_an_operation_needs_no_more_than_its_line_in_the_list(way, monkeypatch, request):
    if way == "at once":
        request.getfixturevalue("at_once")
    before = make_views(EVEN, STILL, preprocessing=HALF)(torch.arange(24))[0]
    monkeypatch.setattr(ops, "OPERATIONS", (*ops.OPERATIONS, Invert))
    views = make_views(EVEN, STILL, preprocessing=HALF)
    inverted = torch.from_numpy(drawn(views, epoch=0, number=0)["invert"])
    assert 4 < inverted.sum() < 20
    sign = torch.where(inverted, -1.0, 1.0)[:, None, None, None]
    assert torch.allclose(views(torch.arange(24))[0], sign * before, atol=1e-6)


@pytest.mark.parametrize("only", ["brightness", "contrast", "saturation", "hue"])
def test_each_operation_of_the_jitter_works_without_the_others(only):
    alone = dataclasses.replace(
        STILL, jitter=1, **{"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, only: 0.4}
    )
    view, still = (make_views(EVEN, recipe)(torch.arange(5))[0] for recipe in (alone, STILL))
    assert ((view - still).abs().amax((1, 2, 3)) > 0.01).all()


# Stains are logarithms: next to black, one grey level of a colour that no slide has becomes many.
SHARES = pytest.mark.parametrize(("recipe", "share"), [(RICH, 0), (DOMAIN, 1e-3)], ids=["rich", "domain"])


@SHARES
@pytest.mark.parametrize("size", [32, 40])
def test_both_ways_of_making_a_batch_agree(size, recipe, share, monkeypatch):
    recipe = dataclasses.replace(recipe, solarise=0)
    for images in STORES.values():
        in_pieces = make_views(images, recipe, image_size=size)(torch.arange(24))
        with monkeypatch.context() as patch:
            patch.setattr(module, "fill_in_pieces", module.fill_at_once)
            at_once = make_views(images, recipe, image_size=size)(torch.arange(24))
        for one, other in zip(in_pieces, at_once, strict=True):
            difference = (levels(one) - levels(other)).abs()
            assert difference.mean() < 0.5
            assert (difference > 10).float().mean() <= share  # a grey level of the crop, stretched by the jitter


# ---------------------------------------------------------------------------------------------------------- sources


def test_ragged_images_give_the_views_of_images_of_one_size():
    ragged = make_views([*EVEN, *make_images([(80, 33)])], image_size=40)
    assert torch.equal(ragged(torch.arange(24))[0], make_views(EVEN, image_size=40)(torch.arange(24))[0])


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resident_pixels_give_the_same_bits_as_the_memory_map(store, dtype):
    images = [image.astype(dtype) for image in STORES[store]]
    mapped, resident = (make_views(images, resident=resident) for resident in (False, True))
    assert resident.pixels.pool.data_ptr() != mapped.pixels.pool.data_ptr()
    for one, other in zip(mapped(torch.arange(24)), resident(torch.arange(24)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_streamed_pixels_give_the_same_bits_as_resident_ones(store, dtype, at_once):
    images = [image.astype(dtype) for image in STORES[store]]
    streamed, resident = make_views(images), make_views(images, resident=True)
    streamed.pixels.streamed = True  # as on a GPU that has no room
    positions = torch.tensor([5, 2, 20, 2])
    for one, other in zip(streamed(positions), resident(positions), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("store", STORES)
def test_sixteen_bits_give_the_views_of_eight(store):
    fine = [image.astype(np.uint16) * 257 for image in STORES[store]]
    recipe = dataclasses.replace(RICH, jitter=0, solarise=0)
    for one, other in zip(*(make_views(x, recipe)(torch.arange(24)) for x in (fine, STORES[store])), strict=True):
        assert (levels(one) - levels(other)).abs().max() < 1.1  # eight bits are rounded once more


@pytest.mark.parametrize("way", ["in pieces", "at once"])
def test_sixteen_bits_reach_from_black_to_white(way, request):
    if way == "at once":
        request.getfixturevalue("at_once")
    image = np.array([[0, 32767], [32768, 65535]], dtype=np.uint16)[..., None]
    view = make_views([image] * 2, STILL, image_size=2, preprocessing=HALF)(torch.arange(2))[0] * 0.5 + 0.5
    assert view[0, 0].flatten().tolist() == pytest.approx([0, 32767 / 65535, 32768 / 65535, 1], abs=1e-6)


TWELVE_BITS = [image[..., :1].astype(np.uint16) * 16 for image in EVEN]  # of 65,535 grey levels the lowest 4,080


class DeepStore(Store):
    """Images of more than eight bits, each with the window that a store notes."""

    def __init__(self, images):
        super().__init__(images)
        self.levels = np.array([own_window(image) for image in images])


def test_twelve_bits_in_a_file_of_sixteen_are_not_black():
    store = DeepStore(TWELVE_BITS)
    settings = {"image_size": 32, "device": "cpu", "preprocessing": HALF}
    plain = PlainViews(store, np.arange(24), **settings)(torch.arange(24)) * 0.5 + 0.5
    view = Views(store, np.arange(24), ViewSpec(), STILL, seed=0, **settings)(torch.arange(24))[0] * 0.5 + 0.5
    store.levels = None
    dark = PlainViews(store, np.arange(24), **settings)(torch.arange(24)) * 0.5 + 0.5
    assert dark.mean() < 0.05
    assert 0.3 < plain.mean() < 0.7
    assert 0.3 < view.mean() < 0.7
    assert (plain.amax((1, 2, 3)) > 0.9).all()


@pytest.mark.parametrize("way", ["in pieces", "at once"])
@pytest.mark.parametrize("window", [None, (500, 3000)])
@pytest.mark.parametrize("images", [TWELVE_BITS, EVEN], ids=["twelve bits", "eight bits"])
def test_evaluation_sees_the_window_that_random_views_see(images, window, way, request):
    if way == "at once":
        request.getfixturevalue("at_once")
    window = window and (window if images[0].dtype == np.uint16 else (30, 190))
    square = [image[:50, :50] for image in images]
    store = DeepStore(square) if images is TWELVE_BITS else Store(square)
    settings = {"image_size": 50, "device": "cpu", "preprocessing": HALF}
    plain = PlainViews(store, np.arange(24), window=window, **settings)(torch.arange(24)) * 0.5 + 0.5
    recipe = dataclasses.replace(STILL, window=window)
    view = Views(store, np.arange(24), ViewSpec(), recipe, seed=0, **settings)(torch.arange(24))[0] * 0.5 + 0.5
    assert torch.allclose(view, plain, atol=1e-6)
    for image, mine, own in zip(square, plain, store.levels if images is TWELVE_BITS else [(0, 255)] * 24, strict=True):
        low, high = window or own
        expected = ((image.astype(np.float64) - low) / (high - low)).clip(0, 1)
        np.testing.assert_allclose(mine.permute(1, 2, 0).numpy(), np.broadcast_to(expected, (50, 50, 3)), atol=1e-5)


@pytest.mark.parametrize("store", ["even", "tiny"])
def test_a_grey_store_gives_the_views_of_the_same_images_in_colour(store):
    grey = [image[..., :1] for image in STORES[store]]
    colour = [np.repeat(image, 3, axis=2) for image in grey]
    for one, other in zip(*(make_views(x)(torch.arange(24)) for x in (grey, colour)), strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 1e-4


# ------------------------------------------------------------------------------------------------------------ shapes


def test_groups_come_in_their_order_with_sizes_and_augmentations_of_their_own():
    spec = ViewSpec(
        (ViewGroup(count=2), ViewGroup(count=3, scale=0.43, augment={"solarise": 1, "solarise_threshold": 0}))
    )
    views = make_views(EVEN, STILL, image_size=56, spec=spec, preprocessing=HALF)(torch.tensor([3, 1]))
    assert [tuple(view.shape) for view in views] == [(2, 3, 56, 56)] * 2 + [(2, 3, 24, 24)] * 3
    small = make_views(EVEN, STILL, image_size=24, preprocessing=HALF)(torch.tensor([3, 1]))[0]
    assert torch.allclose(views[3], -small, atol=1e-6)


def test_the_views_of_a_group_lie_in_one_piece_channels_last():
    views = make_views(EVEN)(torch.arange(4))
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in views)
    assert views[1].data_ptr() - views[0].data_ptr() == views[0].nbytes
    assert views[0].dtype == torch.float32


@pytest.mark.parametrize("store", STORES)
def test_another_type_is_the_cast_of_float32(store):
    images = STORES[store]
    exact, cast = (make_views(images, dtype=dtype)(torch.arange(4))[0] for dtype in (torch.float32, torch.bfloat16))
    assert cast.dtype == torch.bfloat16
    assert torch.equal(cast, exact.bfloat16())


OWN = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))


@pytest.mark.parametrize(
    ("preprocessing", "mean", "deviation"),
    [
        (IMAGENET, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (HALF, [0.5] * 3, [0.5] * 3),
        (OWN, [0.1, 0.2, 0.3], [0.5, 1, 2]),
    ],
    ids=["imagenet", "half", "own"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_subtracts_the_mean_and_divides_by_the_deviation(preprocessing, mean, deviation, channels):
    images = [np.full((8, 8, channels), 51, dtype=np.uint8)]
    view = make_views(images, STILL, image_size=8, preprocessing=preprocessing)(torch.tensor([0]))[0]
    expected = F.normalize(torch.full((3, 8, 8), 0.2), mean, deviation)
    assert torch.allclose(view[0], expected, atol=1e-6)


def test_an_augmentation_field_nobody_knows_is_refused_with_the_closest():
    with pytest.raises(
        PluginError, match=r"unknown augmentation field 'solarize' in its views\. Did you mean 'solarise'"
    ):
        make_views(EVEN, spec=ViewSpec((ViewGroup(augment={"solarize": 0.2}),)))


def test_a_range_that_a_method_turned_round_is_its_fault():
    with pytest.raises(PluginError, match=r"crop_scale: expected \[low, high\] with 0 < low <= high <= 1, got \[0.9"):
        make_views(EVEN, spec=ViewSpec((ViewGroup(augment={"crop_scale": (0.9, 0.1)}),)))


@pytest.mark.parametrize("group", [ViewGroup(count=0), ViewGroup(scale=0.01)])
def test_views_of_no_pixel_or_number_are_refused(group):
    with pytest.raises(PluginError, match="a group of views has"):
        make_views(EVEN, spec=ViewSpec((group,)))


def test_a_part_without_images_has_length_zero():
    plain = PlainViews(Store(EVEN), [], image_size=16, device="cpu", preprocessing=HALF)
    assert len(plain) == 0


# ------------------------------------------------------------------------------------------------------------ device


class NothingReadBack(TorchDispatchMode):
    """Raises where a program would wait for a GPU's answer."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "equal")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not func.__name__.split(".")[0].startswith(self.waiting), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("store", STORES)
def test_nothing_is_read_back_from_the_device(store, at_once):
    views = make_views(STORES[store], DOMAIN)
    plain = PlainViews(Store(STORES[store]), np.arange(24), image_size=24, device="cpu", preprocessing=HALF)
    with NothingReadBack():
        views(torch.arange(8))
        views.geometry(torch.arange(8))
        plain(torch.arange(8))


def test_the_guard_against_reading_back_notices_it():
    with NothingReadBack(), pytest.raises(AssertionError):
        torch.ones(1).item()


@pytest.mark.gpu
@SHARES
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("store", STORES)
def test_a_gpu_makes_the_views_of_the_cpu_without_being_waited_for(store, resident, recipe, share):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    recipe = dataclasses.replace(recipe, solarise=0)
    on_gpu = make_views(STORES[store], recipe, device="cuda", resident=resident)
    on_gpu(torch.arange(24))
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = on_gpu(torch.arange(24))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(made, make_views(STORES[store], recipe)(torch.arange(24)), strict=True):
        difference = (levels(one.cpu()) - levels(other)).abs()
        assert difference.mean() < 0.5
        assert (difference > 4).float().mean() <= share


@pytest.mark.parametrize("side", [24, 48, 128])  # at once, one after the other, side by side
def test_several_threads_make_views_in_inference_mode(side):
    """An encoder's features are computed there; threads do not inherit it."""
    images = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    expected = make_views(list(images), image_size=side)(torch.arange(8))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            found = make_views(list(images), image_size=side)(torch.arange(8))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)


def test_samples_may_have_the_random_numbers_of_different_passes():
    views, positions = make_views(RAGGED, spec=ViewSpec(geometry=True)), torch.tensor([3, 11, 3, 0])
    passes = torch.tensor([2, 0, 2**31 + 7, 2])
    mixed, places = views(positions, passes), views.geometry(positions, passes)
    for row, (at, number) in enumerate(zip(positions, passes.tolist(), strict=True)):
        views.start_epoch(number)
        for view, expected in zip(mixed, views(at[None]), strict=True):
            torch.testing.assert_close(view[row], expected[0])
        for place, expected in zip(places, views.geometry(at[None]), strict=True):
            assert torch.equal(place[row], expected[0])
