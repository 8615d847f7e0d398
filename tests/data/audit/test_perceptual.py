"""Near-duplicates: what counts as one, and the arithmetic beside scipy's and a loop's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, uniform_filter

from medssl.data.audit import perceptual
from medssl.data.audit.perceptual import THUMBNAIL, near_pairs
from medssl.tools.images import SYMMETRIES, turn

TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)


def texture(seed, size=200, sigma=3.0):
    """A picture with details, as a tissue has."""
    rng = np.random.default_rng(seed)
    x = sum(gaussian_filter(rng.standard_normal((size, size)), sigma * k) * sigma * k for k in (1, 4, 8))
    return Image.fromarray(np.uint8(np.clip(128 + 60 * x / x.std() / 1.5, 0, 255)))


def thumbs(*pictures):
    return np.stack(
        [
            np.asarray(Image.fromarray(np.asarray(p, np.float32)).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
            for p in pictures
        ]
    )


def recoded(picture, quality):
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=quality)
    return Image.open(file)


# ----------------------------------------------------------------------------------------------------- what is a copy


@pytest.mark.parametrize(
    "change",
    [
        lambda p: recoded(p, 30),
        lambda p: p.resize((90, 120), Image.Resampling.BILINEAR),
        lambda p: p.point(lambda v: 40 + 0.6 * v),
        lambda p: p.crop((2, 2, 198, 198)),
        lambda p: recoded(p.resize((150, 150)), 60).transpose(Image.Transpose.ROTATE_90),
    ],
    ids=["re-encoded", "resized", "greyer", "without its rim", "all at once"],
)
def test_a_changed_copy_is_found_among_other_pictures(change):
    pictures = [texture(seed) for seed in range(20)]
    pairs = near_pairs(thumbs(*pictures, change(pictures[7])))
    assert [pair[:2] for pair in pairs] == [(7, 20)]


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_a_copy_that_was_turned_by_right_angles_or_mirrored_is_found(turn):
    picture = texture(1, size=3 * THUMBNAIL)  # three pixels make one of the thumbnail, from whichever side
    (pair,) = near_pairs(thumbs(picture, texture(2), picture if turn is None else picture.transpose(turn)))
    assert pair[:2] == (0, 2)
    assert pair.similarity == pytest.approx(1, abs=1e-3)
    assert pair.turned == (turn is not None)


def test_pictures_with_the_same_light_and_other_details_are_no_copies():
    """Two radiographs of different children: lungs and heart lie alike, vessels and ribs do not."""
    shape = np.asarray(texture(0, sigma=12), np.float32)
    pictures = [np.clip(shape + 0.4 * (np.asarray(texture(seed)) - 128.0), 0, 255) for seed in range(1, 9)]
    some = thumbs(*pictures)
    candidates = [pair for block in perceptual._candidates(*[perceptual._low_frequencies(some)] * 2) for pair in block]
    assert sum(map(len, candidates)) > 0
    assert near_pairs(some) == []


def test_pictures_without_details_are_no_copies_of_each_other():
    slope = np.tile(np.linspace(0, 255, THUMBNAIL, dtype=np.float32), (THUMBNAIL, 1))
    noise = np.random.default_rng(0).normal(240, 0.3, (2, THUMBNAIL, THUMBNAIL)).astype(np.float32)
    assert near_pairs(np.concatenate([np.full((3, THUMBNAIL, THUMBNAIL), 7, np.float32), noise, slope[None]])) == []


def test_no_pictures_have_no_copies():
    assert near_pairs(np.zeros((0, THUMBNAIL, THUMBNAIL), np.float32)) == []


def test_every_pair_of_several_copies_is_named_once_in_order():
    picture = texture(3)
    copies = [picture, texture(4), picture, picture.rotate(180), texture(5)]
    assert [pair[:2] for pair in near_pairs(thumbs(*copies))] == [(0, 2), (0, 3), (2, 3)]


# ------------------------------------------------------------------------------------------------------ the arithmetic


def test_frequencies_are_those_of_scipys_cosine_transform():
    some = thumbs(*(texture(seed) for seed in range(3)))
    half = some.reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    theirs = dctn(half, axes=(1, 2))[:, 1:9, 1:9] / 4
    np.testing.assert_allclose(perceptual._low_frequencies(some), theirs, rtol=1e-3, atol=0.5)


@pytest.mark.parametrize("way", SYMMETRIES)
def test_frequencies_of_a_turned_picture_are_the_turned_frequencies(way):
    some = thumbs(texture(0), texture(1))
    turned = perceptual._low_frequencies(np.ascontiguousarray(turn(some, *way)))
    ours = perceptual._turn_frequencies(perceptual._low_frequencies(some), *way)
    np.testing.assert_allclose(ours, turned, atol=0.5)


def test_details_are_what_a_mean_over_nine_pixels_leaves():
    some = thumbs(*(texture(seed) for seed in range(3)))
    theirs = some - uniform_filter(some, (0, 9, 9), mode="nearest")
    np.testing.assert_allclose(perceptual.details(some), theirs, atol=0.02)


def test_candidates_are_all_pairs_that_differ_in_ten_bits_at_most():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((700, 8, 8)).astype(np.float32)
    x[350:] = x[:350] + rng.uniform(0, 1.5, (350, 1, 1)).astype(np.float32) * rng.standard_normal((350, 8, 8))
    found = {pair for i, j in perceptual._candidates(x, x) for pair in zip(i.tolist(), j.tolist(), strict=True)}
    flat = x.reshape(700, 64)
    bits = flat > np.median(flat, axis=1, keepdims=True)
    differ = (bits[:, None] != bits[None]).sum(axis=2)
    wanted = {(i, j) for i, j in np.argwhere(differ <= 10).tolist() if i < j}
    assert found == wanted
    assert 50 < len(wanted) < 350


def test_similarity_is_the_correlation_of_the_details():
    picture = texture(6)
    some = thumbs(picture, recoded(picture, 10))
    (pair,) = near_pairs(some)
    details = [thumb - uniform_filter(thumb, 9, mode="nearest") for thumb in some]
    assert pair.similarity == pytest.approx(np.corrcoef(details[0].ravel(), details[1].ravel())[0, 1], abs=1e-3)


def test_a_common_frame_does_not_make_two_pictures_alike() -> None:
    """Two fundus photographs: different inside, the same black frame around a disc."""
    y, x = np.mgrid[:200, :200] - 99.5
    inside = x**2 + y**2 <= 98**2

    def photograph(seed, noise=0):
        fine = np.random.default_rng(noise).normal(0, 1, (200, 200)) if noise else 0
        return np.where(inside, 90 + (np.asarray(texture(seed), np.float32) - 128) / 6 + fine, 2)

    one, other, again = photograph(0), photograph(1), photograph(0, noise=5)
    assert [pair[:2] for pair in near_pairs(thumbs(one, other, again))] == [(0, 2)]
    masked = perceptual.near_frame(thumbs(one))[0]
    assert masked[0].all()
    assert not masked[20:44, 20:44].any()


def test_a_picture_without_a_frame_is_not_masked() -> None:
    assert not perceptual.near_frame(thumbs(*(texture(seed) for seed in range(8)))).any()
