"""What pre-training has added is said with its interval, and called better only where that is shown."""

from dataclasses import replace

import pytest

from medssl.report.words.gains import gain_lines, gain_statement, gain_verdict, has_gains

BEFORE = "than the encoder before training by"
GAIN = {"value": 0.12, "low": 0.05, "high": 0.19, "p": 0.001, "p_adjusted": 0.002, "shown": True}
NONE = {"value": -0.02, "low": -0.1, "high": 0.06, "p": 0.5, "p_adjusted": 0.5, "shown": False}


@pytest.fixture
def run(make_run):
    def made(**by_evaluator):
        result = make_run()
        return replace(result, values={**result.values, "baseline": {"evaluations": {}, "differences": by_evaluator}})

    return made


def test_a_terminal_gets_a_line_for_each_metric(run):
    result = run(knn={"accuracy": GAIN, "auroc": NONE, "balanced_accuracy": GAIN}, linear={"accuracy": NONE})
    assert gain_lines(result) == [
        "pre-training added accuracy: knn +.120 [+.050, +.190], linear -.020 [-.100, +.060] (not significant)",
        "pre-training added AUROC: knn -.020 [-.100, +.060] (not significant)",
    ]


def test_a_page_gets_a_line_for_each_evaluator(run):
    (line,) = gain_statement(run(knn={"accuracy": GAIN, "auroc": NONE}), ["knn", "linear"])
    assert line == (
        "knn: accuracy +.120 [+.050, +.190] (p = .002, significant) and "
        "AUROC -.020 [-.100, +.060] (p = .500, not significant)."
    )


@pytest.mark.parametrize(
    ("knn", "linear", "words"),
    [
        (
            GAIN,
            NONE,
            [f"It is significantly better {BEFORE} knn (+.120 [+.050, +.190], p = .002)."],
        ),
        (
            NONE,
            NONE,
            [
                "The difference from the encoder before training is not significant: "
                "knn (-.020 [-.100, +.060], p = .500) and linear (-.020 [-.100, +.060], p = .500)."
            ],
        ),
        (
            {**GAIN, "value": -0.1},
            GAIN,
            [
                f"It is significantly better {BEFORE} linear (+.120 [+.050, +.190], p = .002).",
                f"It is significantly worse {BEFORE} knn (-.100 [+.050, +.190], p = .002).",
            ],
        ),
    ],
)
def test_the_verdict_counts_what_is_shown(run, knn, linear, words):
    result = run(knn={"accuracy": knn}, linear={"accuracy": linear})
    assert list(gain_verdict(result, ["knn", "linear"])) == words


def test_a_run_without_a_baseline_says_nothing(make_run):
    absent = make_run()
    for result in (absent, replace(absent, values={**absent.values, "baseline": None})):
        assert not has_gains(result)
        assert gain_lines(result) == []
        assert list(gain_verdict(result, ["knn"])) == []
