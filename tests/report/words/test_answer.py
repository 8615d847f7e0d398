"""The answer in words says what the tests carry, and no more."""

import dataclasses
import re
from itertools import product
from pathlib import Path

import pytest

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import metric_facts
from medssl.report.sections import Section
from medssl.report.words.answer import answer
from medssl.report.words.trust import findings
from medssl.results.directory import RunResult
from medssl.study.results.rows import Fact
from medssl.study.results.summary import Comparison, Estimate, Row

WORDS = {"random": "the untrained encoder"}
ESTIMATE = Estimate(value=0.8, low=0.75, high=0.85, std=None, runs=1)


def made_result(
    method,
    *,
    seed=0,
    images=600,
    units=300,
    grouped=True,
    copies=0,
    shared=0,
    split="grouped",
    warnings=(),
    collapsed=None,
    evaluators=("knn",),
    epochs=0,
    steps=0,
):
    scores = {
        "bootstrap": {"unit": "group" if grouped else "sample"},
        "n_groups": units if grouped else None,
        "notes": [],
    }
    values = {
        "method": method,
        "seed": seed,
        "recipe": {"evaluators": [{"plugin": name} for name in evaluators], "split": {"fold": None}},
        "data": {
            "directory": "images",
            "images": 4 * images,
            "train": 2 * images,
            "val": images,
            "test": images,
            "target": {"kind": "classes", "names": ["ill", "well"]},
            "group_kind": "patient",
            "shared_groups": {"test": shared, "val": 0} if grouped else None,
            "split": split,
            "seen_before": {"test": {"images": images, "equal": 0, "near": copies, "either": copies}},
            "warnings": list(warnings),
        },
        "pretrain": {"epochs": epochs, "steps": steps, "seconds": 1.0},
        "metrics": metric_facts(Classes(("ill", "well", "other"))),  # with two, AUROC leads
        "evaluations": {
            name: {**scores, "confusion_matrix": [[300 - i, 100 + i], [50, 150]]} for i, name in enumerate(evaluators)
        },
        "diagnostics": {"features": {"collapsed": collapsed}},
    }
    return RunResult(Path(method), values)


def _name_of(text):
    return "batch_size" if text.startswith("batch ") else "label_fraction" if text.endswith("labels") else "other"


def row(method, accuracy, *, batch=64, fraction=1.0, label=None, evaluators=("knn",), seeds=1, **facts):
    estimate = dataclasses.replace(ESTIMATE, value=accuracy, low=accuracy - 0.05, high=accuracy + 0.05, runs=seeds)
    return Row(
        dataset="d",
        method=method,
        batch_size=batch,
        split="grouped",
        label_fraction=fraction,
        backbone="resnet18",
        image_size=64,
        init=None,
        recipe="medssl",
        baseline=method in ("random", "imagenet"),
        runs=tuple(made_result(method, seed=s, evaluators=evaluators, **facts) for s in range(seeds)),
        scores={name: {"accuracy": estimate} for name in evaluators},
        key=label or method,
        facts=tuple(Fact(_name_of(text), text) for text in (label or method).split(", ")[1:]),
    )


def differs(first, second, by, *, shown, evaluator="knn", p=0.01, metric="accuracy"):
    return Comparison(
        dataset="d",
        evaluator=evaluator,
        metric=metric,
        first=first,
        second=second,
        difference=by,
        low=by - 0.02,
        high=by + 0.02,
        p=p / 2,
        p_adjusted=p,
        shown=shown,
    )


def section(rows, comparisons=()):
    return Section(
        key="d-grouped",
        title="d",
        rows=tuple(rows),
        comparisons=tuple(comparisons),
        published=(),
        confidence=0.95,
    )


def lines(found, question):
    return next((s.lines for s in found.statements if s.question.startswith(question)), ())


def test_the_headline_names_the_highest_with_its_interval():
    said = answer(section([row("dcl", 0.8), row("simclr", 0.7)]), WORDS).headline
    assert said.startswith(
        "On these 600 test images of 300 patients, dcl has the highest accuracy: .800 [.750, .850] by knn."
    )


