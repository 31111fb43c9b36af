"""A run directory from somebody else: no code of it runs, and what is refused is named."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from vae_run import load
from vae_run.errors import RunError
from vae_run.runs import checkpoint_file

if TYPE_CHECKING:
    from conftest import Run

TARGETS = (
    *("os.system", "torch.load", "subprocess.Popen", "builtins.eval", "builtins.exec"),
    *("trap.Class", "trap.sub.Class", "pickle.loads", "importlib.import_module"),
    # What our own modules import is not ours.
    *(
        "vae_run.runs.run_directory.subprocess.run",
        "vae_run.runs.run_directory.os.system",
        "vae_run.cli.exit_codes.hydra.main",
    ),
    *(
        "vae_run.models.networks.nn.Linear",
        "vae_run.runs.checkpoint_file.read",
        "vae_run.cli.main.main",
    ),
    *(
        "vae_run.config.check.import_module",
        "vae_run.runs.run_directory.RunDirectory",
        "vae_run.trap.Class",
    ),
)
PARTS = ("network", "posterior", "prior", "likelihood", "objective", "corruption", "dataset",
         "optimizer", "schedule", "trainer", "evaluation", "sampler")  # fmt: skip
NESTED = {
    "network.activation": {"_target_": "os.system", "command": "touch executed"},
    "network.widths": [{"_target_": "trap.Class"}],
    "evaluation.metrics": ["trap"],
    "evaluation.figures": ["../trap"],
    "model": {"_target_": "trap.Class"},
    "hydra": {"callbacks": {"trap": {"_target_": "trap.Class"}}},
    "_target_": "trap.Class",
    "sweep._target_": "trap.Class",
    "network._partial_": True,
    "network._args_": ["trap"],
}


@pytest.fixture(autouse=True)
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there once code of the run has been executed, at the latest on import."""
    marker, traps = tmp_path / "executed", tmp_path / "traps"
    (traps / "trap").mkdir(parents=True)
    text = f"open({str(marker)!r}, 'w').close()\nclass Class:\n    pass\n"
    (traps / "trap" / "__init__.py").write_text(text)
    (traps / "trap" / "sub.py").write_text(text)
    monkeypatch.syspath_prepend(traps)
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 1, 8, 8), np.float32))
    yield marker
    assert not marker.exists(), "code of the run was executed"
    assert not any(name.split(".")[0] == "trap" for name in sys.modules)


def tasks(run: Path) -> list[tuple[str, ...]]:
    """Every task that works on a run."""
    of = f"run={run}"
    return [
        ("task=evaluate", of),
        ("task=evaluate", of, "dataset.val_size=0.2", "corruption=none"),
        ("task=resume", of, "trainer.epochs=99"),
        ("task=sample", of, "output=out.npz"),
        ("task=sample", of, "output=out.npz", "sampler=gaussian"),
        ("task=encode", of, "input=x.npz", "output=out.npz"),
        ("task=reconstruct", of, "input=x.npz", "output=out.npz"),
        ("task=export", of, "output=out.safetensors"),
        ("task=ensemble", f"runs=[{run},{run}2]"),
    ]


def set_in(run: Path, key: str, value: Any) -> None:
    file = run / ".hydra" / "config.yaml"
    config = OmegaConf.load(file)
    OmegaConf.update(config, key, value, force_add=True, merge=False)
    OmegaConf.save(config, file)


LONG = pytest.mark.faults
EVALUATE = ("task=evaluate", "evaluation.figures=[]")


def refused(copy: Path, pairs: list[tuple[str, str]]) -> None:
    file = copy / ".hydra" / "config.yaml"
    before = file.read_text()
    for part, target in pairs:
        file.write_text(before)
        set_in(copy, f"{part}._target_", target)
        with pytest.raises(RunError, match=part):
            load(copy)


def test_no_part_may_be_anything_else(copy: Path) -> None:
    """Every target, each in another part."""
    refused(copy, [(PARTS[i % len(PARTS)], target) for i, target in enumerate(TARGETS)])


@LONG
@pytest.mark.parametrize("target", TARGETS)
def test_no_part_whatever_may_be_anything_else(target: str, copy: Path) -> None:
    refused(copy, [(part, target) for part in PARTS])


@pytest.mark.parametrize(
    "target",
    [
        "trap.Class",
        pytest.param("os.system", marks=LONG),
        pytest.param("vae_run.runs.run_directory.subprocess.run", marks=LONG),
    ],
)
def test_no_task_builds_it(target: str, copy: Path, vae_run: Run) -> None:
    set_in(copy, "network._target_", target)
    for words in tasks(copy):
        finished = vae_run(*words)
        if words[0] == "task=ensemble":
            assert finished.code == 3
        else:
            assert finished.code == 1, words
            assert "network._target_" in finished.said, words
            assert target in finished.said
        assert "Traceback" not in finished.said
    vae_run("task=compare", f"runs={copy}", "output=compared")  # reads, and builds nothing


@pytest.mark.parametrize("key", NESTED)
def test_nothing_below_a_part_is_built(key: str, copy: Path) -> None:
    set_in(copy, key, NESTED[key])
    with pytest.raises(RunError, match=key.split(".")[0]):
        load(copy)


