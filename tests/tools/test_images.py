"""Every mode that an image file comes in, against what was put into the file."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from medssl.errors import DataError
from medssl.tools.images import IMAGE_SUFFIXES, SYMMETRIES, read_image, read_opened, turn

HEIGHT, WIDTH = 5, 7


def grey(dtype=np.uint8, high=255):
    return np.random.default_rng(0).integers(0, high + 1, (HEIGHT, WIDTH)).astype(dtype)


def colour():
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
def test_grey_has_one_channel(tmp_path, suffix):
    Image.fromarray(grey()).save(tmp_path / f"a{suffix}")
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, grey()[:, :, None])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_colour_has_three_channels(tmp_path, suffix):
    Image.fromarray(colour()).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), colour())


def test_lossless_webp_and_jpeg_2000(tmp_path):
    Image.fromarray(colour()).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), colour())
    Image.fromarray(colour()).save(tmp_path / "a.jp2", irreversible=False)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), colour())


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_equals_pillow(tmp_path, mode):
    image = Image.fromarray(colour()).convert(mode)
    image.save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as same:
        expected = np.asarray(same).reshape(HEIGHT, WIDTH, -1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), expected)


def test_the_suffix_does_not_matter(tmp_path):
    Image.fromarray(colour()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.jpg")), colour())


def test_equal_channels_stay_three(tmp_path):
    Image.fromarray(grey()).convert("RGB").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(grey()[:, :, None], 3, axis=2))


def test_alpha_is_dropped_even_where_it_is_transparent(tmp_path):
    alpha = grey(high=255)
    Image.fromarray(np.dstack([colour(), alpha])).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), colour())
    Image.merge("LA", [Image.fromarray(grey()), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), grey()[:, :, None])


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(200, 216))])
def test_palette_becomes_colour(tmp_path, transparency):
    colours = np.random.default_rng(2).integers(0, 256, (16, 3)).astype(np.uint8)
    index = grey(high=15)
    image = Image.fromarray(index).convert("P")
    image.putpalette(colours.tobytes())
    image.putdata(index.ravel().tolist())
    image.save(tmp_path / "a.png", **({} if transparency is None else {"transparency": transparency}))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours[index])


def test_one_bit_is_0_and_255(tmp_path):
    bits = grey() > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[:, :, 0], bits * np.uint8(255))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_grey_keeps_its_depth(tmp_path, suffix):
    values = grey(np.uint16, 65535)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[:, :, 0], values)


def test_big_endian_16_bit_tiff(tmp_path):
    values = grey(np.uint16, 65535)
    Image.frombytes("I;16B", (WIDTH, HEIGHT), values.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif")
    assert pixels.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(pixels[:, :, 0], values)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_whole_numbers_of_32_bits_become_16_bits(tmp_path, dtype):
    values = grey(np.uint16, 65535)
    Image.fromarray(values.astype(dtype)).save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif")
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels[:, :, 0], values)


@pytest.mark.parametrize("values", [[-1, 5], [0, 65536], [0.0, 0.5], [1.0, np.nan]])
def test_values_that_do_not_fit_16_bits_are_refused(tmp_path, values):
    dtype = np.int32 if isinstance(values[0], int) else np.float32
    Image.fromarray(np.array([values], dtype)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif.*whole numbers from 0 to 65535"):
        read_image(tmp_path / "a.tif")


def test_cmyk_becomes_rgb_as_pillow_converts_it(tmp_path):
    Image.fromarray(colour()).convert("CMYK").save(tmp_path / "a.tif")
    Image.fromarray(colour()).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), colour())
    assert read_image(tmp_path / "a.jpg").shape == (HEIGHT, WIDTH, 3)


UPRIGHT = {  # what the orientation says was done to the scene, undone
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.fliplr(np.rot90(a, -1)),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.fliplr(np.rot90(a, 1)),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_once(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.kron(grey(), np.ones((8, 8), np.uint8))  # JPEG keeps even blocks to within rounding
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, quality=100, lossless=True)
    pixels = read_image(tmp_path / f"a{suffix}")
    assert pixels.flags.c_contiguous
    assert pixels.shape[:2] == ((8 * WIDTH, 8 * HEIGHT) if orientation > 4 else (8 * HEIGHT, 8 * WIDTH))
    np.testing.assert_allclose(pixels[:, :, 0].astype(int), UPRIGHT[orientation](stored), atol=2)


def test_orientation_of_a_16_bit_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey(np.uint16, 65535)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[:, :, 0], np.rot90(grey(np.uint16, 65535), -1))


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_turning_reverses_columns_then_rows_then_swaps_them(kind, symmetry):
    x = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    mirror, upend, transpose = symmetry
    turned = turn(kind(x), *symmetry)
    assert tuple(turned.shape) == ((2, 4, 3) if transpose else (2, 3, 4))
    for row in range(3):
        for column in range(4):
            place = 2 - row if upend else row, 3 - column if mirror else column
            there = place[::-1] if transpose else place
            assert (np.asarray(turned)[:, there[0], there[1]] == x[:, row, column]).all()


def test_the_eight_symmetries_are_all_turns_of_a_square_and_of_its_mirror_image():
    x = np.arange(9).reshape(3, 3)
    expected = {np.rot90(side, k).tobytes() for side in (x, x[:, ::-1]) for k in range(4)}
    assert {np.ascontiguousarray(turn(x, *symmetry)).tobytes() for symmetry in SYMMETRIES} == expected
    np.testing.assert_array_equal(turn(x, True, False, True), np.rot90(x))
    assert SYMMETRIES[0] == (False, False, False)


def test_the_axes_of_rows_and_columns_may_come_first():
    x = np.arange(24).reshape(3, 4, 2)
    np.testing.assert_array_equal(turn(x, True, False, False, axes=(0, 1)), x[:, ::-1])
    np.testing.assert_array_equal(turn(x, False, True, True, axes=(0, 1)), x[::-1].swapaxes(0, 1))


def test_the_first_frame_of_several_is_read(tmp_path):
    Image.fromarray(colour()).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(colour() // 2)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), colour())


def test_the_array_is_the_callers_own(tmp_path):
    Image.fromarray(grey()).save(tmp_path / "a.png")
    read_image(tmp_path / "a.png")[:] = 0


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_a_file_cut_short_is_named(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"cut\{suffix} cannot be read as an image: .+"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (b"not an image", "cannot read its image format"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image"),
    ],
)
def test_a_file_that_is_no_image_is_named_with_the_cause(tmp_path, content, cause):
    path = tmp_path / "strange.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"strange\.png.*{cause}"):
        read_image(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png.*the file does not exist"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"cannot be read as an image: it is a folder"):
        read_image(tmp_path)


def test_a_program_in_postscript_is_not_started(tmp_path):
    Image.fromarray(colour()).save(tmp_path / "a.eps")
    with pytest.raises(DataError, match="cannot read its image format"):
        read_image(tmp_path / "a.eps")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pillows_limit_of_pixels_does_not_stop_a_scan(tmp_path, monkeypatch, suffix):
    Image.fromarray(colour()).save(tmp_path / f"a{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH // 3)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), colour())
    assert HEIGHT * WIDTH // 3 == Image.MAX_IMAGE_PIXELS


def test_an_absurd_number_of_pixels_is_refused(tmp_path, monkeypatch):
    Image.fromarray(colour()).save(tmp_path / "a.png")
    monkeypatch.setattr("medssl.tools.images.IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(DataError, match=r"a\.png.*7 x 5 pixels are more than 34"):
        read_image(tmp_path / "a.png")


def test_many_threads_read_the_same(tmp_path):
    Image.fromarray(colour()).save(tmp_path / "a.tif")
    results = []

    def work():
        results.extend(read_image(tmp_path / "a.tif") for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 160
    assert all(np.array_equal(pixels, colour()) for pixels in results)


@pytest.mark.parametrize("dataset", ["pneumonia_fullsize", "colorectal"])
def test_real_images_equal_pillow(real_data, dataset):
    paths = sorted(p for p in real_data(dataset).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    assert paths
    channels = set()
    for path in paths[:6] + paths[-10:]:
        pixels = read_image(path)
        with Image.open(path) as image:
            assert pixels.shape == (image.height, image.width, len(image.getbands()))
            np.testing.assert_array_equal(pixels.squeeze(), np.asarray(image))
        channels.add(pixels.shape[2])
    assert channels == ({1, 3} if dataset == "pneumonia_fullsize" else {3})


# ----------------------------------------------------------------------------------------------- decoding in few pixels


def picture(height, width, mode="RGB"):
    """Soft shapes, as JPEG is made for; of noise no two reductions agree."""
    seeds = np.random.default_rng(2).integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
    return Image.fromarray(seeds).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    ("short_side", "expected"),
    [(128, (256, 320)), (65, (256, 320)), (64, (128, 160)), (20, (64, 80)), (1, (64, 80)), (129, None), (999, None)],
)
def test_a_jpeg_is_decoded_in_twice_the_pixels_asked_for_or_more(tmp_path, mode, short_side, expected):
    picture(256, 320, mode).resize((640, 512)).save(tmp_path / "a.jpg", quality=95)
    full, small = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "a.jpg", short_side)
    assert small.shape == (*(expected or full.shape[:2]), 1 if mode == "L" else 3)
    if expected is None:
        np.testing.assert_array_equal(small, full)
    else:
        shrunk = np.asarray(Image.fromarray(full.squeeze()).resize(expected[::-1], Image.Resampling.BOX))
        assert np.abs(small.squeeze().astype(float) - shrunk).mean() < 1.5


def test_what_is_shrunk_to_the_size_asked_for_is_the_same_to_half_a_grey_level(tmp_path):
    picture(480, 640).save(tmp_path / "a.jpg", quality=95)
    full, small = (
        Image.fromarray(read_image(tmp_path / "a.jpg", short_side)).resize((160, 120), Image.Resampling.BILINEAR)
        for short_side in (None, 120)
    )
    assert np.abs(np.asarray(full, float) - np.asarray(small)).mean() < 0.5


def test_other_formats_are_decoded_in_full(tmp_path):
    for suffix in (".png", ".tif", ".webp", ".bmp"):
        picture(64, 96).save(tmp_path / f"a{suffix}")
        assert read_image(tmp_path / f"a{suffix}", 8).shape == (64, 96, 3)


def test_a_rotated_photograph_in_few_pixels_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(256, 512).save(tmp_path / "a.jpg", exif=exif)
    full, small = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "a.jpg", 64)
    assert (full.shape, small.shape) == ((512, 256, 3), (256, 128, 3))
    shrunk = np.asarray(Image.fromarray(full).resize((128, 256), Image.Resampling.BOX), float)
    assert np.abs(small - shrunk).mean() < 3


def test_a_jpeg_cut_short_is_refused_in_few_pixels_too(tmp_path):
    picture(256, 256).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        read_image(tmp_path / "a.jpg", 32)


def rgba():
    return Image.fromarray(np.dstack([colour(), grey()]))


OPENED = {
    "1": ("a.png", lambda: Image.fromarray(grey() > 127), {}),
    "L": ("a.png", lambda: Image.fromarray(grey()), {}),
    "LA": ("a.png", lambda: rgba().convert("LA"), {}),
    "P": ("a.png", lambda: Image.fromarray(colour()).quantize(8), {}),
    "P, transparent colour": ("a.png", lambda: Image.fromarray(colour()).quantize(8), {"transparency": 3}),
    "P, alpha": ("a.png", lambda: Image.fromarray(colour()).quantize(8), {"transparency": bytes(range(200, 208))}),
    "RGB": ("a.png", lambda: Image.fromarray(colour()), {}),
    "RGBA": ("a.png", rgba, {}),
    "CMYK": ("a.jpg", lambda: Image.fromarray(colour()).convert("CMYK"), {}),
    "YCbCr": ("a.jpg", lambda: Image.fromarray(colour()).convert("YCbCr"), {}),
    "16 bits": ("a.png", lambda: Image.fromarray(grey(np.uint16, 65535)), {}),
    "16 bits, TIFF": ("a.tif", lambda: Image.fromarray(grey(np.uint16, 65535)), {}),
    "32 bits": ("a.tif", lambda: Image.fromarray(grey(np.int32, 65535)), {}),
    "floats": ("a.tif", lambda: Image.fromarray(grey(np.float32, 255)), {}),
}


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 7])
@pytest.mark.parametrize(("name", "make", "options"), OPENED.values(), ids=OPENED.keys())
def test_an_opened_image_equals_its_file(tmp_path, name, make, options, orientation, loaded):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    make().save(tmp_path / name, **options, **({"exif": exif} if orientation else {}))
    expected = read_image(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        lost = name == "a.tif" and image.mode == "I;16" and orientation in (6, 7)  # by Pillow, once it is loaded
        if loaded and not lost:
            image.load()
        pixels = read_opened(image)
        assert pixels.dtype == expected.dtype
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(read_opened(image), expected)  # and is not used up
        if not lost:
            np.testing.assert_array_equal(read_opened(image.copy()), expected)


def test_an_opened_jpeg_is_decoded_at_the_fraction_that_its_file_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    expected = read_image(tmp_path / "a.jpg", 32)
    assert expected.shape[0] < 400
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(read_opened(image, 32), expected)
        assert image.size == (300, 400)
        np.testing.assert_array_equal(np.asarray(image), read_image(tmp_path / "a.jpg"))


def test_the_current_frame_of_several_is_read(tmp_path):
    first, second = Image.fromarray(grey()), Image.fromarray(255 - grey())
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(read_opened(image), read_image(tmp_path / "a.tif"))
        image.seek(1)
        np.testing.assert_array_equal(read_opened(image), np.asarray(second)[:, :, None])


def test_a_picture_that_never_was_a_file_is_read():
    np.testing.assert_array_equal(read_opened(Image.fromarray(colour())), colour())


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_an_image_whose_file_was_closed_is_refused_in_words(tmp_path, name):
    Image.fromarray(colour()).save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        pass
    with pytest.raises(DataError, match=r"Pillow image cannot be read.*Keep its file open"):
        read_opened(image)


def test_an_opened_image_with_values_that_do_not_fit_is_refused():
    with pytest.raises(DataError, match=r"the Pillow image cannot be used.*0 to 65535"):
        read_opened(Image.fromarray(np.array([[0.5, 2]], np.float32)))
