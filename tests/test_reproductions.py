"""The experiments of docs/reproductions.md: what they sweep, and how their values are judged."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vae_run.cli import main

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import reproduce  # noqa: E402
from reproductions import REPRODUCTIONS, Expected, rises_and_does_not_overfit  # noqa: E402

BY_NAME = {one.experiment: one for one in REPRODUCTIONS}


def swept(name: str) -> dict[str, set[str]]:
    """The values of each key that an experiment sweeps, as typed."""
    text = (main.CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    params = OmegaConf.select(OmegaConf.create(text), "hydra.sweeper.params") or {}
    return {str(key): set(str(value).split(",")) for key, value in params.items()}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_group_is_swept_by_its_experiment(name: str) -> None:
    one, keys = BY_NAME[name], swept(name)
    assert set(one.expected) <= set(one.groups)
    for values in one.groups.values():
        for key, value in values.items():
            assert value in keys[key]


def test_a_value_agrees_within_the_published_error_or_three_tenths_of_a_nat() -> None:
    table = BY_NAME["svae_table1"]
    assert reproduce.verdict(table, -93.40, Expected(-93.16, 0.1)) == "agrees"
    assert reproduce.verdict(table, -94.10, Expected(-93.16, 0.31)) == "differs by -0.94"
    assert reproduce.verdict(table, -135.00, Expected(-135.73, 0.83)) == "agrees"
    exact = BY_NAME["ppca"]
    assert reproduce.verdict(exact, 186.0240, Expected(186.0241)) == "agrees"
    assert reproduce.verdict(exact, 186.0240, Expected(186.0245)).startswith("differs")


def test_the_claim_of_the_curves() -> None:
    rising = {"3": -130.0, "5": -115.0, "10": -105.0, "20": -101.0, "200": -101.5}
    assert rises_and_does_not_overfit(rising)
    assert not rises_and_does_not_overfit(rising | {"200": -102.5})
    assert not rises_and_does_not_overfit(rising | {"10": -101.0})


def write(sweep: Path, rows: list[dict[str, object]]) -> None:
    sweep.mkdir(parents=True)
    with (sweep / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_page_has_means_over_seeds_and_the_setting_chosen_on_val(tmp_path: Path) -> None:
    choice = [
        {"corruption.level": level, "latent_dim": "16", "val/mse_auroc": area, "state": "completed"}
        for level, area in (("0.1", 0.95), ("0.1", 0.95), ("0.5", 0.99), ("0.5", 0.90))
    ]
    write(tmp_path / "one_class_choice", choice)
    runs = [
        {"seed": seed, "test/mse_auroc": area, "state": state, "job_seconds": 30}
        for seed, area, state in (
            ("0", 0.95, "completed"),
            ("0", 0.97, "completed"),
            ("1", 0.98, "completed"),
            ("2", 0.10, "failed"),
        )
    ]
    write(tmp_path / "one_class", runs)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reproduce.BEGIN}old\n{reproduce.END}after\n", encoding="utf-8")
    reproduce.write_page(page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "corruption.level=0.1 latent_dim=16" in text
    line = next(line for line in text.splitlines() if line.startswith("| ten digits"))
    assert "0.948 | 0.970 ± 0.127 (n = 2) | differs by +0.022 | 1.5 |" in line
    assert text.count("not run") == sum(len(o.groups) for o in REPRODUCTIONS) - 1
