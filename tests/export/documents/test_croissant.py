from __future__ import annotations

import csv
import hashlib
import json
import os

import pytest

from medssl.catalog import load_catalog
from medssl.io.identities import private_id

mlcroissant = pytest.importorskip("mlcroissant")


@pytest.mark.parametrize(("with_groups", "with_names"), [(False, False), (True, False), (True, True)])
def test_the_description_is_valid_and_its_records_are_the_samples(finished, tmp_path, with_groups, with_names):
    from medssl.export.documents.croissant import export_croissant

    export_croissant(finished, tmp_path, load_catalog(), with_groups=with_groups, with_names=with_names)
    described = json.loads((tmp_path / "croissant.json").read_text())
    table = (tmp_path / "samples.csv").read_bytes()
    assert described["distribution"][0]["sha256"] == hashlib.sha256(table).hexdigest()
    rows = list(csv.DictReader(table.decode().splitlines()))
    split = finished.split()
    assert {row["id"]: row["part"] for row in rows} == {
        name if with_names else private_id("image", name): part
        for part in ("train", "val", "test")
        for name in getattr(split, part)
    }
    names = {name if with_names else private_id("image", name): name for name in split.groups}
    assert all(row["value"] == names[row["id"]].split("/")[0] for row in rows)
    mode = (tmp_path / "samples.csv").stat().st_mode & 0o077
    assert bool(mode) != with_names or os.name == "nt"
    assert ("group" in rows[0]) == with_groups
    fields = {field["name"] for field in described["recordSet"][0]["field"]}
    assert fields == set(rows[0])
