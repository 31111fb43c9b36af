"""A comparison as LaTeX and Markdown: digits by the interval, the best in bold, names escaped."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_compare import of, seeds
from written_runs import build

from vae_run.comparison.markup import latex, latex_text, markdown, markdown_text, write_tables


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("runs")
    better = seeds(folder, "a", [-100.0, -101.0, -102.0], objective__beta=1.0)
    worse = seeds(folder, "b", [-1203.0, -1204.0, -1205.0], objective__beta=4.0)
    return of(*better, *worse)


def test_the_rows_of_markdown_are_settings_with_the_best_in_bold(comparison) -> None:
    lines = markdown(comparison).splitlines()
    assert lines[0] == "| objective.beta | seeds | val elbo ↑ | test elbo ↑ |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[2] == "| 1 | 3 | **−101.0 ± 2.5** | **−102.0 ± 2.5** |"
    assert lines[3] == "| 4 | 3 | −1,204.0 ± 2.5 | −1,205.0 ± 2.5 |"
    assert "Ranked by elbo on val, higher is better; bold: best mean." in "\n".join(lines)


def test_latex_is_a_tabular_of_booktabs(comparison) -> None:
    text = latex(comparison)
    assert r"\begin{tabular}{lrrr}" in text
    assert r"objective.beta & seeds & val elbo $\uparrow$ & test elbo $\uparrow$ \\" in text
    assert r"1 & 3 & $\mathbf{-101.0 \pm 2.5}$ & $\mathbf{-102.0 \pm 2.5}$ \\" in text
    assert r"4 & 3 & $-1{,}204.0 \pm 2.5$ & $-1{,}205.0 \pm 2.5$ \\" in text
    rules = re.findall(r"\\(toprule|midrule|bottomrule)", text)
    assert rules == ["toprule", "midrule", "bottomrule"]


def test_lower_is_best_where_it_is_better_and_one_seed_has_no_interval(tmp_path: Path) -> None:
    runs = [
        build(tmp_path / str(w), {"mse": mse}, objective__beta=w)
        for w, mse in ((1, 0.0123456), (2, 0.02))
    ]
    found = of(*runs)
    assert "| 1 | 1 | **0.012346** | **0.012346** |" in markdown(found)
    assert r"2 & 1 & $0.020000$ & $0.020000$ \\" in latex(found)


def test_what_cannot_be_ranked_has_no_best(tmp_path: Path) -> None:
    runs = [
        build(tmp_path / data, {"elbo": -1.0}, data=data, objective__beta=float(beta))
        for beta, data in enumerate("ab", 1)
    ]
    found = of(*runs)
    assert "**" not in markdown(found)
    assert "mathbf" not in latex(found)
    assert "Not ranked: the data differ" in markdown(found)


def test_names_stand_for_themselves() -> None:
    assert latex_text(r"a_b & 50% {x} \y ~ ^ #1 $") == (
        r"a\_b \& 50\% \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \#1 \$"
    )
    assert markdown_text("a|b *c* [d](e) <f> `g`\nh") == r"a\|b \*c\* \[d\](e) \<f\> \`g\` h"


def test_files_are_written_and_removed(comparison, tmp_path: Path) -> None:
    write_tables(tmp_path, "sweep", comparison)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sweep.md", "sweep.tex"]
    assert (tmp_path / "sweep.tex").read_text(encoding="utf-8") == latex(comparison)
    write_tables(tmp_path, "sweep", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_takes_the_table(comparison, tmp_path: Path) -> None:
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{t}\end{document}"
    (tmp_path / "t.tex").write_text(latex(comparison), encoding="utf-8")
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "page"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60, capture_output=True)
