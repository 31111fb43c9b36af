#!/usr/bin/env bash
# hydra-core 1.3.8: the stop of a sweep over a range of decimals is sometimes one of its values.
#
# A range sweep leaves its stop out, as Python's range does: `x=range(0,0.3,0.1)` has 0, 0.1 and 0.2.
# `x=range(0,0.4,0.1)` has 0.4 as well. Hydra adds up in decimal.Decimal, but of the exact binary
# values: four times that of 0.1, rounded to 28 digits, is less than that of 0.4.
#
# Seen: range(0,0.3,0.1) -> 0.0 0.1 0.2; range(0,0.4,0.1) -> 0.0 0.1 0.2 0.3 0.4; of the ranges of 1 to
# 10 steps of 0.1 those of 1, 2, 4 and 8 steps have their stop.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet hydra-core==1.3.8 omegaconf==2.3.0
"$folder/env/bin/python" - <<'PY'
from hydra.core.override_parser.overrides_parser import OverridesParser


def values(text):
    (override,) = OverridesParser.create().parse_overrides([f"x={text}"])
    return list(override.sweep_string_iterator())


short, long = values("range(0,0.3,0.1)"), values("range(0,0.4,0.1)")
print("range(0,0.3,0.1):", *short)
print("range(0,0.4,0.1):", *long)
several = [n for n in range(1, 11) if len(values(f"range(0,{n / 10},0.1)")) != n]
print("steps of 0.1 in ranges with their stop:", *several)
assert several == [1, 2, 4, 8]
assert len(short) == 3
assert len(long) == 5
assert float(long[-1]) >= 0.4
PY
