"""Contact sheets: where pictures and words end up."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.preview.contact_sheet import SheetRow, contact_sheet

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)
INK = (0x1F, 0x23, 0x28)


def picture(colour, side):
    return np.full((side, side, 3), colour, dtype=np.uint8)


def box(sheet, colour):
    """Left, top, width and height of the pixels of one colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(2))
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


@pytest.mark.parametrize(("side", "zoom"), [(16, 8), (32, 4), (50, 3), (64, 2), (100, 1), (224, 1)])
def test_pictures_are_enlarged_by_whole_numbers_to_a_size_one_can_see(side, zoom):
    sheet = contact_sheet("t", ["a", "b"], [SheetRow("r", "n", [picture(RED, side), picture(GREEN, side)])], [])
    assert box(sheet, RED)[2:] == box(sheet, GREEN)[2:] == (side * zoom, side * zoom)
    assert (np.asarray(sheet) == RED).all(2).sum() == (side * zoom) ** 2


def test_pictures_of_a_row_stand_side_by_side_and_rows_below_each_other():
    rows = [SheetRow("r", "n", [picture(RED, 64), picture(GREEN, 64)]), SheetRow("s", "m", [picture(BLUE, 64)] * 2)]
    sheet = contact_sheet("t", ["a", "b"], rows, [])
    red, green, blue = (box(sheet, colour) for colour in (RED, GREEN, BLUE))
    assert red[1] == green[1]
    assert green[0] > red[0] + red[2]
    assert blue[0] == red[0]
    assert blue[1] > red[1] + red[3]
    assert sheet.width > green[0] + green[2]
    assert sheet.height > blue[1] + blue[3]


def test_smaller_views_keep_their_scale_and_take_no_more_room_than_their_heading():
    sheet = contact_sheet(
        "t",
        ["a", "b", "c"],
        [SheetRow("r", "n", [picture(c, s) for c, s in zip((RED, GREEN, BLUE), (64, 32, 32), strict=True)])],
        [],
    )
    assert box(sheet, RED)[2] == 2 * box(sheet, GREEN)[2]
    assert box(sheet, BLUE)[0] - box(sheet, GREEN)[0] < 80


@pytest.mark.parametrize("name", ["one/very_long/path-to_an_image/that/never_ends/" * 5, "x" * 400, ""])
def test_long_names_stay_in_their_column_and_row(name):
    pictures = [picture(RED, 64)]
    sheet = contact_sheet("t", ["a"], [SheetRow("label", name, pictures), SheetRow("label", name, pictures)], [])
    left, top, _, height = box(sheet, RED)
    pixels = np.asarray(sheet)
    assert (pixels[top : top + height, left - 8 : left - 2] == 255).all()  # between the label and the picture
    assert (pixels[top + height + 2 :] == 255).all()  # below the last row


def test_a_long_note_is_wrapped_and_hard_spaces_hold():
    note = ", ".join(f"operation_{i}\u00a00.5" for i in range(40))
    sheet = contact_sheet("t", ["a"], [SheetRow("r", "n", [picture(RED, 64)])], [note])
    short = contact_sheet("t", ["a"], [SheetRow("r", "n", [picture(RED, 64)])], ["x"])
    assert sheet.width == short.width
    assert sheet.height > short.height + 100
    assert (np.asarray(sheet)[:, -20:] == 255).all()


def test_words_are_written_in_ink():
    sheet = contact_sheet("Title", ["heading"], [SheetRow("label", "name", [picture(RED, 64)])], ["note"])
    assert (np.asarray(sheet) == INK).all(2).any()
