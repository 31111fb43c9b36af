"""`report.html` of a run: what its directory holds, on one page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_run.config.commands import command, override
from vae_run.evaluation.quantities import quantities_of
from vae_run.evaluation.quantity import Place, Quantities, Quantity, Section, declared
from vae_run.evaluation.selection import own_pictures
from vae_run.reports.page import pictures, render
from vae_run.reports.settings import settings_rows
from vae_run.reports.warnings import notes, warnings
from vae_run.runs.environment import COMPILED
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.files import write_atomically
from vae_run.system.formatting import number, short_path
from vae_run.system.nouns import speaking_of
from vae_run.tracking.history import best_epoch, history

NAME = "report.html"
CURVES = "learning_curves"
MOST_TILES = 5


@dataclass(frozen=True)
class Row:
    """A quantity on val and on test, with PCA's on test beside it where there is one."""

    quantity: Quantity
    cells: Mapping[str, str]
    pca: str = ""


def write_report(run: RunDirectory) -> Path:
    """Write `report.html` into the run's directory, from nothing but what lies there."""
    metrics, environment = run.metrics(), run.environment()
    config, choices, overrides = run.config(), run.choices(), run.overrides()
    table, captions = quantities_of([run.path]), _captions(run.path, config)
    page = render(
        "report.html",
        title=run.path.name,
        subtitle=_subtitle(choices),
        about="",
        command=command(*overrides),
        facts=[
            *_data(environment, table.noun),
            *_training(run, metrics, table.noun),
            *_machine(environment, config),
        ],
        headlines=_headlines(metrics, table),
        sections=_sections(metrics, table),
        pca=_pca(choices.get("corruption", "none") != "none"),
        warnings=[speaking_of(each, table.noun) for each in warnings(run, config, metrics)],
        notes=[speaking_of(each, table.noun) for each in notes(run)],
        curves=pictures(run.figures, captions, only=CURVES),
        pictures=pictures(run.figures, captions, without=CURVES),
        settings=settings_rows(config, overrides, history(run)),
        parts={group: choices[group] for group in sorted(choices) if "/" not in group},
        noun=table.noun,
        commands=_commands(run, table.noun),
        python_path=repr(str(short_path(run.path))),
        back="",
    )
    write_atomically(run.path / NAME, page.encode(), lasting=False)
    return run.path / NAME


def write_evaluation_report(run: RunDirectory, place: Path, overrides: Sequence[str]) -> Path:
    """Write the smaller `report.html` of an evaluation of `run` whose files lie in `place`."""
    typed = [word for word in overrides if not word.startswith(("task=", "run="))]
    metrics, table = RunDirectory(place).metrics(), quantities_of([place])
    page = render(
        "report.html",
        title=place.name,
        subtitle=f"Evaluation of {run.path.name}",
        about="The same model on other data, under another corruption, or at its last checkpoint; "
        "the run's own metrics are in its own report.",
        command=command("task=evaluate", override("run", run.path), *typed),
        facts=[],
        headlines=_headlines(metrics, table),
        sections=_sections(metrics, table),
        pca=_pca(_corrupted(run, typed)),
        warnings=[],
        notes=[],
        curves=[],
        pictures=pictures(place / "figures", _captions(place, run.config()), without=CURVES),
        settings=[],
        parts={},
        noun=table.noun,
        commands={},
        python_path="",
        back="../../" + NAME,
    )
    write_atomically(place / NAME, page.encode())
    return place / NAME


def _subtitle(choices: Mapping[str, str]) -> str:
    named = [choices[group] for group in ("model", "dataset") if group in choices]
    return " on ".join(named)


def _data(environment: Mapping[str, Any], noun: str) -> list[tuple[str, str]]:
    images = environment.get("images") or {}
    shape = " x ".join(str(size) for size in environment.get("event_shape") or ())
    sizes = ", ".join(f"{count:,} {split}" for split, count in images.items())
    fingerprint = str(environment.get("dataset_fingerprint") or "")[:12]
    parameters = environment.get("parameters")
    return [
        (noun, f"{sizes}; {shape}" if sizes else ""),
        ("data fingerprint", fingerprint),
        ("parameters", f"{parameters:,}" if isinstance(parameters, int) else ""),
    ]


def _training(run: RunDirectory, metrics: Mapping[str, Any], noun: str) -> list[tuple[str, str]]:
    rows, train = history(run), metrics.get("train") or {}
    best = best_epoch(rows, metrics)
    seconds, rate = train.get("train_seconds"), train.get("examples_per_second")
    state = run.read_status().get("state", "")
    return [
        ("state", "" if state in ("running", "completed") else state),
        ("trained", f"{rows[-1]['epoch']:g} epochs, {rows[-1]['step']:,.0f} steps" if rows else ""),
        ("best epoch", "" if best is None else f"{best:g}, by val"),
        ("time of training", f"{seconds:,.1f} s, {rate:,.0f} {noun}/s" if seconds else ""),
    ]


