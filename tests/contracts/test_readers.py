"""The readers of a run as one: which file goes to which reader, frames, facts without identifiers, contradictions."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from medssl.contracts import FileFacts, Reader, Readers
from medssl.contracts.readers import Agreement, frame_numbers
from medssl.errors import DataError, OptionError


class Slices(Reader):
    """A file of text: the number of frames, the patient, the birth date."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        frames: str = "all"

    suffixes = frozenset({".slices", ".sl.gz"})

    def recognises(self, path, head):
        return head.startswith(b"slices ")

    def frames(self, path):
        if not path.read_text().strip():
            raise DataError(f"{path} is empty")
        return int(path.read_text().split()[1])

    def chosen(self, path):
        return frame_numbers(self.config.frames, self.frames(path))

    def read(self, path, frame, short_side):
        return np.full((2, 2, 1), frame, np.uint8)

    def facts(self, path):
        _, _, patient, born = path.read_text().split()
        same = Agreement(what="birth date", within="patient", of=patient, value=born, remedy="Correct it.")
        return FileFacts(group=patient, group_kind="patient", site="St Mary", agree=(same,), remarks=("is small",))


class Other(Slices):
    suffixes = frozenset({".slices"})

    def recognises(self, path, head):
        return head.startswith(b"other ")


def readers(*, frames: str = "all", first: int = 0) -> Readers:
    return Readers([Slices(Slices.Config(frames=frames)), Other(Other.Config())], first)


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


# --------------------------------------------------------------------------------------------------------- the format


def test_the_suffix_decides_then_the_content_then_the_order(tmp_path):
    all_of_them = readers()
    own, unknown = write(tmp_path / "a.SL.GZ", ""), write(tmp_path / "1.2.840", "slices 1 p 1950")
    shared, nobody = write(tmp_path / "b.slices", "other 1 p 1950"), write(tmp_path / "c.txt", "text")
    assert isinstance(all_of_them.reader_of(own), Slices)
    assert isinstance(all_of_them.reader_of(unknown), Slices)
    assert isinstance(all_of_them.reader_of(shared), Other)
    assert type(all_of_them.reader_of(write(tmp_path / "d.slices", ""))) is Slices
    assert not all_of_them.is_image(nobody)
    assert type(readers(first=1).reader_of(shared)) is Slices  # the user named it


def test_a_suffix_of_two_parts_and_a_hidden_name_are_told_apart():
    class Packed(Slices):
        suffixes = frozenset({".gz", ".png"})

    packed, slices = Packed(Packed.Config()), Slices(Slices.Config())
    readers = Readers([packed, slices])
    found = {name: readers.reader_of(f"folder.gz/{name}") for name in ("a.png", "A.PNG", "a.b.png", "a.gz", "a.slices")}
    assert found == {"a.png": packed, "A.PNG": packed, "a.b.png": packed, "a.gz": packed, "a.slices": slices}
    assert readers.reader_of("a.sl.gz") in (packed, slices)
    assert readers.reader_of("folder.png/.png") is readers.reader_of(".png") is readers.reader_of("x.png/y") is None


def test_what_is_no_file_is_no_image(tmp_path):
    (tmp_path / "folder").mkdir()
    assert not readers().is_image(tmp_path / "folder")
    assert not readers().is_image(tmp_path / "missing")


def test_a_file_of_no_reader_says_which_suffixes_there_are(tmp_path):
    with pytest.raises(DataError, match=r"no reader knows its format. Known suffixes: .sl.gz, .slices"):
        readers().read(write(tmp_path / "c.txt", "text"))


# --------------------------------------------------------------------------------------------------------- the frames


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("all", [0, 1, 2, 3, 4]), ("middle", [2]), ("::2", [0, 2, 4]), ("1:3", [1, 2]), ("-2:", [3, 4]), ("9:", [])],
)
def test_frames_are_chosen_by_a_word_or_a_range(text, chosen):
    assert list(frame_numbers(text, 5)) == chosen


@pytest.mark.parametrize("text", ["", "some", "3", "1:2:3:4", "a:b", "::0"])
def test_other_choices_of_frames_are_refused(text):
    with pytest.raises(OptionError, match="is not a choice of frames"):
        frame_numbers(text, 5)


def test_ids_name_the_frame_where_there_are_several(tmp_path):
    file = write(tmp_path / "a.slices", "slices 3 p 1950")
    assert readers().ids("x/a.slices", file) == ["x/a.slices#0", "x/a.slices#1", "x/a.slices#2"]
    assert readers(frames="middle").ids("a", file) == ["a#1"]
    assert readers().ids("b", write(tmp_path / "b.slices", "slices 1 p 1950")) == ["b"]
    assert readers().ids("c", write(tmp_path / "c.slices", "")) == ["c"]  # unreadable: the store will say so


def test_an_id_leads_to_its_file_and_frame_also_where_the_name_has_a_mark(tmp_path):
    write(tmp_path / "a#1", "")
    assert Readers.locate(tmp_path, "a#1") == (tmp_path / "a#1", 0)
    assert Readers.locate(tmp_path, "a#1#2") == (tmp_path / "a#1", 2)
    assert Readers.locate(tmp_path, "d/b.dcm#12") == (tmp_path / "d/b.dcm", 12)
    assert Readers.locate(tmp_path, "d/b#x.dcm") == (tmp_path / "d/b#x.dcm", 0)


# ---------------------------------------------------------------------------------------------------------- the facts


def test_identifiers_are_hashed_and_equal_ones_stay_equal(tmp_path):
    one = readers().facts(write(tmp_path / "a.slices", "slices 1 Doe 1950"))
    two = readers().facts(write(tmp_path / "b.slices", "slices 1 Doe 1950"))
    other = readers().facts(write(tmp_path / "c.slices", "slices 1 Roe 1950"))
    assert one.group == two.group != other.group
    assert one.group is not None
    assert one.group.startswith("patient-")
    assert "Doe" not in repr(one)
    assert "Mary" not in repr(one)
    assert "1950" not in repr(one)


def test_a_survey_finds_all_contradictions_without_their_values(tmp_path):
    rows = {"a": "Doe 1950", "b": "Doe 1951", "c": "Roe 1960", "d": "Roe 1960", "e": "Poe 1970", "f": "Poe 1971"}
    files = {name: write(tmp_path / f"{name}.slices", f"slices 1 {row}") for name, row in rows.items()}
    files["empty"] = write(tmp_path / "empty.slices", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slices, "facts", _facts_or_error(Slices.facts))
        facts, problems, warnings = readers().survey(files)
    assert problems == ["files of one patient differ in the birth date, 2 patients: a and b, e and f. Correct it."]
    assert warnings == ["6 files (a, b, c, d, e and 1 more): is small"]
    assert facts["c"].group == facts["d"].group
    assert facts["empty"] == FileFacts()


def _facts_or_error(facts):
    def wrapped(self, path):
        self.frames(path)
        return facts(self, path)

    return wrapped


def test_readers_can_be_pickled_and_compared():
    again = pickle.loads(pickle.dumps(readers(frames="::2")))
    assert again == readers(frames="::2") != readers()
    assert hash(again) == hash(readers(frames="::2"))
