"""The examples of docs/python.md, as they stand."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_examples_of_the_python_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = DOCS.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    blocks = [*re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)]
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        case = doctest.DocTestParser().get_doctest(block[1], names, DOCS.name, str(DOCS), line)
        assert case.examples, f"line {line}: a block without an example"
        case.globs = names  # later blocks go on with what these made
        runner.run(case, clear_globs=False)
    assert len(blocks) > 5
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out
