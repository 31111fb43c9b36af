"""The text of `vae-run --help`: groups, their options, examples; 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml  # type: ignore[import-untyped]

from vae_run.config.options import folders, options

GROUPS = {
    "task": "what the command does",
    "model": "the model family: a preset of the parts below",
    "network": "encoder and decoder networks",
    "posterior": "q(z|x), the distribution of an image's code",
    "prior": "p(z), the distribution of codes",
    "likelihood": "p(x|z), the distribution of pixels, or of numbers and categories",
    "objective": "the loss, in nats per image",
    "corruption": "noise on the encoder's input, for denoising",
    "dataset": "the images, or vectors, windows, rows of a table",
    "optimizer": "the update of the weights",
    "schedule": "the learning rate over time",
    "trainer": "the method and length of training",
    "evaluation": "the metrics and figures of a trained model",
    "tracker": "where metrics go besides TensorBoard",
    "sampler": "the distribution that task=sample draws codes from",
    "experiment": "published results to reproduce; those that are sweeps need -m",
}

HEAD = """\
vae-run trains, evaluates and sweeps autoencoders.

  vae-run [GROUP=OPTION] [KEY=VALUE] ...   train; by default a VAE on 8x8 digits
  vae-run -m KEY=A,B,C ...                 sweep: one run per combination
  vae-run -m hydra/sweeper=optuna ...      search instead of all combinations
  vae-run -m hydra/launcher=vectorized ... train equal networks as one model
  vae-run task=TASK run=DIR ...            use a trained run

Groups and their options (the default comes first)
"""

TAIL = """\

Most used keys
  latent_dim=16  seed=0  device=auto  precision=float32  condition=label
  init_from=DIR  hydra.run.dir=DIR  objective.beta=1  likelihood.sigma=learned
  trainer.epochs=100  trainer.steps=N  trainer.batch_size=128
  trainer.patience=N  trainer.max_time=SECONDS  trainer.clip_norm=X
  trainer.compile=auto  trainer.skip_nonfinite=0  optimizer.lr=1e-3
  network.widths=[512,256]  network.activation=relu  corruption.level=0.3
  dataset.root=DIR  dataset.path=FILE  dataset.binarize=none
  dataset.val_size=0.1  dataset.cache=auto
  with -m: sweep.dir=DIR  sweep.mark=X  hydra.launcher.jobs=N

Examples
  vae-run latent_dim=2
  vae-run model=dae dataset=mnist corruption=masking corruption.level=0.5
  vae-run likelihood=gaussian network=conv 'network.widths=[32,64]'
  vae-run -m model=ae,dae,vae latent_dim=2,8 'seed=range(3)'
  vae-run task=sample run=outputs/DAY/RUN n=100 output=samples.png

See also
  vae-run --cfg job            the whole configuration, with every key
  vae-run task=check ...       build the model, read the data, train nothing
  vae-run --hydra-help         Hydra's own options, such as --config-dir
  tensorboard --logdir outputs
"""


def text(conf: Path, words: Sequence[str]) -> str:
    """The help, with the options in `conf` and in any `--config-dir` of the typed `words`."""
    places = folders(conf, words)
    lines = [HEAD]
    for group, meaning in GROUPS.items():
        names = options(group, places)
        chosen = _default(conf, group)
        if chosen in names:
            names.remove(chosen)
            names.insert(0, chosen)
        lines.append(f"  {group:<12}{meaning}")
        lines.append(fill(" ".join(names), 78, initial_indent=" " * 14, subsequent_indent=" " * 14))
    return "\n".join([*lines, *_tasks(places)]) + "\n" + TAIL


def _tasks(places: Sequence[Path]) -> Iterator[str]:
    """Every task with the sentence its file begins with, and its keys with their defaults."""
    yield "\nTasks and their keys (where it says ???, a value must be given)"
    for name in options("task", places):
        file = next(f for place in places if (f := place / "task" / f"{name}.yaml").is_file())
        written = file.read_text(encoding="utf-8")
        said = [line[2:] for line in written.splitlines() if line.startswith("# ")]
        yield fill(
            next(line for line in [*said, ""] if not line.startswith("@")),
            78,
            initial_indent=f"  {name:<12}",
            subsequent_indent=" " * 14,
        )
        keys = yaml.safe_load(written) or {}
        defaults = [each for each in keys.pop("defaults", []) if isinstance(each, dict)]
        chosen = {k.strip("/"): v for each in defaults for k, v in each.items()}
        keys = {k: v for k, v in {**keys, **chosen}.items() if k not in ("task", "hydra")}
        if keys:
            told = " ".join(f"{key}={_written(value)}" for key, value in keys.items())
            indent = " " * 14
            yield fill(told, 78, initial_indent=indent, subsequent_indent=indent)


def _written(value: Any) -> str:
    """A plain value of YAML as it is typed."""
    return (
        str(value).lower() if isinstance(value, bool) else str("null" if value is None else value)
    )


def _default(conf: Path, group: str) -> str | None:
    """The option that the defaults list of `config.yaml`, or of a task, gives `group`."""
    for file in (conf / "config.yaml", *sorted((conf / "task").glob("*.yaml"))):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith((f"- {group}: ", f"- /{group}: ")):
                return line.split(": ")[1].split("#")[0].strip()
    return None