def test_the_headline_says_that_the_highest_is_a_baseline():
    said = answer(section([row("dcl", 0.7), row("random", 0.8)]), WORDS).headline
    assert "the baseline random has the highest accuracy" in said


def test_the_sample_gives_images_patients_rows_and_seeds():
    said = answer(section([row("dcl", 0.8, seeds=3), row("random", 0.7, seeds=2)]), WORDS).sample
    assert said == "600 test images of 300 patients; 2 rows, 2 to 3 seeds each."
    assert answer(section([row("dcl", 0.8, grouped=False)]), WORDS).sample == "600 test images."


def test_evaluators_with_the_same_answer_share_a_line():
    both = ("knn", "linear")
    rows = [row("dcl", 0.8, evaluators=both), row("random", 0.7, evaluators=both)]
    found = answer(section(rows, [differs("dcl", "random", 0.1, shown=False, evaluator=name) for name in both]), WORDS)
    assert lines(found, "Better than random") == ("knn and linear: no significant difference: dcl.",)
    assert lines(found, "Which row has the highest accuracy?")[0] == (
        "knn and linear: dcl does not differ significantly from random."
    )


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (False, "dcl is not significantly better than the next row, simclr (knn: +.020 [+.000, +.040], p = .010)."),
        (True, "dcl is significantly better than the next row, simclr (knn: +.020 [+.000, +.040], p = .010)."),
        (None, "The difference between dcl and the next row, simclr, was not tested."),
    ],
)
def test_the_headline_says_how_far_the_best_row_is_from_the_next(shown, words):
    rows = [row("dcl", 0.82), row("simclr", 0.8), row("random", 0.7)]
    tested = [] if shown is None else [differs("simclr", "dcl", -0.02, shown=shown)]
    assert words in answer(section(rows, tested), WORDS).headline


def test_the_next_row_is_not_repeated_where_the_verdict_on_the_baseline_says_the_same():
    found = answer(section([row("dcl", 0.8), row("random", 0.7)], [differs("dcl", "random", 0.1, shown=True)]), WORDS)
    assert "next row" not in found.headline


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("dcl", "simclr", "random"), "with dcl or simclr help to tell well from ill, compared with random (the untr"),
        (("dcl", "simclr"), "Which of 2 rows is best to tell well from ill: dcl or simclr?"),
        (("dcl",), "How well does an encoder from dcl tell well from ill?"),
        (("random",), "How well does random (the untrained encoder) tell well from ill?"),
    ],
)
def test_the_question_names_methods_baselines_and_the_positive_class(rows, words):
    assert words in answer(section([row(method, 0.8) for method in rows]), WORDS).question


def test_leaks_and_confounding_are_limits_and_not_repeated():
    said = answer(section([row("dcl", 0.8, warnings=["confounding: the site alone predicts the class", "x"])]), WORDS)
    assert "The site alone predicts the class." in said.limits
    assert findings(section([row("dcl", 0.8, warnings=["leak: a", "x"])])) == ["x."]


def test_evaluators_that_disagree_are_told_apart():
    rows = [row("dcl", 0.8, evaluators=("knn", "linear")), row("simclr", 0.7, evaluators=("knn", "linear"))]
    rows[1].scores["linear"]["accuracy"] = dataclasses.replace(ESTIMATE, value=0.9)
    said = answer(section(rows), WORDS).headline
    assert "the highest accuracy is .800 [.750, .850] by knn (dcl) and .900" in said


def test_a_difference_that_is_shown_is_told_with_interval_and_p():
    found = answer(section([row("dcl", 0.8), row("random", 0.7)], [differs("dcl", "random", 0.1, shown=True)]), WORDS)
    assert "dcl is significantly better than random by knn (+.100 [+.080, +.120], p = .010)." in found.headline
    assert lines(found, "Better than random") == ("knn: significantly better: dcl by +.100 [+.080, +.120] (p = .010).",)


