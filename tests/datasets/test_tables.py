"""Tables as people have them: encodings, delimiters, missing values, spellings, paths. Each test is one kind."""

from __future__ import annotations

import csv as csv_module
from pathlib import Path

import pytest

from medssl.contracts import Sample
from medssl.errors import DataError, OptionError
from medssl.recipe import options
from medssl_datasets.csv import Csv
from medssl_datasets.tables import files
from medssl_datasets.tables.reading import read_table


def build(root: Path, **values: object) -> Csv:
    return Csv(options.build(Csv.Config, values, "dataset"), root)


def labels(root: Path, **values: object) -> dict[str, str | None]:
    """Return the label of each image by its path."""
    listing = build(root, **values).index()

    def of(sample: Sample) -> str | None:
        return None if sample.y is None else listing.target.text(sample.y)

    return {sample.id: of(sample) for sample in listing.samples}


@pytest.fixture
def images(tmp_path, write):
    """A folder with 1.png to 8.png."""
    return write(tmp_path, [f"{i}.png" for i in range(1, 9)])


def rows_of(*cells: str, header: str = "path,label") -> str:
    return "\n".join([header, *(f"{i}.png,{cell}" for i, cell in enumerate(cells, 1))]) + "\n"


MISSING = [
    "nan",
    "NaN",
    "NA",
    "N/A",
    "None",
    "NULL",
    "null",
    "?",
    "-",
    "#N/A",
    "<NA>",
    " ",
    "n.a.",
    "--",
    "NaT",
    "unknown",
]


@pytest.mark.parametrize("word", MISSING)
def test_missing_labels_are_no_class(images, word):
    (images / "t.csv").write_text(rows_of("a", "b", word, word))
    assert labels(images) == {"1.png": "a", "2.png": "b", "3.png": None, "4.png": None}


@pytest.mark.parametrize("word", MISSING)
def test_missing_patients_are_no_patient(images, word):
    (images / "t.csv").write_text(rows_of("a,p1", "b,p1", f"a,{word}", f"b,{word}", header="path,label,group"))
    assert [sample.group for sample in build(images).index().samples] == ["p1", "p1", None, None]


def test_a_missing_value_may_be_a_class_if_the_user_says_so(images, warned):
    (images / "t.csv").write_text(rows_of("None", "mild", "None", "severe"))
    assert set(labels(images, names=["None", "mild", "severe"]).values()) == {"None", "mild", "severe"}
    assert labels(images)["1.png"] is None
    assert "read as missing: 2 labels 'None'" in warned()


def test_plus_and_minus_are_two_classes(images):
    (images / "t.csv").write_text(rows_of("+", "-", "+", "-"))
    assert set(labels(images).values()) == {"+", "-"}


@pytest.mark.parametrize(
    ("written", "classes"),
    [
        (["Benign", "benign", " benign ", "Benign", "malignant"], {"Benign", "malignant"}),
        (["1", "1.0", "01", "0", "0.0"], {"0", "1"}),
        (["no tumor", "no_tumor", "No  tumor", "tumor", "no tumor"], {"no tumor", "tumor"}),
        (["0.0", "1.0", "", "nan", "1.0"], {"0", "1"}),
    ],
)
def test_one_class_in_several_spellings_is_one_class(images, warned, written, classes):
    (images / "t.csv").write_text(rows_of(*written))
    assert set(labels(images).values()) - {None} == classes
    assert ("differ only in letter case" in warned()) == (written[0] != "0.0")


def test_names_that_the_user_gives_take_up_other_spellings(images):
    (images / "t.csv").write_text(rows_of("BENIGN", "Malignant", "malignant"))
    assert list(labels(images, names=["benign", "malignant"]).values()) == ["benign", "malignant", "malignant"]


@pytest.mark.parametrize(("meaning", "expected"), [("unknown", None), ("absent", "0"), ("present", "1")])
def test_minus_one_beside_zero_and_one_is_uncertain(images, meaning, expected):
    (images / "t.csv").write_text(rows_of("0", "1", "-1"))
    assert labels(images, uncertain=meaning)["3.png"] == expected


