"""Near-duplicates: what counts as one, and the arithmetic beside scipy's and a loop's."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter, uniform_filter

from medssl.data.audit import perceptual
from medssl.data.audit.neighbours import count_ones
from medssl.data.audit.perceptual import THUMBNAIL
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


def near_pairs(some, folder=None):
    return perceptual.near_pairs(len(some), lambda rows: some[rows], folder)


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
    hashes = perceptual._hashes(some)[:, 0]
    assert (count_ones(hashes[:, None] ^ hashes) <= 10).sum() > len(some)
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
    theirs = dctn(some, axes=(1, 2), norm="ortho")[:, :9, :9]
    np.testing.assert_allclose(perceptual._frequencies(some, 9), theirs, rtol=1e-3, atol=0.03)


@pytest.mark.parametrize("way", SYMMETRIES)
def test_frequencies_of_a_turned_picture_are_the_turned_frequencies(way):
    some = thumbs(texture(0), texture(1))
    turned = perceptual._frequencies(np.ascontiguousarray(turn(some, *way)), 9)
    ours = perceptual._turn_frequencies(perceptual._frequencies(some, 9), *way)
    np.testing.assert_allclose(ours, turned, atol=0.03)


def test_details_are_what_a_mean_over_nine_pixels_leaves():
    some = thumbs(*(texture(seed) for seed in range(3)))
    theirs = some - uniform_filter(some, (0, 9, 9), mode="nearest")
    np.testing.assert_allclose(perceptual.details(some), theirs, atol=0.02)


def test_a_hash_has_the_frequencies_above_their_median_of_the_turned_picture():
    some = thumbs(*(texture(seed) for seed in range(3)))
    hashes = perceptual._hashes(some)
    for column, way in enumerate(SYMMETRIES):
        half = np.ascontiguousarray(turn(some, *way)).reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
        low = dctn(half, axes=(1, 2))[:, 1:9, 1:9].reshape(3, 64)
        theirs = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0]
        assert count_ones(theirs ^ hashes[:, column]).max() <= 1  # a frequency next to the median


def test_candidates_among_few_are_all_pairs_that_differ_in_ten_bits_at_most():
    rng = np.random.default_rng(0)
    bits = rng.random((200, 8, 64)) < 0.5
    bits[100:] = bits[:100, :1] ^ (rng.random((100, 8, 64)) < rng.uniform(0, 0.4, (100, 8, 1)))
    some = rng.uniform(0, 255, (200, THUMBNAIL, THUMBNAIL)).astype(np.float32)
    with ThreadPoolExecutor(1) as pool:
        search = perceptual._Search(200, lambda rows: some[rows], None, pool)
    search.hashes = np.packbits(bits, axis=2).view(np.uint64)[..., 0]
    blocks = [pairs for rows in np.split(search.kept, [80, 160]) for pairs in search._candidates(rows)]
    found = Counter(map(tuple, np.concatenate(blocks).tolist()))
    differ = (bits[:, None, :1] != bits[None]).sum(axis=3)
    wanted = Counter((i, j) for i, j, _ in np.argwhere(differ <= 10).tolist() if i < j)
    assert found == wanted
    assert 100 < sum(wanted.values()) < 700


@pytest.mark.parametrize("way", range(8))
def test_no_correlation_is_above_its_bound(way):
    """The bound is used to leave pairs out, so it must never be too low."""
    pictures = [texture(seed) for seed in range(4)]
    some = thumbs(*pictures, *(recoded(p, 20) for p in pictures), *(p.rotate(3) for p in pictures))
    with ThreadPoolExecutor(1) as pool:
        search = perceptual._Search(len(some), lambda rows: some[rows], None, pool)
    i, j = np.nonzero(np.ones((len(some), len(some))))
    fine = perceptual._fine(some)
    exact = perceptual._correlation(fine[i], turn(fine[j], *SYMMETRIES[way]))
    assert (search.upper(i, j, way) >= exact).all()


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


# ----------------------------------------------------------------------------------------------------- among many


def alter(some, rng):
    """Turn, re-encode, brighten, and add noise to thumbnails, some of them so much that they are no copies any more."""
    found = []
    for picture in some:
        grey = Image.fromarray(np.uint8(np.clip(picture, 0, 255)))
        grey = recoded(grey.transpose(TURNS[rng.integers(1, 8)]), int(rng.integers(15, 95)))
        noise = rng.normal(0, rng.uniform(0, 12), picture.shape)
        found.append(rng.uniform(-20, 20) + rng.uniform(0.6, 1.2) * np.asarray(grey, np.float32) + noise)
    return np.clip(np.stack(found), 0, 255).astype(np.float32)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_planted_copies_are_found_among_many_as_by_the_full_search(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, THUMBNAIL, THUMBNAIL)).astype(np.float32)
    x = gaussian_filter(x, (0, 1.2, 1.2)) * 60 + gaussian_filter(x, (0, 6, 6)) * 300 + 128
    some = np.concatenate([x, alter(x[:40], rng), alter(x[:20], rng)])[rng.permutation(120)]
    full = near_pairs(some)
    assert len(full) > 10
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(perceptual, "_FEW_IMAGES", 0)
        patch.setattr(perceptual, "_BLOCK", 50)
        assert near_pairs(some, Path(folder)) == full
        assert not list(Path(folder).iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["busi", "lc25000_lung", "malaria", "pneumonia", "odir5k"])
def test_findings_on_real_images_are_those_of_the_full_search(real_data, name, monkeypatch, tmp_path):
    paths = sorted(p for p in real_data(name).rglob("*") if p.suffix in (".png", ".jpg", ".jpeg"))[:1500]
    some = thumbs(*(Image.open(path).convert("L") for path in paths))
    monkeypatch.setattr(perceptual, "_FEW_IMAGES", 10**9)
    full = near_pairs(some)
    monkeypatch.setattr(perceptual, "_FEW_IMAGES", 0)
    assert near_pairs(some, tmp_path) == full
