import numpy as np
import pytest

from medssl.evaluation.uncertainty.bootstrap import percentile_interval


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_the_interval_is_numpys_quantiles_of_the_defined_draws(confidence):
    draws = np.random.default_rng(0).normal(size=400)
    wanted = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    some_undefined = np.concatenate([draws, np.full(100, np.nan)])
    assert percentile_interval(draws, confidence) == pytest.approx(wanted)
    assert percentile_interval(some_undefined, confidence) == pytest.approx(wanted)


@pytest.mark.parametrize(("defined", "given"), [(0, False), (49, False), (50, True), (100, True)])
def test_there_is_no_interval_where_most_resamples_are_undefined(defined, given):
    draws = np.full(100, np.nan)
    draws[:defined] = np.linspace(0, 1, defined)
    assert (percentile_interval(draws, 0.95) != (None, None)) is given


def test_no_draws_give_no_interval():
    assert percentile_interval(np.empty(0), 0.95) == (None, None)
