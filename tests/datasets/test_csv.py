"""Images listed in a table: columns, parts, groups, and what users get wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from medssl.errors import DataError
from medssl.recipe import options
from medssl_datasets.csv import Csv

NAMES = [f"{number}.png" for number in range(1, 5)]


def build(root: Path, **values: object) -> Csv:
    return Csv(options.build(Csv.Config, values, "dataset"), root)


@pytest.fixture
def table(tmp_path, write):
    """Write a table over four images; give its folder."""

    def write_table(text: str, name: str = "images.csv", encoding: str = "utf-8") -> Path:
        write(tmp_path, NAMES)
        (tmp_path / name).write_text(text, encoding=encoding)
        return tmp_path

    return write_table


FULL = "path,label,group,part\n1.png,b,p1,train\n2.png,a,p2,test\n3.png,,p2,Validation\n4.png,b,,\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_become_samples(table, delimiter, encoding):
    dataset = build(table(FULL.replace(",", delimiter), encoding=encoding))
    samples = dataset.index().samples
    assert dataset.index().target.names == (
        "a",
        "b",
    )
    assert [(s.id, s.y, s.group, s.part) for s in samples] == [
        ("1.png", 1, "p1", "train"),
        ("2.png", 0, "p2", "test"),
        ("3.png", None, "p2", "val"),
        ("4.png", 1, None, None),
    ]
    assert (dataset.index().default_split, dataset.index().group_kind) == ("official", "group")
    assert dataset.read(samples[2]).shape == (4, 3, 3)
    assert dataset.path(samples[2]) == dataset.root / "3.png"


def test_order_of_the_rows_does_not_matter(table):
    first = build(table(FULL)).index().samples
    header, *rows = FULL.strip().split("\n")
    assert build(table("\n".join([header, *reversed(rows)]))).index().samples == first


def test_groups_are_called_what_their_column_is_called(table):
    dataset = build(table("path,label,source_tile\n1.png,a,t1\n2.png,b,t2\n"), group_column="source_tile")
    dataset.index()
    assert dataset.index().group_kind == "source tile"


def test_only_path_and_label_are_needed(table):
    dataset = build(table("path,label\n1.png,a\n2.png,b\n"))
    assert {(s.group, s.part) for s in dataset.index().samples} == {(None, None)}
    assert (dataset.index().default_split, dataset.index().group_kind) == ("random", None)


def test_columns_and_prefix_can_be_named(tmp_path, write):
    write(tmp_path, [f"images/{name}" for name in NAMES])
    (tmp_path / "a.csv").write_text("file,finding,patientid,set,part\n1.png,x,7,train,odd\n2.png,y,8,test,odd\n")
    (tmp_path / "b.csv").write_text("unused\n")
    dataset = build(
        tmp_path,
        file="a.csv",
        path_column="file",
        label_column="finding",
        group_column="patientid",
        part_column="set",
        path_prefix="images",
    )
    assert [(s.id, s.group, s.part) for s in dataset.index().samples] == [
        ("images/1.png", "7", "train"),
        ("images/2.png", "8", "test"),
    ]
    assert dataset.index().group_kind == "patient"


@pytest.mark.parametrize("path", ["./1.png", "sub/../1.png", "{root}/1.png", " 1.png "])
def test_one_file_has_one_id_however_it_is_written(table, path):
    root = table("")
    (root / "images.csv").write_text(f"path,label\n{path.format(root=root)},a\n")
    assert [s.id for s in build(root).index().samples] == ["1.png"]


def test_backslashes_are_slashes(tmp_path, write):
    write(tmp_path, ["a/1.png"])
    (tmp_path / "t.csv").write_text("path,label\na\\1.png,x\n")
    assert [s.id for s in build(tmp_path).index().samples] == ["a/1.png"]


def test_whole_numbers_sort_by_value(table):
    dataset = build(table("path,label\n1.png,10\n2.png,9\n3.png,-1\n4.png,9\n"))
    dataset.index()
    assert dataset.index().target.names == (
        "-1",
        "9",
        "10",
    )


def test_cells_may_be_quoted_and_rows_short_or_blank(table):
    dataset = build(table('path,label,notes,group\n1.png,"a, ""b""","two\nlines",g\n\n,,,\n2.png,c\n'))
    assert [(s.id, s.group) for s in dataset.index().samples] == [("1.png", "g"), ("2.png", None)]
    assert dataset.index().target.names == (
        'a, "b"',
        "c",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\n1.png,a\nx.png,a\ny.png,b\n",
            r"2 rows of images.csv match no file: x.png, y.png. .*absent=skip",
        ),
        ("path,label\n1.png,a\n./1.png,b\n2.png,b\n", r"1 images have several rows that disagree: 1.png .label: a, b."),
        ("path,label\n1.png,a\n,b\n", r"has no image path in 1 rows: line 3"),
        ("path,lable\n1.png,a\n", r"no column 'label'. Did you mean 'lable'.*label_column"),
        ("file,label\n1.png,a\n", r"no column 'path'.*Its columns: file, label.*path_column"),
        ("path,label\n1.png,\n2.png,\n", r"column 'label' of .* is empty"),
        ("path,label,label\n1.png,a,b\n", r"several columns named 'label'"),
        ("path,label\n", r"no rows below its header"),
        ("", r"no rows below its header"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(table, text, message):
    with pytest.raises(DataError, match=message):
        build(table(text)).index()


def test_many_missing_files_are_listed_with_a_count(table):
    rows = "".join(f"gone{number:02d}.png,a\n" for number in range(30))
    with pytest.raises(DataError, match=r"^csv: 30 rows of images.csv .*gone00.png, .*gone04.png and 25 more"):
        build(table(f"path,label\n{rows}")).index()


def test_parts_that_nobody_can_read_are_an_error_if_the_column_was_named(table, warned):
    text = "path,label,part\n1.png,a,train\n2.png,b,odd\n"
    with pytest.raises(DataError, match="contains unknown parts: odd"):
        build(table(text), part_column="part").index()
    assert {sample.part for sample in build(table(text)).index().samples} == {None}
    assert "the column 'part' holds odd, which are no parts of a split, and is not used" in warned()


def test_which_of_several_tables_must_be_said(table, tmp_path):
    with pytest.raises(DataError, match="has no table"):
        build(tmp_path / "gone").index()
    table(FULL, "b.csv")
    with pytest.raises(DataError, match=r"has 2 tables: a.csv, b.csv"):
        build(table(FULL, "a.csv")).index()
    with pytest.raises(DataError, match=r"the table c.csv is neither"):
        build(tmp_path, file="c.csv").index()
    assert len(build(tmp_path, file=str(tmp_path / "b.csv")).index().samples) == 4


# --------------------------------------------------------------------------------------------------------- real images


def test_covid_chest_xrays(real_data):
    dataset = build(
        real_data("covid_chestxray"),
        path_column="filename",
        path_prefix="images",
        label_column="finding",
        group_column="patientid",
    )
    samples = dataset.index().samples
    assert len(samples) == 101
    assert len({s.group for s in samples}) == 54
    assert dataset.read(samples[0]).ndim == 3


def test_malaria(real_data):
    samples = build(real_data("malaria"), group_column="slide_patient").index().samples
    assert Counter(s.y for s in samples) == {0: 1598, 1: 2400}
    assert len({s.group for s in samples}) == 200


def test_lung_tiles(real_data):
    dataset = build(real_data("lc25000_lung"))
    samples = dataset.index().samples
    assert len(samples) == 3698
    assert len({s.group for s in samples}) == 740
    assert dataset.index().target.names == (
        "lung_aca",
        "lung_n",
        "lung_scc",
    )
    assert dataset.index().default_split == "grouped"
