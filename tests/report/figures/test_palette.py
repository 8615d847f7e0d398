"""Colours stand out from their page, and methods from each other."""

import pytest

from medssl.report.figures.palette import ROLES, styles


def luminance(colour):
    """Relative luminance by WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("role", [name for name in ROLES if name not in ("paper", "line")])
@pytest.mark.parametrize("dark", [False, True])
def test_marks_and_text_stand_out_from_the_page(role, dark):
    least = 4.5 if role in ("ink", "soft") else 3  # WCAG 2.2: 1.4.3 for text, 1.4.11 for marks
    assert contrast(ROLES[role][dark], ROLES["paper"][dark]) >= least


def test_methods_differ_in_their_marks_and_baselines_in_their_lines():
    found = styles([("a", False), ("base", True), ("b", False), ("a", False), ("other", True)])
    assert len({style.mark for style in found.values()}) == 4
    assert found["a"].line == found["b"].line == "-"
    assert "-" not in (found["base"].line, found["other"].line)
    assert found["base"].line != found["other"].line


def test_more_methods_than_colours_are_still_told_apart():
    found = styles([(f"m{i}", False) for i in range(9)])
    assert len({(style.role, style.mark) for style in found.values()}) == 9