@pytest.mark.parametrize(
    "words",
    [
        ["dataset._target_=trap.Class"],
        ["+dataset._target_=trap.Class"],
        ["dataset.path={_target_:trap.Class}"],
        ["dataset@trap=digits"],
        ["dataset=../trap", "dataset._target_=trap.Class"],
        ["hydra/launcher=trap", "hydra.launcher._target_=trap.Class"],
        ["dataset.val_size=${oc.env:HOME}"],
    ],
)
def test_what_was_typed_for_the_run_is_not_believed(
    words: list[str], copy: Path, vae_run: Run
) -> None:
    """`task=evaluate` takes words of `.hydra/overrides.yaml` over: values, and nothing else."""
    OmegaConf.save(OmegaConf.create(words), copy / ".hydra" / "overrides.yaml")
    finished = vae_run(*EVALUATE, f"run={copy}", "dataset.split_seed=3")
    assert "Traceback" not in finished.said
    if words[0].startswith("dataset.path"):
        assert finished.code == 1
        assert "dataset.path: has no meaning here" in finished.err
    else:
        assert finished.code == 0, finished.said
        assert (copy / "evaluations" / "dataset.split_seed=3" / "metrics.json").is_file()


@pytest.mark.parametrize("choice", ["../../trap", "[digits,trap]", "digits,mnist", "${x}", "a b"])
def test_what_was_chosen_for_the_run_is_not_believed(
    choice: str, copy: Path, vae_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "trap.yaml").write_text("_target_: trap.Class\n")
    file = copy / ".hydra" / "hydra.yaml"
    hydra = OmegaConf.load(file)
    hydra.hydra.runtime.choices.dataset = choice
    hydra.hydra.callbacks = {"trap": {"_target_": "trap.Class"}}
    hydra.hydra.launcher = {"_target_": "trap.Class"}
    OmegaConf.save(hydra, file)
    finished = vae_run(*EVALUATE, f"run={copy}", "dataset.split_seed=3")
    assert finished.code == 0, finished.said
    assert (copy / "evaluations" / "dataset.split_seed=3" / "metrics.json").is_file()


@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml", "overrides.yaml"])
@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch executed']\n",
        "!!python/object/new:trap.Class {}\n",
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n",
        "[" * 5000,
        *(pytest.param(text, marks=LONG) for text in ("{{", "\x00\x01\xff", "- 3\n", "")),
    ],
)
def test_yaml_runs_no_code_and_has_an_end(name: str, text: str, copy: Path, vae_run: Run) -> None:
    (copy / ".hydra" / name).write_text(text, encoding="utf-8")
    began = time.monotonic()
    finished = vae_run(*EVALUATE, f"run={copy}", "dataset.val_size=0.2")
    assert time.monotonic() - began < 30
    assert "Traceback" not in finished.said
    if name != "config.yaml":  # what only tells of the run is not needed to evaluate it
        assert finished.code == 0, finished.said
        return
    assert finished.code == (1 if text == "" else 3)
    with pytest.raises(RunError, match=r"config\.yaml"):
        load(copy)


def test_a_line_of_aliases_is_not_a_gigabyte(copy: Path) -> None:
    lines = ["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    ]
    (copy / ".hydra" / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(RunError, match="YAML aliases"):
        load(copy)


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize(
    "place",
    ["model", *(pytest.param(key, marks=LONG) for key in ("step", "event_shape", "optimizer"))],
)
def test_a_pickle_with_a_good_checksum_runs_nowhere(
    place: str, copy: Path, vae_run: Run, executed: Path
) -> None:
    for name in ("best.pt", "last.pt", "previous.pt"):
        file = copy / "checkpoints" / name
        checkpoint_file.save(file, {**checkpoint_file.read(file), place: Payload(executed)})
    for words in (*tasks(copy)[:-1], ("device=cpu", f"init_from={copy}", "hydra.run.dir=new")):
        finished = vae_run(*words)
        assert finished.code == 3, words
        assert ".pt: holds more than tensors and plain values; refused" in finished.said
    for name in ("best", "last"):
        with pytest.raises(RunError, match="refused"):
            load(copy, checkpoint=name)
    # The payload is a real one: a careless reader runs it.
    torch.load(copy / "checkpoints" / "best.pt", weights_only=False)
    assert executed.exists()
    executed.unlink()


def test_trust_is_for_the_package_that_is_named(
    copy: Path, vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "trusted_parts.py").write_text(
        "from vae_run.models.networks import MLP\nclass Net(MLP): ...\n"
    )
    monkeypatch.syspath_prepend(theirs)
    set_in(copy, "network._target_", "trusted_parts.Net")
    finished = vae_run("task=sample", f"run={copy}", "output=out.npz")
    assert finished.code == 1
    assert "'trust=[trusted_parts]'" in finished.said
    finished = vae_run("task=sample", f"run={copy}", "output=out.npz", "trust=[trusted_parts]")
    assert finished.code == 0, finished.said
    # It says nothing of another part, nor does what the run itself says of trust.
    set_in(copy, "prior._target_", "trap.Class")
    set_in(copy, "trust", ["trap", "trusted_parts"])
    finished = vae_run("task=sample", f"run={copy}", "output=out.npz", "trust=[trusted_parts]")
    assert finished.code == 1
    assert "prior._target_" in finished.said
    with contextlib.suppress(RunError):
        load(copy, trust=["trusted_parts"])
