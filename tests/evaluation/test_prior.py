"""The correction against Bayes' rule on a model whose likelihoods are known, and wrong settings."""

from __future__ import annotations

import numpy as np
import pytest

from medssl.contracts.targets import Classes, Findings
from medssl.errors import OptionError
from medssl.evaluation.prior import class_mix, correct_prior, require_prior


def test_the_correction_equals_bayes_rule_with_the_other_prior() -> None:
    rng = np.random.default_rng(0)
    likelihood, training, expected = rng.random((50, 3)), np.array([0.7, 0.2, 0.1]), [0.2, 0.3, 0.5]
    posterior = [likelihood * prior for prior in (training, expected)]
    learnt, wanted = (each / each.sum(axis=1, keepdims=True) for each in posterior)
    np.testing.assert_allclose(correct_prior(learnt, training, expected), wanted, atol=1e-12)
    np.testing.assert_allclose(correct_prior(learnt, training, training.tolist()), learnt, atol=1e-12)


def test_a_class_without_training_images_stays_impossible() -> None:
    found = correct_prior(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), np.array([0.5, 0.5, 0.0]), [0.2, 0.6, 0.2])
    np.testing.assert_allclose(found, [[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])


def test_the_mix_leaves_unknown_values_out() -> None:
    np.testing.assert_allclose(class_mix(np.array([0, 1, 1, -1, 1]), 3), [0.25, 0.75, 0.0])


@pytest.mark.parametrize("prior", [(0.5,), (0.5, 0.6), (1.0, 0.0)])
def test_wrong_frequencies_are_refused(prior) -> None:
    with pytest.raises(OptionError, match="a positive frequency for each of a, b"):
        require_prior(Classes(("a", "b")), prior)


def test_findings_have_no_mix() -> None:
    with pytest.raises(OptionError, match="for classes and grades"):
        require_prior(Findings(("a", "b")), (0.5, 0.5))