def _machine(environment: Mapping[str, Any], config: Mapping[str, Any]) -> list[tuple[str, str]]:
    device = " ".join(filter(None, (environment.get("device"), environment.get("device_name"))))
    threads = environment.get("threads")
    versions = environment.get("versions") or {}
    known = [f"{name} {version}" for name, version in versions.items() if version]
    revision = str(environment.get("git_revision") or "")
    changed = " with uncommitted changes" if revision.endswith("+") else ""
    return [
        ("device", f"{device}, {threads} thread{'s' * (threads != 1)}" if device else ""),
        ("steps", _steps(environment)),
        ("precision", str(config.get("precision", ""))),
        ("seed", str(config.get("seed", ""))),
        ("versions", ", ".join([*known, f"Python {environment.get('python')}"]) if known else ""),
        ("platform", str(environment.get("platform") or "")),
        ("git revision", revision.rstrip("+")[:12] + changed),
    ]


def _steps(environment: Mapping[str, Any]) -> str:
    """How the steps were computed; "" where it was not recorded."""
    compiled = environment.get(COMPILED)
    told = [] if compiled is None else ["compiled" if compiled else "not compiled"]
    if environment.get("denormals_flushed") is False:
        told.append("with denormal numbers, which are slow on many processors")
    return ", ".join(told)


def _captions(place: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The caption of each picture, in the order of the report: that of `evaluation.figures`."""
    known = {name: part.caption for name, part in own_pictures().items()}
    chosen = (config.get("evaluation") or {}).get("figures") or []
    first = {name: known[name] for name in chosen if isinstance(name, str) and name in known}
    curves, own = (
        "Every quantity over the epochs, on training and validation images.",
        declared(place),
    )
    captions = {CURVES: curves, **first, **known, **(own.captions or {})}
    return {name: speaking_of(caption, own.noun) for name, caption in captions.items()}


def _headlines(metrics: Mapping[str, Any], table: Quantities) -> list[dict[str, str]]:
    """The main quantities, on test where there are any; of the bounds on log p(x), the first."""
    split = "test" if metrics.get("test") else "val"
    values, tiles = metrics.get(split) or {}, []
    names = [name for name in table.shown(Place.HEADLINE) if name in values]
    bounds = [name for name in names if table.of(name).bound]
    for name in names:
        if name not in bounds[1:]:
            tiles.append(
                {
                    "name": name.replace("_", " "),
                    "value": number(values[name], values.get(f"{name}_stderr")),
                    "unit": f"{table.of(name).unit}, {split}".lstrip(", "),
                }
            )
    return tiles[:MOST_TILES]


def _sections(metrics: Mapping[str, Any], table: Quantities) -> dict[str, list[Row]]:
    """Rows of the table by section; standard errors and PCA's values stand beside their own."""
    splits = {split: metrics.get(split) or {} for split in ("val", "test")}
    names = list(dict.fromkeys(name for values in splits.values() for name in values))
    found: dict[str, list[Row]] = {section: [] for section in Section}
    for name in names:
        base = re.sub(r"_stderr$|^pca_", "", name)
        if base != name and base in names:
            continue
        cells = {
            split: number(values[name], values.get(f"{name}_stderr"))
            for split, values in splits.items()
            if name in values
        }
        pca = splits["test"].get(f"pca_{name}", splits["val"].get(f"pca_{name}"))
        row = Row(table.of(name), cells, "" if pca is None else number(pca))
        found[row.quantity.section].append(row)
    return {section: rows for section, rows in found.items() if rows}


def _pca(corrupted: bool) -> str:
    """The head of the column of PCA's values."""
    return "PCA of the corrupted input" if corrupted else "PCA"


def _corrupted(run: RunDirectory, typed: Sequence[str]) -> bool:
    """Whether an evaluation of `run` with the overrides `typed` corrupts the encoder's input."""
    chosen = [word.partition("=")[2] for word in typed if word.startswith("corruption=")]
    return [run.choices().get("corruption", "none"), *chosen][-1] != "none"


def _commands(directory: RunDirectory, noun: str) -> dict[str, str]:
    """What can be done with the run next, by what it is for.

    A decoder that sees the corrupted image (network.skip) restores, and has no codes of its own.
    """
    run = override("run", short_path(directory.path))
    own, drawn = {
        "rows": ("FILE.csv", "csv"),
        "images": ("FILES", "png"),
    }.get(noun, ("FILE.npz", "npz"))
    words = {
        "train for longer": ["task=resume", run, "trainer.epochs=N"],
        "measure everything": ["task=evaluate", run, "evaluation=full"],
        f"draw new {noun}": ["task=sample", run, "n=100", f"output=samples.{drawn}"],
        f"encode your own {noun}": ["task=encode", run, f"input={own}", "output=codes.csv"],
        "reconstruct them": ["task=reconstruct", run, f"input={own}", f"output=out.{drawn}"],
        "score how strange they are": ["task=score", run, f"input={own}", "output=scores.csv"],
    }
    of_codes = {"task=sample", "task=encode", "task=score"}
    skips = directory.config()["network"].get("skip")
    return {
        what: command(*arguments)
        for what, arguments in words.items()
        if not (skips and arguments[0] in of_codes)
    }
