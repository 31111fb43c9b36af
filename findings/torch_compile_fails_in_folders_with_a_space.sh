#!/usr/bin/env bash
# torch 2.14.1: torch.compile fails on a CPU where its cache lies in a folder with a space in its name.
#
# The C++ compiler's command is one text that is split at spaces, so the path of the generated source is
# torn into two words. The cache is in TORCHINDUCTOR_CACHE_DIR, or else in a folder for temporary files:
# a TMPDIR with a space is enough. The message is g++'s, which finds neither of the two files. Needs g++.
#
# Seen: folder "plain": 1.909; folder "with space": InductorError, CppCompileError: C++ compile error
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.14.1 numpy==2.4.6
cat > "$folder/compiles.py" <<'PY'
import torch

try:
    print(f"{torch.compile(lambda x: (x * 2).sin() + 1)(torch.ones(8))[0].item():.3f}")
except Exception as error:
    print(f"{type(error).__name__}, {str(error).splitlines()[0]}")
PY
for name in plain "with space"; do
  said=$(TORCHINDUCTOR_CACHE_DIR="$folder/$name" "$folder/env/bin/python" -W ignore "$folder/compiles.py" 2>/dev/null)
  echo "folder \"$name\": $said"
  case "$name" in
    plain) [ "$said" = 1.909 ] ;;
    *) [ "$said" = "InductorError, CppCompileError: C++ compile error" ] ;;
  esac
done
