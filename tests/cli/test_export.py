from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from medssl.cli import main


def called(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["export", *map(str, words)])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["checklist"], "name the checklist"),
        (["card", "claim"], "'claim' has no effect on 'card'"),
        (["card", "--int8"], "--int8 has no effect on 'card'"),
        (["hub", "--with-groups"], "--with-groups has no effect on 'hub'"),
        (["card"], "no finished run"),
        (["onnx"], "no finished run"),
    ],
)
def test_wrong_words_get_a_sentence(tmp_path: Path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in called(tmp_path, *words, code=1)
