"""Messages that list names stay readable, however many names there are and however long they are."""

from __future__ import annotations

import pytest

from medssl.contracts import Classes, Findings, Sample
from medssl.contracts.targets.named import require_names
from medssl.data.split.folds import refuse_undivided
from medssl.data.split.protocols import Words, refuse_small_strata
from medssl.errors import DataError, counted, shorten
from medssl.recipe.settings import SplitSettings

MANY = tuple(f"{'a long name ' * 30}{number}" for number in range(500))
LONGEST = 3000  # characters: what a person still reads


def test_shorten_counts_what_it_leaves_out_and_cuts_long_names():
    assert shorten("abc", 5) == "a, b, c"
    assert shorten("abcdefg", 2, "; ") == "a; b and 5 more"
    assert len(shorten(MANY)) < 600
    assert shorten(MANY).endswith("and 495 more")


def test_a_number_has_its_noun_in_the_right_form():
    assert [counted(number, "class") for number in (0, 1, 2)] == ["0 classes", "1 class", "2 classes"]
    assert counted(1024, "image") == "1,024 images"


def test_a_message_has_an_end():
    """Found by a fuzz test: libraries and damaged files put anything into their words."""
    said = str(DataError(f"the file {'x' * 100_000} is damaged. Delete it."))
    assert len(said) < 9100
    assert said.startswith("the file x")
    assert f"xx [{100_032 - 9000} characters] xx" in said
    assert said.endswith("x is damaged. Delete it.")
    assert str(DataError("short")) == "short"


def small_strata() -> None:
    samples = [Sample(id=str(i), y=i, group=str(i)) for i in range(500)]
    refuse_small_strata(samples, 3, "", Words("patient", Classes(MANY)), grouped=True)


def small_folds() -> None:
    samples = [Sample(id=str(i), y=i, group=str(i)) for i in range(500)]
    refuse_undivided(samples, SplitSettings(fold=0), "loso", Words("patient", Classes(MANY)))


@pytest.mark.parametrize(
    "raise_it",
    [
        small_strata,
        small_folds,
        lambda: Classes(MANY).parse("other"),
        lambda: Findings(MANY).parse("other"),
        lambda: require_names((*MANY, MANY[0]), "classes"),
    ],
)
def test_a_message_about_many_names_is_short(raise_it):
    with pytest.raises((DataError, ValueError)) as caught:
        raise_it()
    assert len(str(caught.value)) < LONGEST