def test_a_cell_above_the_limit_of_the_csv_module_is_read(images):
    (images / "t.csv").write_text(rows_of(f"a,{'1 2 ' * 50_000}", "b,", header="path,label,mask"))
    before = csv_module.field_size_limit()
    assert list(labels(images).values()) == ["a", "b"]
    assert csv_module.field_size_limit() == before


@pytest.mark.parametrize("first", ["sep=;\n", "\n\n", ";;\n", "Export of 1 May\n\n", "\ufeffsep=;\r\n"])
def test_lines_above_the_header_are_skipped(images, first):
    (images / "t.csv").write_text(first + rows_of("a", "b").replace(",", ";"), encoding="utf-8")
    assert list(labels(images).values()) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings(images, encoding):
    (images / "t.csv").write_text(rows_of("m\u00fcde", "wach"), encoding=encoding)
    assert list(labels(images).values()) == ["m\u00fcde", "wach"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_quoted_newlines(images, delimiter):
    text = rows_of('a,"two, three\nlines"', "b,x", header="path,label,notes").replace(",", delimiter)
    (images / "t.tsv").write_text(text)
    assert list(labels(images).values()) == ["a", "b"]


def test_a_damaged_workbook_with_the_suffix_of_text_is_named(images):
    (images / "t.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="it is damaged"):
        build(images).index()


def test_decimal_commas_are_numbers(images):
    (images / "t.csv").write_text("path;label\n1.png;0,5\n2.png;1,25\n3.png;\n4.png;2\n")
    assert [s.y for s in build(images, target="quantity", unit="mm").index().samples] == [0.5, 1.25, None, 2.0]


def test_a_quantity_with_text_is_an_error_that_names_the_lines(images):
    (images / "t.csv").write_text(rows_of("1", "two", "3"))
    with pytest.raises(DataError, match=r"1 cells in the column 'label' .* line 3: 'two' is not a number in label"):
        build(images, target="quantity").index()


def test_the_same_column_name_twice_matters_only_for_a_column_that_is_used(images):
    (images / "t.csv").write_text("path,label,x,x\n1.png,a,1,2\n2.png,b,3,4\n")
    assert len(labels(images)) == 2
    with pytest.raises(DataError, match="several columns named 'x'"):
        build(images, group_column="x").index()


def test_columns_are_found_in_any_letter_case(images):
    (images / "t.csv").write_text("Path,LABEL\n1.png,a\n2.png,b\n")
    assert list(labels(images).values()) == ["a", "b"]


# --------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("written", "how"),
    [
        ("x/s1/7a.png", None),
        ("x\\s1\\7a.png", None),
        ("./x/s1/7a.png", None),
        ("x/s1/7a", "by adding the suffix"),
        ("7a.png", "by name"),
        ("7a", "by name"),
        ("7A.PNG", "by name"),
        ("7a.jpg", "another suffix"),
        ("/home/anna/project/x/s1/7a.png", "by name"),
        ("C:\\data\\x\\s1\\7a.png", "by name"),
        ("../input/kaggle/x/s1/7a.png", "by name"),
    ],
)
def test_an_image_is_found_however_it_is_written(tmp_path, write, warned, written, how):
    write(tmp_path, ["x/s1/7a.png", "x/s2/8b.png"])
    (tmp_path / "t.csv").write_text(f"path,label\n{written},a\nx/s2/8b.png,b\n")
    assert labels(tmp_path) == {"x/s1/7a.png": "a", "x/s2/8b.png": "b"}
    assert (how or "") in warned()
    assert bool(warned()) == (how is not None)


def test_images_may_lie_outside_the_data_folder(tmp_path, write):
    write(tmp_path, ["far/1.png", "far/2.png"])
    (tmp_path / "here").mkdir()
    (tmp_path / "here/t.csv").write_text(f"path,label\n{tmp_path}/far/1.png,a\n../far/2.png,b\n")
    assert labels(tmp_path / "here") == {"../far/2.png": "b", f"{tmp_path}/far/1.png": "a"}


@pytest.mark.parametrize("written", ["7", "7.0", "007.png"])
def test_lost_zeros_are_found_again(tmp_path, write, warned, written):
    write(tmp_path, ["a/00007.png", "a/00012.png"])
    (tmp_path / "t.csv").write_text(f"path,label\n{written},a\n00012.png,b\n")
    assert labels(tmp_path) == {"a/00007.png": "a", "a/00012.png": "b"}
    assert "leading zeros" in warned()


def test_ids_of_dots_are_no_suffixes(tmp_path, write):
    write(tmp_path, ["a/1.2.840.113564.png", "b/1.2.840.2.png"])
    (tmp_path / "t.csv").write_text("path,label\n1.2.840.113564,a\n1.2.840.2,b\n")
    assert list(labels(tmp_path).values()) == ["a", "b"]


def test_paths_may_be_relative_to_the_table(tmp_path, write):
    write(tmp_path, ["set/images/1.png", "set/images/2.png"])
    (tmp_path / "set/t.csv").write_text("path,label\nimages/1.png,a\nimages/2.png,b\n")
    assert labels(tmp_path, file="set/t.csv") == {"set/images/1.png": "a", "set/images/2.png": "b"}


def test_a_name_in_several_folders_is_an_error_unless_the_folders_say_which(tmp_path, write):
    write(tmp_path, ["a/1.png", "b/1.png"])
    (tmp_path / "t.csv").write_text("path,label\n1.png,x\n")
    with pytest.raises(
        DataError, match=r"1 names .* stand for several files, for instance '1.png' for a/1.png, b/1.png"
    ):
        build(tmp_path).index()
    (tmp_path / "t.csv").write_text("path,label\n/old/a/1.png,x\n/old/b/1.png,y\n")
    assert labels(tmp_path) == {"a/1.png": "x", "b/1.png": "y"}


def test_masks_are_never_found_by_name(tmp_path, write):
    write(tmp_path, ["x/images/1.png", "x/masks/1.png", "x/images/2.png", "x/masks/2.png"])
    (tmp_path / "t.csv").write_text("path,label\n1,a\n2,b\n")
    assert list(labels(tmp_path)) == ["x/images/1.png", "x/images/2.png"]


def test_rows_without_a_file_can_be_left_out(images, warned):
    (images / "t.csv").write_text(rows_of("a", "b") + "gone.png,a\n")
    assert len(labels(images, absent="skip")) == 2
    assert "1 of 3 rows match no file and are left out: gone.png" in warned()


def test_all_problems_of_a_table_are_said_at_once(images):
    (images / "t.csv").write_text("path,label,part\n1.png,x,train\ngone.png,y,odd\n,1,test\n")
    with pytest.raises(DataError) as caught:
        build(images, target="quantity", part_column="part").index()
    text = str(caught.value)
    assert "has 4 problems" in text
    for words in ("gone.png", "no image path in 1 rows", "'x' is not a number", "unknown parts: odd"):
        assert words in text


def test_images_in_no_row_are_named(images, warned):
    (images / "t.csv").write_text(rows_of("a", "b"))
    labels(images)
    assert (
        "not used, because in no row: 6 images beside the listed ones: 3.png, 4.png, 5.png, 6.png, 7.png and 1"
        in warned()
    )


def test_several_images_in_a_row(tmp_path, write):
    write(tmp_path, ["l1.png", "r1.png", "l2.png"])
    (tmp_path / "t.csv").write_text("ID,left,right,label\n1,l1.png,r1.png,a\n2,l2.png,,b\n")
    assert labels(tmp_path, path_columns=["left", "right"]) == {"l1.png": "a", "r1.png": "a", "l2.png": "b"}


# ------------------------------------------------------------------------------------------------------- rows, columns


def test_several_rows_of_one_image_are_merged_where_they_agree(images, warned):
    (images / "t.csv").write_text("path,label,group\n1.png,a,p\n1.png,a,\n2.png,b,q\n2.png,,q\n")
    assert labels(images) == {"1.png": "a", "2.png": "b"}
    assert "because they agree: 2 rows" in warned()


def test_findings_of_several_rows_can_be_put_together(images):
    (images / "t.csv").write_text(rows_of("mass", "effusion") + "1.png,effusion\n")
    with pytest.raises(DataError, match=r"1 images have several rows that disagree: 1.png.*several_rows=any"):
        build(images, target="findings").index()
    assert labels(images, target="findings", several_rows="any") == {"1.png": "effusion|mass", "2.png": "effusion"}


@pytest.mark.parametrize("refusal", ["none", ""])
def test_columns_called_group_and_part_can_be_refused(images, refusal):
    (images / "t.csv").write_text(rows_of("a,p,train", "b,q,test", header="path,label,group,part"))
    samples = build(images, group_column=refusal, part_column=refusal).index().samples
    assert {(sample.group, sample.part) for sample in samples} == {(None, None)}


def test_a_group_column_that_is_the_label_in_other_words_is_not_used(images, warned):
    write_rows = [f"{i}.png,{'AD' if i % 2 else 'CN'},{'patients' if i % 2 else 'controls'}" for i in range(1, 9)]
    (images / "t.csv").write_text("\n".join(["path,label,group", *write_rows, *write_rows]))
    assert {sample.group for sample in build(images).index().samples} == {None}
    assert "says nothing but the label" in warned()


@pytest.mark.parametrize(
    ("header", "cells", "said"),
    [
        ("Patient ID", ["7", "7", "8"], "group_column='Patient ID'"),
        ("lesion_id", ["x", "y", "x"], "group_column=lesion_id"),
        ("split", ["train", "test", "test"], "part_column=split"),
    ],
)
def test_columns_that_nobody_named_are_hinted_at(images, warned, header, cells, said):
    (images / "t.csv").write_text(rows_of(*(f"a{i},{c}" for i, c in enumerate(cells)), header=f"path,label,{header}"))
    labels(images)
    assert said in warned()


def test_patients_as_numbers_are_one_patient_in_any_format(images):
    (images / "t.csv").write_text(rows_of("a,12", "b,12.0", "a,012", header="path,label,group"))
    assert {sample.group for sample in build(images).index().samples} == {"12"}


def test_sites_and_subgroups_are_read(images):
    (images / "t.csv").write_text(rows_of("a,Bonn,M", "b,Kiel,", header="path,label,hospital,sex"))
    listing = build(images, site_column="hospital", subgroup_columns=["sex"]).index()
    assert [(s.site, dict(s.facts)) for s in listing.samples] == [("Bonn", {"sex": "M"}), ("Kiel", {})]
    assert listing.site_kind == "hospital"


CONDITIONS = {
    "view == pa": {1, 3},
    "view != PA": {2, 4},
    "view in PA|LL": {1, 3, 4},
    "view not in PA | LL": {2},
    "age >= 40": {2, 3},
    "age < 40": {1},
    "age == 40.0": {2},
    "age == ": {4},
    "view = 'AP'": {2},
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rows_are_chosen(images, warned, condition):
    (images / "t.csv").write_text(rows_of("a,PA,9", "b,AP,40", "a,PA,55", "b,LL,", header="path,label,view,age"))
    assert set(labels(images, where=[condition])) == {f"{i}.png" for i in CONDITIONS[condition]}
    assert "rows are left out by" in warned()


def test_conditions_are_no_code(images):
    (images / "t.csv").write_text(rows_of("a,1", "b,2", header="path,label,age"))
    for text in ("__import__('os')", "age", "== 3", "age >= old"):
        with pytest.raises(OptionError):
            build(images, where=[text])
    with pytest.raises(DataError, match=r"holds for no row.*The column has 1, 2"):
        build(images, where=["age == 7"]).index()


def test_findings_are_chosen(images):
    (images / "t.csv").write_text(rows_of("1,0,", "0,1,0", "1,1,1", header="path,mass,nodule,hernia"))
    columns = ["mass", "nodule", "hernia"]
    listing = build(images, label_columns=columns, rename=["mass|nodule -> lump"], leave_out=["hernia"]).index()
    assert (listing.target.names, [s.y for s in listing.samples]) == (("lump",), [(1,), (1,), (1,)])
    one = build(images, label_columns=columns, against_rest="hernia").index()
    assert (one.target.names, [s.y for s in one.samples]) == (("not hernia", "hernia"), [None, 0, 1])
    with pytest.raises(OptionError, match=r"names 'hernias'.*Did you mean 'hernia'"):
        build(images, label_columns=columns, leave_out=["hernias"]).index()


def test_a_table_without_labels(images):
    (images / "t.csv").write_text("path\n1.png\n2.png\n")
    with pytest.raises(DataError, match=r"no column 'label'.*none: the images have no labels"):
        build(images).index()
    listing = build(images, label_column="none").index()
    assert (listing.target.kind, [s.y for s in listing.samples]) == ("none", [None, None])


def test_semicolons_join_findings_if_no_bar_does(images):
    (images / "t.csv").write_text("path,label\n1.png,mass;Effusion\n2.png,effusion\n3.png,No finding\n")
    assert list(labels(images, target="findings").values()) == ["Effusion|mass", "Effusion", "no finding"]


# --------------------------------------------------------------------------------------------------- Excel and Parquet

ROWS = [("1.png", 1, 7.0, True), ("2.png", None, 8.0, False)]


def test_excel(images):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "notes"
    sheet = book.create_sheet("data")
    sheet.append(["path", "label", "group", "known"])
    for row in ROWS:
        sheet.append(row)
    book.save(images / "t.xlsx")
    table = read_table(images / "t.xlsx")
    assert [list(row) for row in table.rows] == [["1.png", "1", "7", "true"], ["2.png", "", "8", "false"]]
    assert [(s.y, s.group) for s in build(images).index().samples] == [(0, "7"), (None, "8")]
    with pytest.raises(DataError, match=r"no sheet 'x'. Its sheets: notes, data"):
        read_table(images / "t.xlsx", "x")


def test_parquet(images):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = ["path", "label", "group", "known"]
    columns = dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True)) | {"image": [b"x", b"y"]}
    parquet.write_table(arrow.table(columns), images / "t.parquet")
    table = read_table(images / "t.parquet")
    assert table.header == ("path", "label", "group", "known")
    assert [list(row) for row in table.rows] == [["1.png", "1", "7", "true"], ["2.png", "", "8", "false"]]