def test_a_difference_the_other_way_is_told_as_worse_however_it_was_tested():
    rows = [row("dcl", 0.6), row("random", 0.7)]
    for comparison in (differs("dcl", "random", -0.1, shown=True), differs("random", "dcl", 0.1, shown=True)):
        found = answer(section(rows, [comparison]), WORDS)
        assert "dcl is significantly worse than random by knn (-.100 [-.120, -.080], p = .010)." in found.headline
        assert lines(found, "Better than random") == (
            "knn: significantly worse: dcl by -.100 [-.120, -.080] (p = .010).",
        )


@pytest.mark.parametrize("by", [0.1, -0.1])
@pytest.mark.parametrize("by_accuracy", [True, False])
def test_what_a_threshold_hides_is_told_by_auroc(by, by_accuracy):
    word = "better" if by > 0 else "worse"
    both = ("knn", "linear")
    rows = [row(method, value, evaluators=both) for method, value in (("dcl", 0.7 + by), ("random", 0.7))]
    for each in rows:
        for scores in each.scores.values():
            scores["auroc"] = dataclasses.replace(scores["accuracy"], value=scores["accuracy"].value + 0.1)
    tested = [differs("dcl", "random", by, shown=by_accuracy, evaluator="knn")]
    tested += [differs("dcl", "random", 0.0, shown=False, evaluator="linear")]
    tested += [differs("dcl", "random", by, shown=True, evaluator=name, metric="auroc") for name in both]
    found = answer(section(rows, tested), WORDS)
    sizes = "(+.100 [+.080, +.120], p = .010)" if by > 0 else "(-.100 [-.120, -.080], p = .010)"
    also = f"also significantly {word} than random by linear {sizes}."
    alone = f"significantly {word} than random by knn {sizes} and linear {sizes}."
    assert f"In AUROC, dcl is {also if by_accuracy else alone}" in found.headline
    high = ("dcl", ".900", "random") if by > 0 else ("random", ".800", "dcl")
    [line] = lines(found, "Which row has the highest AUROC?")
    assert line.startswith(f"knn and linear: {high[0]}, {high[1]} [")
    assert f"It is significantly higher than {high[2]} by +.100" in line


def test_without_an_auroc_nothing_is_said_of_it():
    said = answer(section([row("dcl", 0.8), row("random", 0.7)], [differs("dcl", "random", 0.1, shown=True)]), WORDS)
    assert "AUROC" not in said.headline
    assert lines(said, "Which row has the highest AUROC?") == ()


@pytest.mark.parametrize(("by", "evaluators"), [*product((-0.3, 0.0, 0.3), (("knn",), ("knn", "linear")))])
def test_nothing_is_better_or_worse_that_is_not_shown(by, evaluators):
    rows = [row("dcl", 0.5 + by, evaluators=evaluators), row("random", 0.5, evaluators=evaluators)]
    comparisons = [differs("dcl", "random", by, shown=False, evaluator=name) for name in evaluators]
    found = answer(section(rows, comparisons), WORDS)
    everything = " ".join([found.headline, *found.limits, *(line for s in found.statements for line in s.lines)])
    assert not re.search(r"\b(better|worse|higher than)\b", everything)
    size = f"{by:+.3f}".replace("0.", ".")
    assert f"The difference from random is not significant ({evaluators[0]}: {size} [" in found.headline


def test_of_several_rows_the_one_that_was_compared_is_named():
    rows = [row("dcl", 0.8), row("simclr", 0.7), row("random", 0.6)]
    headline = answer(section(rows, [differs("dcl", "random", 0.2, shown=False)]), WORDS).headline
    assert "The difference between dcl and random is not significant (knn: +.200 [" in headline


def test_rows_that_were_not_compared_are_not_said_to_be_alike():
    found = answer(section([row("dcl", 0.8), row("random", 0.7)]), WORDS)
    assert "random" not in found.headline
    assert lines(found, "Better than random") == ()
    assert any("No differences were tested" in line for line in found.limits)


def test_without_a_baseline_the_answer_says_what_to_add():
    found = answer(section([row("dcl", 0.8), row("simclr", 0.7)]), WORDS)
    assert lines(found, "Does pre-training help?") == (
        "These runs include no baseline, so this cannot be answered. Add --method random.",
    )


