"""Groups from a table, for any dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from medssl.contracts import Classes, Listing, Sample
from medssl.data.group_table import with_groups
from medssl.errors import DataError

ROOT = Path("/data/lungs")


def listing(**facts):
    samples = [Sample(id=f"a/{i}.png", y=i % 2, group="old" if i == 3 else None) for i in range(4)]
    return Listing(samples=samples, target=Classes(("a", "b")), **facts)


def table(tmp_path, text):
    file = tmp_path / "groups.csv"
    file.write_text(text, encoding="utf-8-sig")
    return file


def test_groups_replace_those_of_the_dataset_and_the_split_keeps_them_together(tmp_path, caplog) -> None:
    file = table(tmp_path, "label,path,group\nx,a/0.png,p1\nx,lungs/a/1.png,p1\nx,a\\2.png,\n")
    found = with_groups(listing(), file, ROOT)
    assert [sample.group for sample in found.samples] == ["p1", "p1", None, None]
    assert (found.default_split, found.group_kind) == ("grouped", "group")
    assert "1 images no group" in caplog.text


def test_official_parts_stay_the_default(tmp_path) -> None:
    found = with_groups(
        listing(default_split="official", group_kind="patient"), table(tmp_path, "path,group\na/0.png,p\n"), ROOT
    )
    assert (found.default_split, found.group_kind) == ("official", "patient")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,group\nelsewhere.png,p\n", "match no image"),
        ("file,patient\na,b\n", "needs the columns 'path' and 'group'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, said) -> None:
    with pytest.raises(DataError, match=said):
        with_groups(listing(), table(tmp_path, text), ROOT)


def test_a_missing_table_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        with_groups(listing(), tmp_path / "none.csv", ROOT)
