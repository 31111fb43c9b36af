#!/usr/bin/env bash
# optuna 5.0.0: NSGAIISampler proposes what RandomSampler proposes, for its first 50 trials or for ever.
#
# Its population has 50 members by default, and the first generation is drawn by a RandomSampler of
# the same seed: a study of up to 50 trials is a random search, point for point. With
# population_size=10 it differs after ten. With a single parameter it never differs: each parameter of
# a child is drawn afresh with probability 1 / (number of parameters), which is then 1.
#
# Seen: equal to RandomSampler at the start: 50 of 60 trials; with population_size=10: 11, with one
# parameter and population_size=10: 60
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet optuna==5.0.0
"$folder/env/bin/python" - <<'PY'
import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)


def points(sampler, names):
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda t: sum(t.suggest_float(n, 0, 1) ** 2 for n in names), n_trials=60)
    return [trial.params for trial in study.trials]


for names, options, expected in (
    ("xyz", {}, 50),
    ("xyz", {"population_size": 10}, 10),
    ("x", {"population_size": 10}, 60),
):
    chance = points(optuna.samplers.RandomSampler(seed=3), names)
    genetic = points(optuna.samplers.NSGAIISampler(seed=3, **options), names)
    pairs = enumerate(zip(genetic, chance))
    leading = next((i for i, (a, b) in pairs if a != b), 60)
    print(f"{len(names)} parameters, {options}: {leading} of 60 trials equal RandomSampler's")
    # A child may equal the random point as well, if all of its parameters are drawn afresh.
    assert expected <= leading < expected + 5
PY