def test_with_too_few_patients_the_headline_says_that_nothing_can_be_shown():
    rows = [row("dcl", 0.9, units=5), row("random", 0.5, units=5)]
    found = answer(section(rows, [differs("dcl", "random", 0.4, shown=False, p=0.06)]), WORDS)
    assert found.headline.endswith("With 5 patients and 1 comparison, no difference can reach significance.")
    assert any("5 patients are few" in line for line in found.limits)


def test_six_patients_are_enough_for_one_test():
    rows = [row("dcl", 0.9, units=6), row("random", 0.5, units=6)]
    found = answer(section(rows, [differs("dcl", "random", 0.4, shown=True)]), WORDS)
    assert "can reach significance" not in found.headline  # 2 of 64 assignments of signs: p = 1 / 32


def test_images_of_unknown_patients_are_called_so():
    found = answer(section([row("dcl", 0.8, grouped=False)]), WORDS)
    assert any("patients of the images are not known" in line for line in found.limits)


@pytest.mark.parametrize(("split", "cure"), [("random", "grouped"), ("kfold", "grouped-kfold")])
def test_test_images_of_patients_that_were_trained_on_are_told_with_the_cure(split, cure):
    said = answer(section([row("dcl", 0.8, shared=590, split=split, seeds=2)]), WORDS).limits
    assert (
        "590 of 600 test images share a patient with a training image, so all results are too good. "
        f"`--split {cure}` keeps every patient in one part."
    ) in said
    for none in (row("dcl", 0.8), row("dcl", 0.8, grouped=False)):
        assert not any("share a patient" in line for line in answer(section([none]), WORDS).limits)


def test_copies_of_test_images_in_training_are_counted_once_however_many_seeds_there_are():
    said = answer(section([row("dcl", 0.8, copies=44, seeds=2)]), WORDS).limits
    assert any(line.startswith("44 of 600 test images are duplicates or near-duplicates of training") for line in said)
    none = answer(section([row("dcl", 0.8)]), WORDS).limits
    assert not any("duplicates" in line for line in none)


def test_one_seed_is_told_from_several():
    one = answer(section([row("dcl", 0.8)]), WORDS).limits
    several = answer(section([row("dcl", 0.8, seeds=3)]), WORDS).limits
    assert any("one seed" in line for line in one)
    assert any("between seeds and between test patients" in line for line in several)


def test_the_length_of_training_is_said_where_something_was_trained():
    trained = {"epochs": 2, "steps": 1142}
    rows = [
        row("supervised", 0.8, epochs=4, steps=284),
        row("dcl", 0.8, **trained, batch=16, label="dcl, batch 16"),
        row("dcl", 0.8, epochs=2, steps=142, label="dcl, batch 64"),
        row("random", 0.7),
    ]
    said = answer(section(rows), WORDS).sample
    assert "Trained for 2 epochs (142 to 1,142 steps); supervised for 4 epochs (284 steps)." in said
    assert "Trained" not in answer(section([row("random", 0.8)]), WORDS).sample


def test_a_collapse_is_called_by_its_name():
    said = answer(section([row("simsiam", 0.5, collapsed="dimensional")]), WORDS).limits
    assert any("simsiam has collapsed (dimensional)" in line for line in said)


def test_warnings_are_counted():
    said = answer(section([row("dcl", 0.8, warnings=["a copy", "another"])]), WORDS).limits
    assert "2 remarks about data and training are listed below." in said


def test_the_commonest_class_sets_the_scale():
    said = lines(answer(section([row("dcl", 0.8)]), WORDS), "What does guessing reach?")
    assert "Predicting ill, the most frequent class of the test part, for every image has an accuracy of .667." in said


def test_many_rows_are_counted_and_few_are_named():
    rows = [row("dcl", 0.8, batch=size, label=f"dcl, batch {size}") for size in (8, 16, 32, 64)]
    tests = [differs(r.label, "random", 0.1, shown=size > 8) for r, size in zip(rows, (8, 16, 32, 64), strict=True)]
    found = answer(section([*rows, row("random", 0.7)], tests), WORDS)
    each = ", ".join(f"dcl (batch {size}) +.100 [+.080, +.120]" for size in (16, 32, 64))
    assert f"3 of 4 rows are significantly better than random by knn ({each})." in found.headline
    assert "no significant difference: dcl (batch 8)" in lines(found, "Better than random")[0]


