#!/usr/bin/env bash
# torch 2.14.1: torch.autocast refuses the device "meta", also with enabled=False, with a message about scalar types.
#
# A model is run on "meta" to learn shapes and memory without either. A forward pass that keeps a product in
# float32 by `with torch.autocast(x.device.type, enabled=False)`, as torch's own notes on autocast advise, runs
# on a CPU and fails there. Nothing would be cast in either place.
#
# Seen: cpu: float32 [2, 2]; meta: RuntimeError: unsupported scalarType
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile torch==2.14.1 numpy==2.4.6
cat > "$folder/meta.py" <<'PY'
import sys

import torch

x = torch.ones(2, 3, device=sys.argv[1])
try:
    with torch.autocast(x.device.type, enabled=False):
        product = x @ x.T
    print(str(product.dtype).removeprefix("torch."), list(product.shape))
except Exception as error:
    print(f"{type(error).__name__}: {str(error).splitlines()[0]}")
PY
for device in cpu meta; do
  said=$("$folder/env/bin/python" "$folder/meta.py" "$device")
  echo "$device: $said"
  case "$device" in
    cpu) [ "$said" = "float32 [2, 2]" ] ;;
    *) [ "$said" = "RuntimeError: unsupported scalarType" ] ;;
  esac
done
