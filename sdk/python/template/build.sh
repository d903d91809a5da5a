#!/bin/sh
# Make build/{{name}}.wasm; the first time, install what makes it into .venv.
set -eu
cd "$(dirname "$0")"
if ! cmp -s requirements.txt .venv/installed.txt; then
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
fi
.venv/bin/python -m wasmill build handler --output build/{{name}}.wasm
