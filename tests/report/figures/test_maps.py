"""Maps keep what belongs together together: place, id, class and prediction of a point."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from medssl.io.identities import revealed
from medssl.report.figures.maps import HEIGHT, WIDTH, make_maps, map_file
from medssl.report.sections import make_sections
from medssl.results.directory import RunDirectory, read_arrays
from medssl.results.pictures import read_pictures
from medssl.study.results.summary import summarise


def maps_of(*runs):
    [section] = make_sections(summarise(list(runs)))
    return make_maps(section)


def test_the_run_s_map_is_drawn_with_one_scale_for_both_directions(make_run):
    run = make_run()
    [found] = maps_of(run)
    left = read_pictures(RunDirectory(run.path).pictures).map
    assert found.caption == f"t-SNE of {len(left.ids)} test images."
    assert (found.ids, found.label) == (left.ids, left.label)
    x, y = left.xy.T
    slope_x, slope_y = np.polyfit(x, found.x, 1)[0], np.polyfit(y, found.y, 1)[0]
    assert slope_x == pytest.approx(-slope_y, rel=0.02)  # down is larger in SVG
    assert min(found.x) >= 0
    assert max(found.x) <= WIDTH
    assert min(found.y) >= 0
    assert max(found.y) <= HEIGHT


def test_predictions_belong_to_their_points(make_run):
    run = make_run()
    [found] = maps_of(run)
    predictions = read_arrays(RunDirectory(run.path).predictions)
    said = dict(zip(predictions["id"].tolist(), predictions["knn"].argmax(1).tolist(), strict=True))
    assert list(found.said) == [said[revealed(name)[1]] for name in found.ids]


def test_a_run_without_a_map_has_none_drawn(make_run):
    run = make_run()
    (run.path / "pictures.npz").unlink()
    assert maps_of(run) == []


def test_baselines_are_mapped_beside_the_first_method(make_run):
    runs = [make_run(accuracy=0.9), make_run(method="random", epochs=0)]
    assert [found.title for found in maps_of(*runs)] == ["mae, seed 0", "random, seed 0"]


def test_the_file_is_valid_and_has_every_point_and_a_legend(make_run):
    [found] = maps_of(make_run())
    tree = ET.fromstring(map_file(found))
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{space}use")) == len(found.ids) + len(found.classes)
    assert [text.text for text in tree.findall(f"{space}text")] == list(found.classes)


def test_classes_that_share_a_colour_differ_in_shape(make_run):
    [section] = make_sections(summarise([make_run()]))
    [found] = make_maps(section)
    many = replace(found, classes=tuple(map(str, range(36))))
    assert len(set(zip(many.roles, many.shapes, strict=True))) == 36
