"""The text of `vae-run --help`: groups, their options, examples; 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill

from vae_run.cli.catalogue import GROUPS, Catalogue, written
from vae_run.config.options import folders

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
  vae-run -m model=ae,vae,wae latent_dim=2,8 'seed=range(3)'
  vae-run task=sample run=outputs/DAY/RUN n=100 output=samples.png

Exit codes: 0 done, 1 wrong configuration or failed run, 2 wrong option,
  3 data or checkpoint missing or damaged, 4 training diverged,
  129, 130, 138, 143 interrupted by a signal, with a checkpoint

See also
  vae-run --help trainer       a group; also an option, model=vae, or a key
  vae-run doctor               versions, devices, folders, what would go wrong
  vae-run --cfg job            the whole configuration, with every key
  vae-run task=check ...       build the model, read the data, train nothing
  vae-run --json ...           lines of JSON for programs; quiet=true: no lines
  vae-run --schema             a JSON Schema of all keys, for editors
  vae-run -sc install=bash     tab completion: eval "$(...)"; or zsh, fish
  vae-run --hydra-help         Hydra's own options, such as --config-dir
  tensorboard --logdir outputs
"""


def text(conf: Path, words: Sequence[str]) -> str:
    """The help, with the options in `conf` and in any `--config-dir` of the typed `words`."""
    catalogue, lines = Catalogue(folders(conf, words)), [HEAD]
    for group, meaning in GROUPS.items():
        names = catalogue.options(group)
        lines.append(f"  {group:<12}{meaning}")
        lines.append(fill(" ".join(names), 78, initial_indent=" " * 14, subsequent_indent=" " * 14))
    return "\n".join([*lines, *_tasks(catalogue)]) + "\n" + TAIL


def _tasks(catalogue: Catalogue) -> Iterator[str]:
    """Every task with the sentence its file begins with, and its keys with their defaults."""
    yield "\nTasks and their keys (where it says ???, a value must be given)"
    for name in sorted(catalogue.options("task")):
        file = catalogue.file("task", name)
        yield fill(file.sentence, 78, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)
        keys = {key: each.default for key, each in catalogue.of_option("task", name).items()}
        if told := " ".join(f"{k}={written(v)}" for k, v in {**keys, **file.chosen()}.items()):
            yield fill(told, 78, initial_indent=" " * 14, subsequent_indent=" " * 14)
