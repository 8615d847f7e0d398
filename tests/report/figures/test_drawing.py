"""Figures are valid SVG, plain in their file and of the page's colours in the page."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssl.report.figures.drawing import finish, make_figure, spread_labels, steady_ticks
from medssl.report.figures.palette import ROLES


@pytest.fixture(scope="module")
def drawing():
    figure, [axes] = make_figure(2.0)
    axes.plot([0, 1], [0, 1], color=ROLES["c0"][0], marker="o")
    axes.set_title("<b> & co")
    return finish(figure, name="part-name", title='"quoted" & <so on>')


def test_both_forms_are_valid_xml(drawing):
    ET.fromstring(drawing.svg)
    ET.fromstring(drawing.inline.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))


def test_text_stays_text(drawing):
    assert "&lt;b&gt; &amp; co" in drawing.svg
    assert "&lt;b&gt; &amp; co" in drawing.inline


def test_the_file_has_plain_colours_and_the_page_its_own(drawing):
    assert ROLES["c0"][0] in drawing.svg
    assert "var(" not in drawing.svg
    assert "var(--c0)" in drawing.inline
    assert not re.search(r"#[0-9a-f]{6}", drawing.inline)


def test_ids_in_the_page_begin_with_the_figure_s_name_and_are_all_used(drawing):
    ids = re.findall(r'\sid="([^"]*)"', drawing.inline)
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', drawing.inline)
    assert ids
    assert set(ids) == set(used)
    assert all(name.startswith("part-name-") for name in ids)


def test_nothing_is_fetched(drawing):
    assert "http" not in drawing.inline
    assert "<style" not in drawing.inline


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=12), st.floats(0.1, 30))
def test_spread_labels_keep_their_order_and_distance(places, gap):
    moved = spread_labels(places, gap)
    order = sorted(range(len(places)), key=places.__getitem__)
    assert all(moved[b] - moved[a] >= gap * (1 - 1e-9) - 1e-9 for a, b in pairwise(order))


def test_labels_with_room_stay_where_they_are():
    assert spread_labels([3.0, 1.0, 2.0], 0.9) == [3.0, 1.0, 2.0]


def test_labels_at_one_place_spread_around_it():
    assert spread_labels([1.0, 1.0, 1.0], 2.0) == [-1.0, 1.0, 3.0]


def test_steady_ticks_are_drawn_as_the_layout_measured_them():
    figure, [axes] = make_figure(3.0)
    axes.plot([0, 1], [0.766, 0.914])
    axes.set_xlabel("epoch")
    steady_ticks(axes)
    measured = axes.get_yticks().tolist()
    finish(figure, name="f", title="t")
    assert axes.get_yticks().tolist() == measured
