"""Labels of another hospital: mapped by name, all problems at once, unknown never negative."""

from __future__ import annotations

import pytest

from medssl.contracts import Classes, Findings, Grades, Quantity, Sample
from medssl.data.external import map_labels
from medssl.errors import DataError, OptionError

OURS = Classes(("covid", "normal"))


def samples(*values):
    return [Sample(id=str(i), y=y) for i, y in enumerate(values)]


def test_labels_of_other_names_are_mapped_and_null_leaves_out() -> None:
    theirs = Classes(("COVID-19", "No finding", "normal", "rare"))
    labels = {"COVID-19": "covid", "No finding": "normal", "rare": None}
    convert, missing = map_labels("spain", theirs, OURS, labels, samples(0, 1, 2, 3))
    assert [convert(y) for y in range(4)] == [0, 1, 1, None]
    assert missing == ()


def test_every_label_without_a_counterpart_is_named_in_one_message() -> None:
    theirs = Classes(("COVID-19", "ARDS", "normal", "unused"))
    with pytest.raises(DataError, match=r"'COVID-19', 'ARDS'\. The run has 'covid', 'normal'") as error:
        map_labels("spain", theirs, OURS, {}, samples(0, 1, 2))
    assert "unused" not in str(error.value)  # a class without an image needs no counterpart
    assert "external.spain.labels" in str(error.value)


def test_wrong_names_in_the_mapping_are_named() -> None:
    with pytest.raises(OptionError, match=r"'Covid' is not a label of 'spain'; 'covd' is not a label of the run"):
        map_labels("spain", Classes(("COVID-19", "b")), OURS, {"Covid": "covid", "b": "covd"}, samples(0))


def test_findings_that_are_not_reported_stay_unknown() -> None:
    theirs = Findings(("Eff", "Infiltrate", "Consolidation"))
    ours = Findings(("effusion", "mass", "opacity"))
    labels = {"Eff": "effusion", "Infiltrate": "opacity", "Consolidation": "opacity"}
    convert, missing = map_labels("b", theirs, ours, labels, samples((1, 0, 0)))
    assert missing == ("mass",)
    assert convert((1, 0, 0)) == (1, None, 0)
    assert convert((0, 0, 1)) == (0, None, 1)
    assert convert((0, 0, None)) == (0, None, None)  # absent and unknown: not known to be absent
    assert convert((None, None, None)) is None


def test_targets_of_other_kinds_are_refused() -> None:
    with pytest.raises(DataError, match="has findings, but the run predicts classes"):
        map_labels("b", Findings(("x",)), OURS, {}, [])
    with pytest.raises(DataError, match="has quantity, but the run predicts classes"):
        map_labels("b", Quantity("years"), OURS, {}, [])


def test_grades_and_classes_of_equal_names_fit() -> None:
    convert, _ = map_labels("b", Grades(("normal", "covid")), OURS, {}, samples(0, 1))
    assert [convert(0), convert(1)] == [1, 0]


def test_a_quantity_stays_as_it_is() -> None:
    convert, _ = map_labels("b", Quantity("years"), Quantity("years"), {}, [])
    assert convert(41.5) == 41.5
