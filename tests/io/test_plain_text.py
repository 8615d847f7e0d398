"""Texts of files and plugins, made safe for screens, tables and names of files."""

import csv
import io

import pytest

from medssl.io.plain_text import file_stem, is_device, printable, table_cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("benign\n\tmalign", "benign\n\tmalign"),
        ("Bösartig 肺 ش", "Bösartig 肺 ش"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        ("a\x9b31mb", "a\\x9b31mb"),
        ("gnp.\u202eexe", "gnp.\\u202eexe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("m\udcfcller", "m\\xfcller"),
        ("\ud800", "\\ud800"),
        ("a\rb", "a\\x0db"),
    ],
)
def test_what_steers_a_terminal_is_written_as_an_escape(text, shown):
    assert printable(text) == shown
    printable(text).encode()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=x", "'\t=x"),
        ("-0.25", "-0.25"),
        ("+1e-3", "+1e-3"),
        ("-", "'-"),
        ("benign", "benign"),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_a_formula_is_a_text_and_a_number_is_a_number(value, cell):
    assert table_cell(value) == cell
    file = io.StringIO()
    csv.writer(file).writerow([table_cell(value)])


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a/b", "a\\b", "..", "", "x" * 300, "ä", "CON:", "a\0b"])
def test_a_file_name_is_plain_and_stays_different(tmp_path, text):
    name = file_stem(text)
    (tmp_path / f"{name}.svg").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.svg"]
    assert file_stem(text + "?") != name
    assert file_stem("phantom-grouped-map-0") == "phantom-grouped-map-0"


@pytest.mark.parametrize("name", ["con", "NUL", "nul.png", "Com1.tar.gz", "lpt9", "aux .txt", "COM\u00b9"])
def test_the_name_of_a_device_on_windows_is_changed(name):
    assert is_device(name)
    assert not is_device(file_stem(name))
    assert file_stem(name) != file_stem(name.swapcase())


@pytest.mark.parametrize("name", ["contrast", "nulliparous", "com", "com10", "lpt", "benign"])
def test_other_names_stay(name):
    assert not is_device(name)
    assert file_stem(name) == name
