"""Names of a stranger's run in scripts, model cards and ONNX files: one line, and only text."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exported import of_table, small

from vae_run.exports.card import card
from vae_run.exports.facts import facts, inputs, outputs
from vae_run.exports.plain_text import markdown, one_line
from vae_run.exports.scripts import script
from vae_run.exports.source import Source

BREAKS = ("\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")
EVIL = "3" + "".join(f"{each}import os; os.abort()" for each in BREAKS) + "\x1b[2J\u202e<b>|"


@pytest.fixture(params=["classes", "columns"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """A run whose class names, or whose columns and categories, have line breaks with code."""
    source = small("model=vae", "condition=label")
    if request.param == "classes":
        about = {**source.about, "class_names": [EVIL] * 10}
        return replace(source, about=about, name=f"run{EVIL}")
    source = of_table(tmp_path)
    table: list[dict[str, Any]] = [dict(column) for column in source.about["table"]]
    for column in table:
        column["name"] = column["name"][0] + EVIL
        if column["categories"] is not None:
            column["categories"] = [each + EVIL for each in column["categories"]]
    return replace(source, about={**source.about, "table": table}, name=f"run{EVIL}")


@pytest.mark.parametrize("format", ["onnx", "torch_export", "safetensors"])
def test_a_script_has_no_line_of_a_name(foreign: Source, format: str) -> None:
    made = script(foreign, format, "both", Path(f"a{EVIL}"))
    assert not [line for line in made.splitlines() if line.lstrip().startswith("import os")]
    assert all(line.isprintable() for line in made.splitlines())
    code = ast.unparse(ast.parse(made)).replace(repr(f"a{EVIL}"), "")
    assert "abort" not in code, "outside comments"


def test_the_model_card_shows_a_name_as_text(foreign: Source) -> None:
    source = replace(foreign, metrics={f"val{EVIL}": {}, "test": {f"mse{EVIL}": 0.5}})
    text = card(source, f"me/x{EVIL}")
    assert not [line for line in text.splitlines() if line.startswith("import os")]
    assert all(line.isprintable() for line in text.splitlines())
    for line in text.splitlines():
        if "abort" in line and "from_pretrained(" not in line:
            assert "\\<b\\>\\|" in line, line
            assert "<b>|" not in line, line


def test_what_an_onnx_file_tells_is_a_line_for_each_tensor(foreign: Source) -> None:
    """`doc_string` is made of these."""
    told = [port.meaning for port in (*inputs(foreign, "both"), *outputs(foreign, "both"))]
    found = facts(foreign, "both")
    told += [value for value in found.values() if isinstance(value, str)]
    assert any("os.abort()" in text for text in told)
    assert all(text.isprintable() for text in told)


def test_texts_are_put_into_one_line() -> None:
    assert one_line(" a\n\tb\x85c\u2028d\u2029e\x00f\u200bg é漢 ") == "a b c d e f g é漢"
    assert markdown("[a](b) [0, 1] `x` **y**") == r"[a\](b) [0, 1] \`x\` \*\*y\*\*"
