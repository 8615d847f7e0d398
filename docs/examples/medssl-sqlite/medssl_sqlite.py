"""The numbers of all runs in one SQLite database."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from medssl.contracts import Tracker

TABLES = """
CREATE TABLE IF NOT EXISTS settings (study, run, name, value, PRIMARY KEY (study, run, name));
CREATE TABLE IF NOT EXISTS epochs (study, run, epoch, name, value, PRIMARY KEY (study, run, epoch, name));
CREATE TABLE IF NOT EXISTS results (study, run, name, value, PRIMARY KEY (study, run, name));
"""


class Sqlite(Tracker):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        file: Path = Path("medssl.sqlite")  # in the current folder

    def start(self, run):
        self.key = (run.study, run.name)
        with closing(self.open()) as database, database:
            database.executescript(TABLES)
            database.execute(
                "DELETE FROM epochs WHERE study = ? AND run = ? AND epoch >= ?", (*self.key, run.first_epoch)
            )
        self.write("settings", [(name, value) for name, value in run.settings.items()])

    def epoch(self, number, values):
        self.write("epochs", [(number, name, value) for name, value in values.items()])

    def finish(self, run):
        self.write("results", [(name, value) for name, value in run.values.items()])

    def open(self):
        return sqlite3.connect(self.config.file, timeout=20)  # seconds to wait for another run that writes

    def write(self, table, rows):
        rows = [(*self.key, *row) for row in rows]
        if rows:
            places = ", ".join("?" * len(rows[0]))
            with closing(self.open()) as database, database:
                database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)
