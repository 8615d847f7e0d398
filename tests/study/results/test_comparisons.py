"""Paired differences: values by scikit-learn, tests by scipy, intervals by a loop."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from medssl.contracts.targets import Classes
from medssl.evaluation.metrics import Scored
from medssl.evaluation.metrics.discrimination import AUROC
from medssl.evaluation.uncertainty.statistics import holm, sign_flip_exact, t_test
from medssl.study.results.summary import summarise


def load(run):
    with np.load(run.path / "predictions.npz") as file:
        return dict(file)


def auroc_shares(proba, labels):
    return AUROC().contributions(Scored(Classes(("a", "b", "c")), labels, proba))


def right(run, name="knn"):
    saved = load(run)
    return saved[name].argmax(1) == saved["y"]


def of(summary, metric="accuracy"):
    return [c for c in summary.comparisons if c.metric == metric]


def single(i):
    return None


def test_two_runs_without_groups_are_compared_by_mcnemars_exact_test(make_run):
    runs = [make_run(group_of=single, accuracy=0.8), make_run(method="simclr", group_of=single, accuracy=0.6)]
    (comparison,) = of(summarise(runs))
    a, b = (right(run) for run in runs)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert comparison.p == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert comparison.difference == pytest.approx(a.mean() - b.mean())


def test_groups_are_flipped_whole_and_seeds_are_summed(make_run):
    runs = [make_run(method=m, seed=s, accuracy=p) for m, p in (("dcl", 0.8), ("simclr", 0.65)) for s in (0, 1)]
    (comparison,) = of(summarise(runs))
    first, second = (sum(right(run).astype(int) for run in pair) for pair in (runs[:2], runs[2:]))
    by_group = (first - second).reshape(30, 3).sum(axis=1)  # groups are three images in a row
    assert comparison.p == pytest.approx(sign_flip_exact(by_group))


def test_rows_of_unequal_numbers_of_seeds_are_compared_by_their_means(make_run):
    runs = [make_run(seed=0), make_run(seed=1), make_run(seed=2), make_run(method="simclr")]
    (comparison,) = of(summarise(runs))
    first = sum(right(run).astype(int) for run in runs[:3])
    by_group = (first - 3 * right(runs[3])).reshape(30, 3).sum(axis=1)
    assert comparison.p == pytest.approx(sign_flip_exact(by_group))
    assert comparison.difference == pytest.approx(
        np.mean([r.scores["knn"]["accuracy"].value for r in runs[:3]]) - runs[3].scores["knn"]["accuracy"].value
    )


def test_the_interval_of_a_difference_equals_a_loop_over_the_same_groups(make_run):
    runs = [make_run(bootstrap=60), make_run(method="simclr", bootstrap=60)]
    (comparison,) = of(summarise(runs), "balanced_accuracy")
    saved = [load(run) for run in runs]
    label = saved[0]["y"]
    order = np.unique([f"g{i}" for i in range(30)])  # units are numbered in the order of their names
    values = []
    for units in np.random.default_rng(0).integers(0, 30, size=(60, 30)):
        index = np.concatenate([3 * int(order[u][1:]) + np.arange(3) for u in units])
        a, b = (balanced_accuracy_score(label[index], s["knn"].argmax(1)[index]) for s in saved)
        values.append(a - b)
    assert (comparison.low, comparison.high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))


def test_balanced_accuracy_is_tested_by_swapping_groups(make_run):
    runs = [make_run(accuracy=0.75), make_run(method="simclr", accuracy=0.6)]
    (comparison,) = of(summarise(runs), "balanced_accuracy")
    saved = [load(run) for run in runs]
    label, predicted = saved[0]["y"], [s["knn"].argmax(1) for s in saved]
    generator, far, flips = np.random.default_rng(5), 0, 1500

    def balanced(guess):
        return np.mean([np.mean(guess[label == c] == c) for c in range(3)])

    for _ in range(flips):
        swap = np.repeat(generator.integers(0, 2, 30), 3).astype(bool)
        a, b = np.where(swap, predicted[1], predicted[0]), np.where(swap, predicted[0], predicted[1])
        far += abs(balanced(a) - balanced(b)) >= abs(comparison.difference) - 1e-9
    assert comparison.p == pytest.approx(far / flips, abs=0.04)


def test_aurocs_are_tested_by_groups_with_the_mean_over_seeds(make_run):
    runs = [make_run(method=m, seed=s, accuracy=p) for m, p in (("dcl", 0.8), ("simclr", 0.65)) for s in (0, 1)]
    (comparison,) = of(summarise(runs), "auroc")
    saved = [load(run) for run in runs]
    label = saved[0]["y"]
    values = [roc_auc_score(label, s["knn"], multi_class="ovr") for s in saved]
    shares = [auroc_shares(s["knn"], label) for s in saved]
    assert comparison.difference == pytest.approx(np.mean(values[:2]) - np.mean(values[2:]))
    by_group = (np.mean(shares[:2], axis=0) - np.mean(shares[2:], axis=0)).reshape(30, 3).sum(axis=1)
    assert comparison.p == pytest.approx(t_test(comparison.difference, by_group))


def test_holms_correction_is_over_all_evaluators_and_pairs_of_a_table(make_run):
    methods = {"dcl": 0.85, "simclr": 0.7, "vicreg": 0.65}
    runs = [make_run(method=m, accuracy=p, evaluators=("knn", "linear")) for m, p in methods.items()]
    table = of(summarise(runs))
    assert len(table) == 6
    assert [c.p_adjusted for c in table] == pytest.approx(holm([c.p for c in table]))


def test_equal_methods_show_no_difference_and_unequal_ones_do(make_run):
    runs = [make_run(method=m, accuracy=p) for m, p in (("dcl", 0.95), ("simclr", 0.95), ("random", 0.4))]
    shown = {frozenset((c.first, c.second)): c.shown for c in of(summarise(runs))}
    assert shown == {
        frozenset(("dcl", "simclr")): False,
        frozenset(("dcl", "random")): True,
        frozenset(("simclr", "random")): True,
    }


def test_a_difference_that_seeds_do_not_bear_out_is_not_shown(make_run):
    """One seed of three carries it all: other test images would confirm it, another seed would not."""
    runs = [make_run(seed=s, accuracy=p, n=300) for s, p in enumerate((0.98, 0.5, 0.5))]
    runs += [make_run(method="simclr", seed=s, accuracy=0.5, n=300) for s in range(3)]
    (comparison,) = of(summarise(runs))
    assert comparison.p_adjusted < 0.05
    assert comparison.low < 0 < comparison.high
    assert not comparison.shown


def test_the_first_of_a_comparison_with_a_baseline_is_the_method(make_run):
    runs = [make_run(method="random", epochs=0), make_run()]
    (comparison,) = of(summarise(runs))
    assert (comparison.first, comparison.second) == ("dcl", "random")


def test_rows_are_compared_that_differ_in_one_thing(make_run):
    runs = [make_run(method=m, train__batch_size=b) for m in ("dcl", "simclr") for b in (16, 64)]
    pairs = {(c.first, c.second) for c in of(summarise(runs))}
    assert len(pairs) == 4
    assert ("dcl, batch 16", "simclr, batch 64") not in pairs


def test_a_baseline_is_compared_with_every_batch_size(make_run):
    runs = [make_run(method="random", epochs=0)]
    runs += [make_run(train__batch_size=b) for b in (16, 64)]
    assert len(of(summarise(runs))) == 3


def test_rows_tested_on_other_images_or_with_fewer_labels_are_not_compared(make_run):
    runs = [
        make_run(),
        make_run(method="simclr", split__label_fraction=0.1),
        make_run(method="vicreg", ids=[f"{i:03}.png" for i in range(3, 93)]),
    ]
    assert summarise(runs).comparisons == ()


def test_patients_are_compared_by_their_pooled_predictions(make_run):
    def patient(i):
        return f"p{i % 3}-{i // 9}"  # three images of one class

    options = {"group_of": patient, "pooling": "mean", "bootstrap": 60, "evaluate__unit": "group"}
    runs = [make_run(accuracy=0.7, **options), make_run(method="simclr", accuracy=0.45, **options)]
    summary = summarise(runs)
    (comparison,) = of(summary)
    tables = []
    for run in runs:
        saved, found = load(run), {}
        for name, proba in zip(saved["id"].tolist(), saved["knn"], strict=True):
            found.setdefault(patient(int(name[:3])), []).append(proba)
        means = {name: np.mean(rows, axis=0) for name, rows in found.items()}
        tables.append({name: mean.argmax() == int(name[1]) for name, mean in means.items()})
    names = sorted(tables[0])
    first, second = (np.array([int(table[name]) for name in names]) for table in tables)
    assert comparison.difference == pytest.approx(first.mean() - second.mean())
    assert comparison.p == pytest.approx(sign_flip_exact(first - second))
    drawn = np.random.default_rng(0).integers(0, 30, size=(60, 30))
    wanted = [(first - second)[units].mean() for units in drawn]
    assert (comparison.low, comparison.high) == pytest.approx(tuple(np.quantile(wanted, (0.025, 0.975))))


def test_images_are_compared_unless_all_runs_ask_for_patients(make_run):
    options = {"group_of": lambda i: f"p{i % 3}-{i // 9}", "pooling": "mean"}
    runs = [make_run(evaluate__unit="group", **options), make_run(method="simclr", **options)]
    summary = summarise(runs)
    assert {row.unit for row in summary.rows} == {"image"}
    (comparison,) = of(summary)
    assert comparison.difference == pytest.approx(right(runs[0]).mean() - right(runs[1]).mean())
