"""Maps keep what belongs together together: place, id, class and prediction of a point."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from medssl.report.figures.maps import HEIGHT, WIDTH, make_maps, map_file
from medssl.report.pictures.gallery import read_arrays
from medssl.report.sections import make_sections
from medssl.study.results.summary import summarise


def maps_of(*runs):
    [section] = make_sections(summarise(list(runs)))
    return make_maps(section)


def test_the_run_s_own_map_is_shown_with_one_scale_for_both_directions(make_run):
    run = make_run(with_map=True)
    [found] = maps_of(run)
    arrays = read_arrays(run, "diagnostics")
    assert found.caption.startswith("Map by tsne")
    assert list(found.ids) == arrays["id"].tolist()
    assert list(found.label) == arrays["label"].tolist()
    x, y = arrays["tsne_xy"].T
    slope_x, slope_y = np.polyfit(x, found.x, 1)[0], np.polyfit(y, found.y, 1)[0]
    assert slope_x == pytest.approx(-slope_y, rel=0.02)  # down is larger in SVG
    assert min(found.x) >= 0
    assert max(found.x) <= WIDTH
    assert min(found.y) >= 0
    assert max(found.y) <= HEIGHT


def test_predictions_belong_to_their_points(make_run):
    run = make_run(with_map=True)
    [found] = maps_of(run)
    predictions = read_arrays(run, "predictions")
    said = dict(zip(predictions["id"].tolist(), predictions["knn"].argmax(1).tolist(), strict=True))
    assert list(found.said) == [said[name] for name in found.ids]


def test_a_map_is_made_where_the_run_has_none_and_is_the_same_each_time(make_run):
    run = make_run()
    [first], [second] = maps_of(run), maps_of(run)
    assert "made for this report" in first.caption
    assert first == second
    assert set(first.ids) == set(read_arrays(run, "features")["test_id"].tolist())


def test_collapsed_features_have_no_map(make_run):
    run = make_run()
    features = dict(read_arrays(run, "features"))
    features["test_x"][:] = 1.0
    np.savez(run.path / "features.npz", **features)
    assert maps_of(run) == []


def test_baselines_are_mapped_beside_the_first_method(make_run):
    runs = [make_run(with_map=True, accuracy=0.9), make_run(method="random", epochs=0, with_map=True)]
    assert [found.title for found in maps_of(*runs)] == ["mae, seed 0", "random, seed 0"]


def test_the_file_is_valid_and_has_every_point_and_a_legend(make_run):
    [found] = maps_of(make_run(with_map=True))
    tree = ET.fromstring(map_file(found))
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{space}use")) == len(found.ids) + len(found.classes)
    assert [text.text for text in tree.findall(f"{space}text")] == list(found.classes)
