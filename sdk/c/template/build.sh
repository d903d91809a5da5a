#!/bin/sh
# ./build.sh        compile src/*.c into build/{{name}}.wasm
# ./build.sh test   run the unit tests, natively
#
# WASI_CC names another compiler, such as WASI_CC="clang --target=wasm32-wasi" or that of wasi-sdk, and CC one for the tests.
set -eu
cd "$(dirname "$0")"
# The tests by the machine's own compiler, if it has one: zig must first compile its libraries for this machine.
if [ -z "${CC:-}" ] && command -v cc >/dev/null; then CC=cc; fi
if [ -z "${WASI_CC:-}" ] || { [ "${1:-}" = test ] && [ -z "${CC:-}" ]; }; then . wasmill/zig.sh; fi
mkdir -p build
flags="-std=gnu11 -Wall -Wextra -Iwasmill"
sources="src/*.c wasmill/*.c wasmill/cjson/*.c"

if [ "${1:-}" = test ]; then
    ${CC:-$zig cc} $flags -g -o build/tests test/*.c $sources -lm
    exec build/tests
fi
${WASI_CC:-$zig cc -target wasm32-wasi} $flags -Os -mexec-model=reactor -Wl,-z,stack-size=262144 -o build/core.wasm $sources
wasmill componentize build/core.wasm -o build/{{name}}.wasm
