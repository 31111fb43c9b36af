"""Whether two run directories hold the same run, bit for bit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    pass


TIMING = ("train_seconds", "examples_per_second")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


def metrics(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(run / "metrics.json")
    found["train"] = {k: v for k, v in found["train"].items() if k not in TIMING}
    return found


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of TensorBoard, as its page reads it, but what measures time."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.endswith(TIMING)
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def assert_same_run(a: Path, b: Path, *, but: tuple[str, ...] = ()) -> None:
    """Weights, optimiser, random states, figures, history and curves are equal, bit for bit.

    `but` names what may differ in `last.pt`.
    """
    for name in ("best", "last"):
        first, second = (checkpoint_file.read(run / "checkpoints" / f"{name}.pt") for run in (a, b))
        for state in (first, second):
            state.get("progress", {}).pop("seconds", None)
            for key in but:
                state.pop(key, None)
        assert first.keys() == second.keys()
        for key in first:
            assert same(first[key], second[key]), f"{name}.pt: {key}"
    assert metrics(a) == metrics(b)
    assert history(a) == history(b)
    first_curves, second_curves = curves(a), curves(b)
    assert first_curves.keys() == second_curves.keys()
    for tag, points in first_curves.items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), f"{tag} of {a}"
        assert points == second_curves[tag], tag
