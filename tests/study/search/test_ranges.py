"""Ranges are read as they are written, and a wrong one is answered with what to write."""

import pytest

from medssl.errors import OptionError
from medssl.study.search.ranges import Range, parse_range, read_vary

optuna = pytest.importorskip("optuna")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.01..1:log", Range(low=0.01, high=1, log=True)),
        ("50..200", Range(low=50, high=200, whole=True)),
        ("-2..3", Range(low=-2, high=3, whole=True)),
        ("0.5..2", Range(low=0.5, high=2)),
        ("1e-4..1e-2:log", Range(low=1e-4, high=1e-2, log=True)),
        ("16, 32,64", Range(choices=("16", "32", "64"))),
        ("sgd,adamw", Range(choices=("sgd", "adamw"))),
    ],
)
def test_a_range_is_read(text, wanted):
    assert parse_range(text, "x.y") == wanted


@pytest.mark.parametrize("text", ["", "5", "1..", "..2", "2..1", "1..1", "0..1:log", "1..2:cube", "a..b", "a,,b", ","])
def test_a_wrong_range_names_its_setting(text):
    with pytest.raises(OptionError, match=r"not a range for x\.y"):
        parse_range(text, "x.y")


def test_draws_are_in_the_range():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = {key: [] for key in ("whole", "log", "choices")}
    ranges = {"whole": "2..4", "log": "0.01..1:log", "choices": "a,b"}
    for _ in range(60):
        trial = study.ask()
        for key, values in read_vary(ranges).items():
            drawn[key].append(values.draw(trial, key))
    assert set(drawn["whole"]) == {"2", "3", "4"}
    assert set(drawn["choices"]) == {"a", "b"}
    numbers = sorted(float(text) for text in drawn["log"])
    assert numbers[0] >= 0.01
    assert numbers[-1] <= 1
    assert 0.03 < numbers[30] < 0.4  # the middle of a logarithmic scale is 0.1
