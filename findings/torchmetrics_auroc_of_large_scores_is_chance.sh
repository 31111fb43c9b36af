#!/usr/bin/env bash
# torchmetrics 1.9.0: the AUROC of scores that separate perfectly is 0.5.
#
# binary_auroc applies a sigmoid as soon as one score lies outside [0, 1], which in float32 is 1 for
# every score above 17. Scores of anomalies, such as negative log-likelihoods in nats, then are all
# equal. The area under the ROC curve depends on the order of scores alone, and needs no probabilities.
#
# Seen: scores 100, 101 of normal and 102, 103 of strange images: 0.5; the same less 100: 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.14.1 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics.functional.classification import binary_auroc

scores, strange = torch.tensor([100.0, 101.0, 102.0, 103.0]), torch.tensor([0, 0, 1, 1])
large = float(binary_auroc(scores, strange))
small = float(binary_auroc(scores - 100, strange))
print(f"scores 100 to 103: {large}; scores 0 to 3: {small}")
assert large == 0.5
assert small == 1.0
PY
