"""The text has the same values as plain JSON, in fewer lines."""

import json

import pytest

from medssl.io.json_text import json_text

VALUES = {
    "curve": [0.1, -2, 3e-9, None, 1.5e300],
    "matrix": [[1, 2], [3, 4]],
    "text": ["[\n  1,\n  2\n]", "1,\n 2"],
    "mixed": [1, "a"],
    "empty": [],
}


def test_values_are_those_of_plain_json():
    assert json.loads(json_text(VALUES)) == VALUES


def test_numbers_share_a_line():
    assert '"curve": [0.1, -2, 3e-09, null, 1.5e+300],' in json_text(VALUES)
    assert "    [1, 2]," in json_text(VALUES)


def test_what_is_no_number_of_json_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        json_text([float("nan")])
