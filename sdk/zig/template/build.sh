#!/bin/sh
# ./build.sh        compile src/handler.zig into build/{{name}}.wasm
# ./build.sh test   run its tests, natively
#
# Without `zig build`: compiling its build system takes minutes the first time, and this takes seconds.
set -eu
cd "$(dirname "$0")"
. wasmill/c/zig.sh
mkdir -p build
c="-lc -Iwasmill/c -cflags -std=gnu11 -- wasmill/c/wasmill.c wasmill/c/wasmill_host.c wasmill/c/wasmill_http.c wasmill/c/wasmill_testing.c"
modules="--dep wasmill -Mroot=src/handler.zig -Mwasmill=wasmill/wasmill.zig"

if [ "${1:-}" = test ]; then
    exec $zig test $c $modules
fi
$zig build-exe -target wasm32-wasi -O ReleaseSmall -fno-entry -mexec-model=reactor --stack 262144 -femit-bin=build/core.wasm $c $modules
wasmill componentize build/core.wasm -o build/{{name}}.wasm
