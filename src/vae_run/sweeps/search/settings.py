"""The keys of `hydra/sweeper=optuna`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vae_run.config.keys import nearest
from vae_run.config.schema import Settings
from vae_run.errors import ConfigError
from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Quantities

Direction = Literal["minimize", "maximize"]
Pruner = Literal["none", "median", "hyperband"]


class SearchSettings(BaseModel):
    """The keys of `conf/hydra/sweeper/optuna.yaml`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    trials: Annotated[int, Field(ge=1)] = 20
    objective: str | Annotated[list[str], Field(min_length=1)] = "val/elbo"
    direction: Direction | list[Direction] | None = None
    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    seed: Annotated[int, Field(ge=0)] = 0
    pruner: Pruner | None = None
    startup: Annotated[int, Field(ge=1)] | None = None
    time_limit: Annotated[float, Field(gt=0)] | None = None
    batch: Annotated[int, Field(ge=1)] = 8
    storage: str | None = None
    params: dict[str, Any] | None = None

    @property
    def objectives(self) -> tuple[str, ...]:
        return (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)

    def directions(self, job: Settings | None = None) -> tuple[Direction, ...]:
        """Which way each objective is better; the metrics of `job` may declare more of them.

        Raises:
            ConfigError: an objective is not on val, or its better direction is not known.
        """
        metrics = [_metric(name) for name in self.objectives]
        if self.direction is None:
            table = TABLE if job is None else _declared(job)
            return tuple(_better(metric, table) for metric in metrics)
        ways = (self.direction,) if isinstance(self.direction, str) else tuple(self.direction)
        if len(ways) != len(metrics):
            raise ConfigError(
                f"hydra.sweeper.direction: found {len(ways)}, expected {len(metrics)}, one for "
                "each objective."
            )
        return ways

    def pruner_where(self, obstacle: str | None) -> Pruner:
        """The pruner to use; `obstacle` says why none can be used, or is None.

        Raises:
            ConfigError: one is asked for although there is an obstacle.
        """
        if obstacle and self.pruner not in (None, "none"):
            raise ConfigError(
                f"hydra.sweeper.pruner: found {self.pruner}, but {obstacle}. Choose none."
            )
        return self.pruner or ("none" if obstacle else "median")


def _metric(name: str) -> str:
    """The metric's name, without `val/`.

    Raises:
        ConfigError: it is not on val.
    """
    split, _, metric = name.partition("/")
    if split == "test":
        raise ConfigError(
            f"hydra.sweeper.objective: found {name}, but what is chosen by test is no longer "
            f"judged by it. Search by val/{metric}, and read {name} of the best run."
        )
    if split != "val" or not metric:
        raise ConfigError(
            f"hydra.sweeper.objective: found {name}, expected val/NAME, a metric on val in "
            "metrics.json, such as val/elbo."
        )
    return metric


def _declared(job: Settings) -> Quantities:
    """The table of quantities, with what the metrics of a job declare."""
    evaluation = job.build("evaluation")
    evaluation.parts(job.trust)
    return TABLE.with_declared(evaluation.declared().quantities)


def _better(metric: str, table: Quantities) -> Direction:
    found = table.find(metric)
    better = 0 if found is None else found.better or -int(found.cost)
    if better == 0:
        near = nearest(metric, table.rows) if found is None else None
        hint = f" Or did you mean val/{near}?" if near else ""
        raise ConfigError(
            f"hydra.sweeper.direction: it is not known which way val/{metric} is better. Say "
            f"minimize or maximize.{hint}"
        )
    return "maximize" if better > 0 else "minimize"