@pytest.mark.parametrize(("name", "extra"), [("t.xlsx", "excel"), ("t.parquet", "parquet")])
def test_a_missing_package_is_named_with_its_extra(images, monkeypatch, name, extra):
    import sys

    for module in ("openpyxl", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    (images / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"pip install 'medssl\[{extra}\]'"):
        build(images).index()


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        *[(name, "patient") for name in ("Patient ID", "patient_id", "patientid", "PatientID", "patient")],
        ("ID", "group"),
        ("source tile", "source tile"),
        ("slide_id", "slide"),
        ("solid", "solid"),
    ],
)
def test_groups_are_called_what_the_column_identifies(images, column, kind):
    lines = [f"path,label,{column}", *(f"{i}.png,{'ab'[i % 2]},{i // 2}" for i in range(1, 9))]
    (images / "t.csv").write_text("\n".join(lines))
    assert build(images, group_column=column).index().group_kind == kind


def test_long_tables_find_the_same_files_by_listing_folders(images, tmp_path, write, monkeypatch):
    outside = tmp_path.with_name(f"{tmp_path.name} outside")
    write(tmp_path, ["deep/one.png", "deep/folder.png/two.png"])
    write(outside, ["three.png"])
    (tmp_path / "link.png").symlink_to(tmp_path / "deep" / "one.png")
    texts = ["1.png", "deep/one.png", "deep\\one.png", "./2.png", "link.png", "deep/folder.png", "no/such.png"]
    texts += [str(outside / "three.png"), str(tmp_path / "3.png"), "deep/../4.png", ""]
    found = []
    for many in (1000, 1):
        monkeypatch.setattr(files, "_MANY", many)
        found.append(files.Finder(tmp_path, tmp_path, "").find(texts))
    assert found[0] == found[1]
    assert found[1].paths[:5] == ["1.png", "deep/one.png", "deep/one.png", "2.png", "link.png"]
    assert found[1].paths[5:7] == [None, None]


def test_a_table_that_was_just_understood_is_not_read_again_unless_it_changes(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("path,label\n1.png,a\n", encoding="utf-8")
    first = read_table(file, keep=True)
    assert read_table(file) is first
    assert read_table(file) is not first
    first = read_table(file, keep=True)
    file.write_text("path,label\n1.png,other\n", encoding="utf-8")
    assert read_table(file).rows == [["1.png", "other"]]
