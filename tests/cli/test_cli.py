"""What the command line accepts, says and refuses: messages, exit codes, nothing left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from omegaconf import OmegaConf

from vae_run.cli import main
from vae_run.cli.composition import known_keys
from vae_run.config.groups import GROUPS
from vae_run.config.schema import TASKS, Common
from vae_run.version import __version__ as vae_run_version

if TYPE_CHECKING:
    from conftest import Run

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
REFUSED = [
    # typed, what the message must hold
    ("trainer.epoch=3", ["trainer.epoch:", "trainer.epochs?"]),
    ("+trainer.x=1", ["trainer.x:", "Did you mean trainer."]),
    ("+trainer.epoch=3", ["trainer.epoch:", "trainer.epochs?"]),
    ("+network.wid=[3]", ["network.wid:", "network.widths?"]),
    ("+latentdim=3", ["latentdim:", "latent_dim?"]),
    ("latentdim=3", ["latentdim:", "latent_dim?"]),
    ("model=vaee", ["model=vaee", "model=vae?", "Options: aae, ae, "]),
    ("dataset=mnst", ["dataset=mnst", "dataset=mnist?"]),
    ("modle=vae", ["modle:", "model?"]),
    ("latent_dim=0", ["latent_dim:", "found 0", "greater than or equal to 1"]),
    ("latent_dim=abc", ["latent_dim:", "'abc'", "integer"]),
    ("latent_dim=2.5", ["latent_dim:", "2.5", "integer"]),
    ("seed=-1", ["seed:", "-1"]),
    ("device=tpu", ["device:", "'tpu'", "cpu"]),
    ("precision=float16", ["precision:", "'float16'", "'float32' or 'bfloat16'"]),
    ("network.widths=[3,a]", ["network.widths", "'a'", "integer"]),
    ("network.activation=rellu", ["network.activation:", "'rellu'", "'relu'"]),
    ("optimizer.lr=0", ["optimizer.lr:", "found 0", "greater than 0"]),
    ("optimizer.betas=[0.9]", ["optimizer.betas:", "[0.9]", "2 items"]),
    ("trainer.epochs=null", ["trainer.epochs:", "trainer.steps"]),
    ("trainer.steps=0", ["trainer.steps:", "found 0"]),
    ("objective.beta=-1", ["objective.beta:", "-1"]),
    ("objective.warmup_epochs=200", ["objective.warmup_epochs:", "200", "100 epochs"]),
    ("posterior=delta", ["objective:", "deterministic code", "posterior=normal"]),
    ("prior=fitted_gaussian", ["objective:", "prior=standard_normal"]),
    ("dataset.binarize=on", ["dataset.binarize:", "'static'", "'dynamic'"]),
    ("dataset.val_size=1.5", ["dataset.val_size:", "1.5"]),
    ("evaluation.metrics=[mze]", ["evaluation.metrics:", "'mze'", "'mse'"]),
    ("evaluation.figures=[sample]", ["evaluation.figures:", "'sample'", "'samples'"]),
    ("trainer.patience=3 dataset.val_size=0", ["trainer.patience:", "dataset.val_size"]),
    ("likelihood=gaussian likelihood.sigma=1e-4", ["likelihood.sigma:", "0.001", "'learned'"]),
    ("likelihood=gaussian likelihood.sigma=best", ["likelihood.sigma:", "'best'", "'optimal'"]),
    ("model=dae corruption=masking corruption.level=2", ["corruption.level:", "found 2"]),
    ("optimizer=sgd optimizer.nesterov=true optimizer.momentum=0", ["optimizer.nesterov:"]),
    ("schedule=multistep schedule.milestones=[0]", ["schedule.milestones", "found 0"]),
    ("optimizer._target_=os.system", ["optimizer._target_:", "os.system"]),
    ("dataset=arrays", ["dataset.path:", "a value is needed"]),
    ("checkpoint=last", ["checkpoint:", "another task"]),
    ("task=sample", ["run:", "a value is needed"]),
    ("task=sampel", ["task=sampel", "task=sample?"]),
    ("~trainer", ["trainer:"]),
    ("network.widths=[1,", ["network.widths=[1,", "Quote"]),
    ("latent_dim", ["latent_dim:", "KEY=VALUE"]),
    pytest.param("device=cuda", ["device:", "cuda", "device=cpu"], marks=NO_CUDA),
]


@pytest.mark.parametrize(("typed", "told"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_wrong_configuration_is_refused_and_leaves_nothing(
    typed: str, told: list[str], vae_run: Run, tmp_path: Path
) -> None:
    finished = vae_run(*typed.split())
    assert finished.code == 1
    assert finished.out == ""
    assert finished.err.startswith("error: ")
    for words in told:
        assert words in finished.err
    assert "Traceback" not in finished.err
    assert len(finished.err.splitlines()) <= 3
    assert list(tmp_path.iterdir()) == []


def test_argparse_errors_exit_with_2(vae_run: Run, tmp_path: Path) -> None:
    for typed in ("--bogus", "--cfg=jobb"):
        finished = vae_run(typed)
        assert finished.code == 2
        assert finished.err.startswith("usage: vae-run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "svhn", "celeba"])
def test_missing_data_exit_with_3_and_name_the_files(
    dataset: str, vae_run: Run, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    finished = vae_run("task=check", f"dataset={dataset}", f"dataset.root={root}",
                       "dataset.download=false")  # fmt: skip
    assert finished.code == 3
    assert str(root) in finished.said
    assert "dataset.root" in finished.said
    assert "Traceback" not in finished.said


def test_missing_files_of_ones_own_exit_with_3(vae_run: Run, tmp_path: Path) -> None:
    for dataset, more in (("arrays", ()), ("image_folder", ("dataset.image_size=8",))):
        path = tmp_path / f"no-{dataset}"
        finished = vae_run("task=check", f"dataset={dataset}", f"dataset.path={path}", *more)
        assert finished.code == 3
        assert "dataset.path" in finished.said
        assert str(path) in finished.said


def test_a_missing_run_exits_with_3(vae_run: Run, tmp_path: Path) -> None:
    for task in ("evaluate", "resume", "sample output=x.png"):
        finished = vae_run(*f"task={task}".split(), "run=nowhere")
        assert finished.code == 3
        assert "run: nowhere holds no run" in finished.said
    finished = vae_run("init_from=nowhere")
    assert finished.code == 3
    assert "init_from: nowhere holds no run" in finished.said
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_holds_a_run_is_not_overwritten(vae: Path, vae_run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in vae.rglob("*")}
    finished = vae_run(f"hydra.run.dir={vae}", "seed=1")
    assert finished.code == 1
    assert "hydra.run.dir:" in finished.err
    assert f"vae-run task=resume run={vae}" in finished.err
    assert {path: path.stat().st_mtime_ns for path in vae.rglob("*")} == before


@pytest.mark.parametrize("group", [*GROUPS, "model", "task", "hydra/launcher"])
def test_no_option_is_refused_by_the_groups_name(group: str, vae_run: Run, tmp_path: Path) -> None:
    names = sorted(file.stem for file in (main.CONF / group).glob("*.yaml"))
    for typed, found in ((f"{group}=null", "null"), (f"{group}=", "nothing")):
        refused = vae_run(typed)
        assert refused.code == 1
        assert refused.err.startswith(
            f"error: {group}: found {found}, expected one of its options: {', '.join(names)}."
        )
    assert list(tmp_path.iterdir()) == []


def test_no_option_among_others_is_refused_before_a_sweep(vae_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "network"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("_target_: own.Network\n", encoding="utf-8")
    refused = vae_run("-m", "--config-dir=mine", "seed=0,1", "network=mlp,null", "sweep.dir=s")
    assert refused.code == 1
    assert (
        "network: found null, expected one of its options: conv, conv1d, linear, mlp, own"
        in refused.err
    )
    assert not (tmp_path / "s").exists()
    assert vae_run("task=check", "condition=null", "device=cpu").code == 0, "a key that may be null"


def test_full_error_gives_the_traceback(
    vae_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    finished = vae_run("latent_dim=0")
    assert finished.code == 1
    assert "Traceback (most recent call last)" in finished.err
    assert finished.err.splitlines()[-1].startswith("error: latent_dim:")


def test_the_environment_variable_asks_for_the_traceback(
    python_environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vae_run", "model=vaee"],
        env={**python_environment, "HYDRA_FULL_ERROR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_is_written_for_a_person(vae_run: Run, tmp_path: Path) -> None:
    help_ = vae_run("--help")
    assert help_.code == 0
    lines = help_.out.splitlines()
    assert max(map(len, lines)) <= 80
    for file in main.CONF.glob("*/*.yaml"):
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {file.parent.name} "))
        options = " ".join(takewhile(lambda line: line.startswith("    "), lines[at + 1 :])).split()
        assert file.stem in options, f"{file.parent.name}={file.stem}"
    tasks = help_.out.split("Tasks and their keys")[1].split("\n\n")[0]
    for name, schema in TASKS.items():
        own = set(schema.model_fields) - set(Common.model_fields)
        told = re.search(rf"^  {name} .*?(?=^  \w|\Z)", tasks, re.MULTILINE | re.DOTALL)
        assert told is not None, name
        assert own <= set(re.findall(r"(\w+)=", told[0])), name
    assert re.search(r"  sample .*? run=\?\?\? .*? n=64 .*? sampler=prior", tasks, re.DOTALL)
    examples = help_.out.split("Examples\n")[1].split("\n\n")[0].splitlines()
    assert len(examples) == 5
    assert all(line.startswith("  vae-run ") for line in examples)
    assert list(tmp_path.iterdir()) == []


def test_the_keys_and_options_that_the_help_names_exist(vae_run: Run) -> None:
    help_ = vae_run("--help").out
    named = re.findall(r"([\w.]+)=", help_.split("Most used keys\n")[1].split("\n\n")[0])
    known = {*known_keys(main.CONF), "hydra.run.dir", "hydra.launcher.jobs"}
    assert {"trainer.compile", "trainer.skip_nonfinite", "dataset.cache"} <= set(named) <= known
    options = re.findall(r"(hydra/\w+)=(\w+)", help_)
    assert {group for group, _ in options} == {"hydra/launcher", "hydra/sweeper"}
    assert all((main.CONF / group / f"{option}.yaml").is_file() for group, option in options)


def test_help_lists_the_options_of_a_config_dir(vae_run: Run, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "network"
    own.mkdir(parents=True)
    text = "_target_: vae_run.models.networks.MLP\nwidths: [7]\n"
    (own / "tiny_net.yaml").write_text(text, encoding="utf-8")
    for typed in (["--config-dir", "mine"], ["--config-dir=mine"]):
        assert "tiny_net" in vae_run(*typed, "--help").out
    assert "tiny_net" not in vae_run("--help").out
    shown = vae_run("--config-dir", "mine", "network=tiny_net", "--cfg", "job")
    assert OmegaConf.create(shown.out).network.widths == [7]


@pytest.mark.parametrize("number", range(5))
def test_the_examples_of_the_help_compose(number: int, vae_run: Run, vae: Path) -> None:
    help_ = vae_run("--help").out
    example = help_.split("Examples\n")[1].splitlines()[number]
    typed = [word.strip("'") for word in example.split()[1:] if word != "-m"]
    typed = [re.sub(r"=.*,.*", lambda m: m[0].split(",")[0], word) if "[" not in word else word
             for word in typed if "range" not in word]  # fmt: skip
    assert vae_run(*typed, "--cfg", "job").code == 0


def test_the_public_defaults(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("--cfg", "job")
    assert finished.code == 0
    assert list(tmp_path.iterdir()) == []
    config = OmegaConf.create(finished.out)
    public: dict[str, Any] = {
        "task": "train",
        "latent_dim": 16,
        "seed": 0,
        "device": "auto",
        "precision": "float32",
        "init_from": None,
        "trust": [],
        "sweep.dir": None,
        "trainer.steps": None,
        "trainer.batch_size": 128,
        "trainer.max_time": None,
        "trainer.patience": None,
        "trainer.clip_norm": None,
        "network.decoder_widths": None,
        "optimizer.lr": 1e-3,
        "objective.beta": 1.0,
        "objective.warmup_epochs": 0.0,
        "dataset.binarize": "none",
        "dataset.classes": None,
        "dataset.val_size": 0.1,
        "dataset.split_seed": 0,
    }
    for key, value in public.items():
        assert OmegaConf.select(config, key, throw_on_missing=True) == value, key
    targets = {group: config[group]["_target_"] for group in GROUPS}
    assert targets["dataset"].endswith("Digits")
    assert targets["network"].endswith("MLP")
    assert targets["posterior"].endswith("NormalPosterior")
    assert targets["prior"].endswith("StandardNormal")
    assert targets["likelihood"].endswith("BernoulliLikelihood")
    assert targets["objective"].endswith("ELBO")
    assert targets["corruption"].endswith("NoCorruption")
    assert targets["optimizer"].endswith("Adam")
    assert targets["schedule"].endswith("Constant")
    assert targets["trainer"].endswith("Gradient")


def test_sigma_is_learned_by_default_and_mse_is_a_variance_of_one_half(vae_run: Run) -> None:
    gaussian = OmegaConf.create(vae_run("likelihood=gaussian", "--cfg", "job").out)
    assert gaussian.likelihood.sigma == "learned"
    mse = OmegaConf.create(vae_run("likelihood=mse", "--cfg", "job").out)
    assert mse.likelihood.sigma**2 == pytest.approx(0.5, rel=1e-15)


def test_hydras_own_flags_work(vae_run: Run, tmp_path: Path) -> None:
    assert "SEARCH" in vae_run("--info", "searchpath").out.upper()
    assert "model/vae" in vae_run("--info", "defaults").out
    assert "override" in vae_run("--hydra-help").out
    package = vae_run("--cfg", "job", "--package", "trainer")
    assert "epochs: 100" in package.out
    completed = vae_run("--shell-completion", "install=bash")
    assert "complete -F _vae_run vae-run" in completed.out
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_that_of_vae_run_and_of_what_it_stands_on(vae_run: Run) -> None:
    finished = vae_run("--version")
    assert finished.code == 0
    expected = f"vae-run {vae_run_version} (torch {torch.__version__.partition('+')[0]}"
    assert finished.out.startswith(expected)


def test_a_failure_of_a_run_is_said_on_standard_error(vae_run: Run, tmp_path: Path) -> None:
    finished = vae_run("dataset=arrays", f"dataset.path={tmp_path / 'nothing.npz'}")
    assert finished.code == 3
    assert "does not exist" in finished.err
    assert "error" not in finished.out


def test_the_backend_of_a_notebook_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    found = []
    monkeypatch.setattr(main, "heed_quota", lambda: found.append(os.environ["MPLBACKEND"]))
    with pytest.raises(SystemExit):
        main.main(["lr=3"])
    assert found == ["agg"]
    assert os.environ["MPLBACKEND"] == "module://matplotlib_inline.backend_inline"
