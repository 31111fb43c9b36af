"""A run's YAML is read as OmegaConf reads it, and many times as fast."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vae_run.errors import CheckpointError
from vae_run.runs.saved_yaml import read_yaml, yaml_text

SCALARS = """
a: 1e-3
b: 1.0e-05
c: .5
d: 2020-01-01
e: yes
f: 'x'
g: [1, 2.5, null, ~]
h: 0x10
i: 1:30
k: .inf
l: 1_000
m: 010
n: ???
o: on
"""


@pytest.mark.parametrize("resolve", [True, False])
@pytest.mark.parametrize(
    "text",
    [SCALARS, "", "abc", "[1, [2], {a: b}]", "a: ${b}\nb: [3]\n", "1: 2\ntrue: 1\n",
     "a: !!binary aGk=\n", "x: {y: {z: [null]}}"],
)  # fmt: skip
def test_it_is_what_omegaconf_reads(tmp_path: Path, text: str, resolve: bool) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    expected = OmegaConf.to_container(OmegaConf.create(text), resolve=resolve)
    assert repr(read_yaml(file, resolve=resolve)) == repr(expected)


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a: {b: 1, b: 2}", "a: [", "5", "a: !!python/object/apply:os.getcwd []",
     "a: !!set {x, y}", "a: !!timestamp 2020-01-01", "a: 1\n---\nb: 2\n", "a: ${nowhere}"],
)  # fmt: skip
def test_what_omegaconf_refuses_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"a\.yaml"):
        read_yaml(file)


TEXTS = (
    *["1e-3", "yes", "YES", "~", "null", "2020-01-01", "0x10", "1_0", "é-ü-☃", "${x}", "*a"],
    *["&a", "1:30", "0o7", "+1", ".5", "inf", "nan", ".inf", "1.", "=", "<<"],
    *["!x", "'q'", '"dq"', "???", "on", "-", "{}", "[", "%", "@", "`", "True", "010", "a:b"],
    *("a: b", "- a", "", " lead", "a #b", "\t"),
)


def test_yaml_is_written_as_omegaconf_writes_it(tmp_path: Path) -> None:
    values = [*TEXTS, "x" * 200, "word " * 30, "line\nbreak", True, None, 1e-5, 1e20, 3, -0.5]
    content = {"values": values, "nested": {"empty": {}, "none": []}}
    assert yaml_text(content) == OmegaConf.to_yaml(content)
    (file := tmp_path / "file.yaml").write_text(yaml_text(content), encoding="utf-8")
    assert read_yaml(file, resolve=False) == content


@pytest.mark.parametrize("more", ["", "b: ${a.ids}\n2: [1]\n"])
def test_long_lists_are_read_whole(tmp_path: Path, more: str) -> None:
    ids = [*range(50_000)]
    (file := tmp_path / "a.yaml").write_text(f"a: {{ids: {ids}}}\nc: x\n{more}", encoding="utf-8")
    found = read_yaml(file)
    assert found["a"] == {"ids": ids}
    assert found["c"] == "x"
    assert found.get("b", ids) == ids


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1\n" * 100_001, "100,001 lines, commas and brackets, more than the 100,000"),
        ("- ${a}\n" * 2_001, "2,001 interpolations, more than the 2,000"),
        (f"a: {'é' * 500_000}", "1,000,003 bytes, more than the 1,000,000"),
        ("1:\n" + "- {a: 1}\n" * 11_000, "22,002 values, more than the 20,000"),
    ],
)
def test_what_would_take_long_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (file := tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=told):
        read_yaml(file)
