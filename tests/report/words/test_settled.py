"""Whether training had settled is said from the histories, and not said where they are too short."""

import json

import pytest

from medssl.report.sections import make_sections
from medssl.report.words.settled import settled_text
from medssl.results.directory import RunDirectory
from medssl.study.results.summary import summarise


def said(run, losses, scores=()):
    lines = [
        {"epoch": i, "loss": loss, "validation": {"knn": scores[i]} if i < len(scores) else {}}
        for i, loss in enumerate(losses)
    ]
    RunDirectory(run.path).history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    [section] = make_sections(summarise([run]))
    return list(settled_text(section))


FLAT, FALLING = [4, 2, 1, 0.5, 0.3, 0.3, 0.3, 0.29], [8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("losses", "scores", "words"),
    [
        (FLAT, [], "Training had settled: the loss no longer changed."),
        (FLAT, [0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], "the loss and the validation score no longer changed."),
        (FALLING, [], "Training had not settled: the loss was still falling at the end."),
        (FLAT, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "not settled: the validation score was still rising at the"),
        (FALLING[:2], [], "Training was short: in 2 epochs, loss and validation cannot show"),
    ],
)
def test_the_end_of_the_training_is_judged(make_run, losses, scores, words):
    [line] = said(make_run(), losses, scores)
    assert words in line


def test_nothing_is_said_without_a_history(make_run):
    assert said(make_run(), []) == []
    assert said(make_run(method="random", epochs=0), FLAT) == []
