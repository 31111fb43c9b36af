"""Any pair of overrides of a resume, and altered files of models: a model, or one message."""

from __future__ import annotations

import itertools
import json
import random
import struct
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import configured
from fuzzing import COUNT, bent, outcome

from vae_run.cli.in_process import prepared
from vae_run.config.check import check
from vae_run.errors import RunError
from vae_run.exports.pretrained import from_pretrained
from vae_run.exports.weights import weights_file
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_model
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks.resume import ALLOWED, extended

LENGTHS = ("trainer.epochs=40", "trainer.epochs=null", "trainer.steps=900", "trainer.steps=-1")
LENGTHS += ("trainer.max_time=60", "trainer.patience=3", "trainer.patience=x", "trainer.steps=null")
PLACES = ("dataset.path=x.npz", "dataset.root=/nowhere", "device=cpu", "device=tpu", "tracker=none")
OTHERS = (
    *("latent_dim=2", "latent_dim=9", "seed=1", "model=ae", "network=conv", "network.widths=[7]"),
    *("dataset=sprites", "trainer.batch_size=64", "optimizer.lr=0.5", "+new=1", "~optimizer.lr"),
    *("trainer=closed_form", "objective.beta=2", "precision=bfloat16", "init_from=x", "run=other"),
)
PAIRS = [*itertools.combinations((*LENGTHS, *PLACES, *OTHERS), 2)]
"""Every pair of 29 overrides."""


def allowed(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return any(key == name or key.startswith(f"{name}.") for name in ALLOWED)


def resumed(run: RunDirectory, saved: dict[str, Any], words: tuple[str, ...]) -> dict[str, Any]:
    """The configuration that the run would go on with."""
    call = prepared(["task=resume", f"run={run.path}", *words]).call
    config, progress, _ = extended(run, call, saved, run.last)
    check(config).build("trainer").why_over(progress)
    return config


def chosen(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A few pairs in most test runs; all of them where more files are asked for."""
    return pairs if len(pairs) < COUNT else random.Random(0).sample(pairs, COUNT)


def test_every_pair_of_overrides_of_a_resume(vae: Path) -> None:
    run = RunDirectory(vae)
    (saved, _), came = run.newest() or ({}, None), Counter[str]()
    before = run.config()
    for words in chosen(PAIRS):
        found: dict[str, Any] = {}

        def go_on(words: tuple[str, ...] = words, found: dict[str, Any] = found) -> None:
            found.update(resumed(run, dict(saved), words))

        came[outcome(go_on)] += 1
        if not found:
            continue
        for key in ("latent_dim", "seed", "network", "objective", "optimizer", "precision"):
            assert found[key] == before[key], (words, key)
        if "trainer.epochs=40" in words and "trainer.epochs=null" not in words:
            assert found["trainer"]["epochs"] == 40, words
    print("resume", dict(came))
    assert came["refused"]


def test_what_a_pair_of_overrides_does(vae: Path) -> None:
    run = RunDirectory(vae)
    saved = checkpoint_file.read(run.last)
    both = resumed(run, saved, ("trainer.epochs=40", "trainer.patience=3"))
    assert (both["trainer"]["epochs"], both["trainer"]["patience"]) == (40, 3)
    with pytest.raises(RunError, match=r"seed.*\n?.*optimizer\.lr|optimizer\.lr.*\n?.*seed"):
        resumed(run, saved, ("seed=1", "optimizer.lr=0.5"))


# --- altered files of models ------------------------------------------------------------------


KINDS = (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.complex64)
VALUES: tuple[Any, ...] = (None, 0, -1, 2**40, 1e300, "", "x", [], {}, [1, 2, 3], True, [[]])


def altered_tensors(weights: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """`weights`, of which one is of another type or shape, or lacks, or is one too many."""
    found, name = dict(weights), dice.choice(sorted(weights))
    value = found[name]
    changes: tuple[Callable[[], Any], ...] = (
        lambda: value.to(dice.choice(KINDS)),
        lambda: value.t() if value.dim() == 2 else value[None],
        lambda: value[:0],
        lambda: torch.full_like(value, float("nan")),
        lambda: dice.choice(VALUES),
    )
    how = dice.randrange(len(changes) + 2)
    if how < len(changes):
        found[name] = changes[how]()
    elif how == len(changes):
        del found[name]
    else:
        found[dice.choice(("", "a.b", "\0", "猫"))] = value
    return found


def altered(told: Any, dice: random.Random) -> Any:
    """`told`, nested, in which a value is another one, or a key lacks."""
    found = json.loads(json.dumps(told))
    place, steps = found, dice.randint(0, 3)
    for _ in range(steps):
        inner = [value for value in place.values() if isinstance(value, dict) and value]
        place = dice.choice(inner) if inner else place
    if place:
        key = dice.choice(sorted(place))
        if dice.random() < 0.3:
            del place[key]
        else:
            place[key] = dice.choice(VALUES)
    return found


@pytest.fixture(scope="module")
def file() -> bytes:
    """A safetensors file as `task=export` writes it."""
    return weights_file(configured(), "weights")[0]


def other_metadata(content: bytes, dice: random.Random) -> bytes:
    """The file with something else told of the model, or of the tensors."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    if dice.random() < 0.3:
        header = altered(header, dice)
    else:
        key = dice.choice(("configuration", "state"))
        told = json.dumps(altered(json.loads(header["__metadata__"][key]), dice))
        header["__metadata__"][key] = (
            bent(told.encode(), dice).decode("latin-1") if (dice.random() < 0.2) else told
        )
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def test_altered_exported_files(file: bytes, tmp_path: Path) -> None:
    path, came = tmp_path / "model.safetensors", Counter[str]()
    for seed in range(COUNT):
        dice = random.Random(seed)
        path.write_bytes((other_metadata, bent)[dice.random() < 0.2](file, dice))
        try:
            came[outcome(partial(from_pretrained, path))] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    print("exported", dict(came))
    assert all(came[each] for each in ("data", "refused"))


def test_altered_checkpoints(vae: Path) -> None:
    run, came = RunDirectory(vae), Counter[str]()
    settings, saved = run.settings(), checkpoint_file.read(run.best)
    for seed in range(COUNT):
        dice = random.Random(seed)
        state = {**saved, "model": altered_tensors(saved["model"], dice)}
        if dice.random() < 0.3:
            key = dice.choice(sorted(saved))
            state[key] = dice.choice(VALUES)
        try:
            came[outcome(partial(load_model, settings, state, run.best))] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    print("checkpoints", dict(came))
    assert all(came[each] for each in ("data", "refused"))


@pytest.mark.parametrize("kind", [torch.complex64, torch.int32, torch.bool])
def test_weights_of_another_kind_of_number_are_refused(kind: torch.dtype, vae: Path) -> None:
    """They would be converted, and lose what they are."""
    run = RunDirectory(vae)
    saved = checkpoint_file.read(run.best)
    name = next(name for name, value in saved["model"].items() if value.is_floating_point())
    other = {**saved, "model": {**saved["model"], name: saved["model"][name].to(kind)}}
    with pytest.raises(RunError, match=rf"{kind}, but the configured model expects torch.float32"):
        load_model(run.settings(), other, run.best)