def test_two_rows_are_told_in_their_order_with_intervals_and_many_without():
    names = ("knn", "linear", "mlp", "attention")
    sizes = {"dcl": 0.1, "mae": 0.05}
    tests = [differs(m, "random", by, shown=True, evaluator=name) for name in names for m, by in sizes.items()]

    def headline(count):
        shown = names[:count]
        baseline = row("random", 0.7, evaluators=shown)
        some = [row(m, 0.7 + by, evaluators=shown) for m, by in sizes.items()]
        return answer(section([*some, baseline], [t for t in tests if t.evaluator in shown]), WORDS).headline

    both = "(dcl +.100 [+.080, +.120], mae +.050 [+.030, +.070])"
    assert f"dcl and mae are significantly better than random by knn {both} and linear {both}." in headline(2)
    assert "by knn (dcl +.100, mae +.050), linear (dcl +.100, mae +.050)" in headline(4)


def test_batch_sizes_are_compared_within_a_method():
    rows = [row("dcl", 0.8, batch=size, label=f"dcl, batch {size}") for size in (16, 64)]
    [line] = lines(
        answer(section(rows, [differs("dcl, batch 16", "dcl, batch 64", -0.1, shown=True)]), WORDS), "Does the batch"
    )
    assert line == "knn: dcl is significantly worse at batch size 16 than at 64, -.100 [-.120, -.080] (p = .010)."


def test_shares_of_labels_are_sorted_by_what_is_shown():
    rows, comparisons = [], []
    for share, shown in ((1.0, False), (0.1, True)):
        suffix = "" if share == 1 else f", {100 * share:g} % of labels"
        rows += [row(m, 0.8, fraction=share, label=m + suffix) for m in ("dcl", "random")]
        comparisons.append(differs("dcl" + suffix, "random" + suffix, 0.1, shown=shown))
    [line] = lines(answer(section(rows, comparisons), WORDS), "With fewer labels?")
    assert (
        line
        == "knn: compared with random, significantly better at 10 %; no significant difference at 100 % of the labels."
    )


def test_two_baselines_of_one_method_are_both_compared_with_few_labels():
    rows, comparisons = [], []
    for share in (1.0, 0.1):
        suffix = f", {100 * share:g} % of labels"
        rows.append(row("dcl", 0.8, fraction=share, label="dcl" + suffix))
        for size, shown in ((64, False), (224, True)):
            name = f"random, {size} px{suffix}"
            rows.append(row("random", 0.8, fraction=share, label=name))
            comparisons.append(differs("dcl" + suffix, name, 0.1, shown=shown))
    assert lines(answer(section(rows, comparisons), WORDS), "With fewer labels?") == (
        "knn: compared with random, 64 px, no significant difference at 10 % and 100 % of the labels.",
        "knn: compared with random, 224 px, significantly better at 10 % and 100 % of the labels.",
    )


def test_of_several_methods_those_that_are_better_with_few_labels_are_named():
    rows, comparisons = [], []
    for share, by in ((1.0, {"dcl": 0.1, "simclr": 0.1}), (0.1, {"dcl": 0.1, "simclr": -0.1}), (0.01, {"dcl": 0.1})):
        suffix = f", {100 * share:g} % of labels"
        rows += [row(m, 0.8, fraction=share, label=m + suffix) for m in ("dcl", "simclr", "random")]
        comparisons += [
            differs(m + suffix, "random" + suffix, by.get(m, 0.0), shown=m in by) for m in ("dcl", "simclr")
        ]
    [line] = lines(answer(section(rows, comparisons), WORDS), "With fewer labels?")
    assert line == (
        "knn: compared with random, dcl significantly better at 1 %; dcl significantly better and simclr significantly "
        "worse at 10 %; all significantly better at 100 % of the labels."
    )
