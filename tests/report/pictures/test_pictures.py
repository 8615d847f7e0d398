"""Pictures are those of their ids, and end up in the page as they are."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medssl.catalog import load_catalog
from medssl.errors import DataError
from medssl.report.pictures.gallery import read_arrays
from medssl.report.pictures.pictures import COLUMNS, data_uri, open_pictures, sprite_uri


def decoded(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


@pytest.fixture
def opened(make_run):
    run = make_run()
    ids = read_arrays(run, "features")["test_id"].tolist()
    with open_pictures(run, ids, load_catalog()) as pictures:
        yield pictures, ids


def test_a_picture_is_the_image_of_its_id(opened):
    pictures, ids = opened
    together = pictures.plain(ids, 32)
    assert together.shape == (len(ids), 32, 32, 3)
    for name, picture in zip(ids, together, strict=True):
        assert np.array_equal(pictures.plain([name], 32)[0], picture)
    assert len({picture.tobytes() for picture in together}) == len(ids)


def test_views_are_four_small_random_pictures_of_each_image(opened):
    pictures, ids = opened
    views = pictures.views(ids[:3])
    assert [view.shape for view in views] == [(3, 32, 32, 3)] * 4
    assert not np.array_equal(views[0], views[1])
    assert "crop_scale" in pictures.augmentation


def test_an_address_holds_the_picture(opened):
    pictures, ids = opened
    [picture] = pictures.plain(ids[:1])
    assert np.abs(decoded(data_uri(picture)) - picture).mean() < 6  # of 255, what JPEG takes


def test_grey_pictures_are_stored_in_one_channel():
    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    assert len(data_uri(grey)) < len(data_uri(grey[:, :, ::-1] ^ np.array([0, 1, 0], np.uint8)))
    assert np.abs(decoded(data_uri(grey)) - grey).max() < 8


def test_a_sheet_holds_each_picture_at_its_place():
    pictures = np.stack([np.full((8, 8, 3), 9 * i, np.uint8) for i in range(COLUMNS + 2)])
    sheet = decoded(sprite_uri(pictures))
    assert sheet.shape == (16, 8 * COLUMNS, 3)
    for i in range(COLUMNS + 2):
        top, left = i // COLUMNS * 8, i % COLUMNS * 8
        assert abs(sheet[top + 4, left + 4, 0] - 9 * i) < 4


def test_images_that_are_not_the_run_s_are_an_error(make_run):
    run = make_run()
    with pytest.raises(DataError, match="none of this run's images"), open_pictures(run, ["no/such"], load_catalog()):
        pass
