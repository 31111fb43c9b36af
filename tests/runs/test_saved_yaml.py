"""A run's YAML is read as OmegaConf reads it, and many times as fast."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vae_run.errors import CheckpointError
from vae_run.runs.saved_yaml import read_yaml

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
