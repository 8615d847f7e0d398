"""Times are written with the units that a reader needs."""

import pytest

from medssl.io.durations import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (45, "45 s"),
        (59.7, "1 min 00 s"),
        (65, "1 min 05 s"),
        (599.4, "9 min 59 s"),
        (599.6, "10 min"),
        (750, "12 min"),
        (3599, "1 h 00 min"),
        (12_000, "3 h 20 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_units_go_with_the_length(seconds, words):
    assert duration(seconds) == words
