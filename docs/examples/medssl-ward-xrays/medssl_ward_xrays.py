"""Chest radiographs of one hospital, with findings from the radiologists' reports. Not public."""

import csv

from medssl.contracts import Dataset, Findings, Listing, Sample
from medssl.errors import DataError
from medssl.tools import read_image

MEANING = {"yes": 1, "no": 0, "": None}  # an empty cell: the report does not mention the finding


class WardXrays(Dataset):
    findings = ("effusion", "consolidation", "nodule")  # a fixed order, not the table's
    augmentation = "xray"

    def index(self):
        table = self.root / "reports.csv"
        columns = ("file", "patient", "scanner", *self.findings)
        remedy = f"The table needs the columns {', '.join(columns)}, in UTF-8. Give its folder with --data-dir."
        try:
            with table.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                if missing := set(columns) - set(rows.fieldnames or ()):
                    raise DataError(f"{table} has no column {', '.join(sorted(missing))}. {remedy}")
                samples = [self.sample(row, f"{table}, line {rows.line_num}") for row in rows]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{table} cannot be read: {error}. {remedy}") from error
        return Listing(
            samples=sorted(samples, key=lambda sample: sample.id),
            target=Findings(self.findings),
            group_kind="patient",
            site_kind="scanner",
            default_split="grouped",
            split_reason="radiographs of one patient look alike",
        )

    def sample(self, row, place):
        texts = {name: (text or "").strip() for name, text in row.items() if name}
        y = tuple(MEANING.get(texts[name].lower(), texts[name]) for name in self.findings)
        if wrong := [value for value in y if isinstance(value, str)]:
            raise DataError(f"{place}: '{wrong[0]}' says nothing about a finding. Write yes, no or nothing.")
        return Sample(id=texts["file"], y=y, group=texts["patient"] or None, site=texts["scanner"] or None)

    def read(self, sample):
        return read_image(self.path(sample))

    def path(self, sample):
        return self.root / sample.id
