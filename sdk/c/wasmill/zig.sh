# Sets $zig: the command `zig`, which compiles C too and brings libc along. The one on the PATH when it has the version that
# this is tested with, and else PyPI's (90 MB, once for all projects).
zig_version=0.17.1
if [ -n "${ZIG:-}" ]; then
    zig=$ZIG
elif [ "$(zig version 2>/dev/null)" = "$zig_version" ]; then
    zig=zig
else
    zig_folder=${XDG_CACHE_HOME:-$HOME/.cache}/wasmill/ziglang-$zig_version
    if [ ! -e "$zig_folder/installed" ]; then
        echo "installing zig $zig_version from PyPI into $zig_folder" >&2
        python3 -m venv "$zig_folder"
        "$zig_folder/bin/python" -m pip install --quiet --disable-pip-version-check "ziglang==$zig_version"
        touch "$zig_folder/installed"
    fi
    zig="$zig_folder/bin/python -m ziglang"
fi
