import math

import numpy as np
import pytest

from medssl.contracts.targets import TARGETS, Classes, Findings, Grades, Quantity, target_from_dict

EACH = {
    "classes": (Classes(("benign", "malignant")), [0, 1, None], ["benign", "malignant", "nan"]),
    "grades": (Grades(("0", "1", "2")), [2, None, 0], ["2", "", "0"]),
    "findings": (Findings(("A", "B")), [(1, 1), (0, 0), None], ["A|B", "No Finding", " "]),
    "quantity": (Quantity("years", 0, 120), [61.5, 3.0, None], ["61.5", "3", "NA"]),
}


def test_every_kind_is_tried():
    assert set(EACH) == set(TARGETS)


@pytest.mark.parametrize("kind", EACH)
def test_cells_are_read_and_unknown_is_no_value(kind):
    target, values, cells = EACH[kind]
    assert [target.parse(cell) for cell in cells] == values


@pytest.mark.parametrize("kind", EACH)
def test_unknown_is_never_negative(kind):
    target, values, _ = EACH[kind]
    y = target.encode(values)
    assert len(y) == 3
    assert target.known(y).tolist() == [value is not None for value in values]
    unknown = y[values.index(None)]
    assert (unknown == -1) if kind in ("classes", "grades") else np.isnan(unknown).all()


@pytest.mark.parametrize("kind", EACH)
def test_description_and_back(kind):
    target = EACH[kind][0]
    assert target_from_dict(target.to_dict()) == target
    assert len(target.output_names) == target.outputs


@pytest.mark.parametrize("kind", EACH)
def test_strata_count_every_sample(kind):
    target, values, _ = EACH[kind]
    known = [value for value in values if value is not None]
    strata = target.strata(known)
    assert strata.shape == (len(known), len(target.strata_names))
    assert (strata.sum(axis=1) >= 1).all()


@pytest.mark.parametrize(
    ("target", "cell"),
    [(Classes(("a", "b")), "c"), (Findings(("A",)), "A|X"), (Findings(("A",)), "X"), (Quantity("mm"), "three"),
     (Quantity("years", 0, 120), "130"), (Quantity("years"), "inf")],
)  # fmt: skip
def test_a_text_that_is_no_value_is_refused(target, cell):
    with pytest.raises(ValueError, match=r"not|must"):
        target.parse(cell)


@pytest.mark.parametrize(
    ("target", "value"),
    [(Classes(("a", "b")), 2), (Classes(("a", "b")), True), (Classes(("a", "b")), 0.5), (Findings(("A", "B")), (1,)),
     (Findings(("A",)), (2,)), (Quantity("mm"), math.nan), (Quantity("mm", 0), -1), (Quantity("mm"), "1")],
)  # fmt: skip
def test_violations(target, value):
    assert target.violation(value)


def test_partly_known_findings_are_known():
    target = Findings(("A", "B"))
    y = target.encode([(None, 1), None, (None, None)])
    assert target.known(y).tolist() == [True, False, False]
    assert target.strata([(None, 1), (None, 0)]).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_strata_of_a_quantity_are_fifths():
    values = [float(value) for value in range(100)]
    target = Quantity("years").with_edges(values)
    assert target.strata(values).sum(axis=0).tolist() == [20] * 5
    assert len(target.strata_names) == 5


@pytest.mark.parametrize(
    ("target", "prediction", "wrong"),
    [
        (Classes(("a", "b")), [[0.5, 0.5]], False),
        (Classes(("a", "b")), [[0.5, 0.6]], True),
        (Classes(("a", "b")), [[1.5, -0.5]], True),
        (Findings(("A", "B")), [[0.9, 0.8]], False),
        (Findings(("A", "B")), [[0.9, 1.2]], True),
        (Findings(("A", "B")), [[0.9, math.nan]], True),
        (Quantity("mm"), [[-7.0]], False),
        (Quantity("mm"), [[math.inf]], True),
    ],
)
def test_predictions_are_checked(target, prediction, wrong):
    assert (target.prediction_error(np.array(prediction)) is not None) == wrong


@pytest.mark.parametrize(
    "values", [{"kind": "shape"}, {}, {"kind": "classes"}, {"kind": "classes", "names": ["a", "a"]}]
)
def test_descriptions_that_are_none(values):
    with pytest.raises(ValueError, match=r"target|twice"):
        target_from_dict(values)
