"""The text of `vae-run --help`: groups, their options, examples; 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from vae_run.config.options import folders, options

GROUPS = {
    "task": "what to do",
    "model": "the family: a preset of the parts below",
    "network": "images to features and back",
    "posterior": "q(z|x)",
    "prior": "p(z)",
    "likelihood": "p(x|z)",
    "objective": "what is minimised, in nats per image",
    "corruption": "what the encoder sees instead of the clean image",
    "dataset": "what is learned from",
    "optimizer": "how weights move",
    "schedule": "how the learning rate changes",
    "trainer": "how parameters are found",
    "evaluation": "what a model is judged by",
    "tracker": "what a run's numbers are sent to beside TensorBoard",
    "sampler": "what task=sample draws codes from",
    "experiment": "published results to reproduce; some are sweeps: with -m",
}

HEAD = """\
vae-run trains, judges and sweeps autoencoders.

  vae-run [GROUP=OPTION] [KEY=VALUE] ...   train; alone: a VAE on 8x8 digits
  vae-run -m KEY=A,B,C ...                 sweep: a run for every combination
  vae-run -m hydra/sweeper=optuna ...      search instead of every combination
  vae-run -m hydra/launcher=vectorized ... networks of one shape train as one
  vae-run task=TASK run=DIR ...            work on a trained run

Groups and their options (the default stands first)
"""

TAIL = """\

Keys used most
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
  vae-run task=check ...       build it and look at the data; train nothing
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
    return "\n".join(lines) + "\n" + TAIL


def _default(conf: Path, group: str) -> str | None:
    """The option that the defaults list of `config.yaml`, or of a task, gives `group`."""
    for file in (conf / "config.yaml", *sorted((conf / "task").glob("*.yaml"))):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith((f"- {group}: ", f"- /{group}: ")):
                return line.split(": ")[1].split("#")[0].strip()
    return None
