"""`python -m wasmill build`: make a component of the module that has the handler."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from wasmill import _handlers

PACKAGE = Path(__file__).parent
# Where the contract is: copied beside the SDK in a project, or in a checkout of Wasmill.
CONTRACTS = (PACKAGE / "wit/handler", PACKAGE.parent.parent.parent / "wit")
# The generated modules are called so in all worlds; by default a name depends on what else is imported.
NAMES = ("wasmill:handler/types@0.1.0=types", "wasi:http/types@0.2.9=http_types")
ENTRY = "wasmill_component"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m wasmill", description="Make components of handlers in Python.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build_command = commands.add_parser("build", help="make a component")
    build_command.add_argument("module", help="the module with the handler, for example quake_alert")
    build_command.add_argument("-o", "--output", type=Path, required=True, help="where the component goes")
    build_command.add_argument("-p", "--path", type=Path, default=Path(), help="the folder the module is in")
    build_command.set_defaults(run=lambda given: build(given.module, given.path, given.output))
    bindings_command = commands.add_parser("bindings", help="write what is generated, for type checkers")
    bindings_command.add_argument("folder", type=Path)
    bindings_command.add_argument("--batch", action="store_true", help="for a batch handler")
    bindings_command.set_defaults(run=lambda given: bindings(given.folder, is_batch=given.batch))
    given = parser.parse_args(arguments)
    given.run(given)


def build(module: str, path: Path, output: Path) -> None:
    """Make the component. What it imports depends on what the module imports."""
    # First as any program, which finds most mistakes in a second, and says which world is meant.
    sys.path.insert(0, str(path.resolve()))
    importlib.import_module(module)
    problem = _handlers.problem()
    if problem is not None:
        sys.exit(f"{module} cannot be built: {problem}")
    is_batch, uses_http = bool(_handlers.batch_handlers), "wasmill.http" in sys.modules
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wasmill-") as folder:
        entry = [f"import {module}", "import wasmill._wasi_http" if uses_http else "", "import wasmill._component"]
        entry.append(f"{_export(is_batch)} = wasmill._component.{_export(is_batch)}")
        entry.append("wasmill._component.ready()")
        Path(folder, f"{ENTRY}.py").write_text("\n".join(entry) + "\n")
        paths: list[str | Path] = [folder, path.resolve(), PACKAGE.parent.resolve(), *_packages()]
        options = [option for each in dict.fromkeys(str(Path(each).resolve()) for each in paths) for option in ("--python-path", each)]
        made = Path(folder, "made.wasm")
        _componentize(_world(Path(folder), is_batch, uses_http), "componentize", *options, "--output", str(made), ENTRY)
        shutil.move(made, output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def _packages() -> list[str]:
    """Where packages are installed: what PYTHONPATH names, and the virtual environment."""
    named = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    return [*named, sysconfig.get_path("purelib")] if sys.prefix != sys.base_prefix else named


def bindings(folder: Path, *, is_batch: bool) -> None:
    """Write the generated modules, which the SDK's own side of the component is checked against."""
    with tempfile.TemporaryDirectory(prefix="wasmill-") as scratch:
        _componentize(_world(Path(scratch), is_batch, True), "bindings", str(folder))


def _export(is_batch: bool) -> str:
    return "BatchHandler" if is_batch else "Handler"


def _world(folder: Path, is_batch: bool, uses_http: bool) -> Path:
    """A folder of WIT files with one world: componentize-py 0.25 cannot merge worlds that import resources."""
    wit = folder / "wit"
    contract = next((each for each in CONTRACTS if (each / "world.wit").is_file()), None)
    if contract is None:
        sys.exit(f"there are no WIT files of Wasmill in {CONTRACTS[0]}; copy its folder wit to there")
    shutil.copytree(contract, wit / "deps/wasmill-handler", ignore=shutil.ignore_patterns("deps"))
    shutil.copytree(contract / "deps", wit / "deps", dirs_exist_ok=True)
    if uses_http:
        shutil.copytree(PACKAGE / "wit/http/deps", wit / "deps", dirs_exist_ok=True)
        shutil.copytree(PACKAGE / "wit/http", wit / "deps/wasmill-http", ignore=shutil.ignore_patterns("deps"))
    includes = [f"wasmill:handler/{'batch-' if is_batch else ''}message-handler@0.1.0"]
    includes += ["wasmill:http-client/http-client@0.1.0"] if uses_http else []
    world = "\n".join(f"    include {each};" for each in includes)
    (wit / "component.wit").write_text(f"package wasmill:python;\n\nworld component {{\n{world}\n}}\n")
    return wit


def _componentize(wit: Path, *arguments: str) -> None:
    if importlib.util.find_spec("componentize_py") is None:
        sys.exit("there is no componentize-py; install it with `pip install -r requirements.txt`")
    command = [sys.executable, "-c", "import componentize_py; componentize_py.script()", "--quiet"]
    command += ["--wit-path", str(wit), "--world", "component"]
    for name in NAMES:
        if (wit / "deps/http.wit").is_file() or not name.startswith("wasi:http"):
            command += ["--import-interface-name", name]
    # Rust's backtraces of the tool itself say nothing to somebody whose module does not import.
    environment = {**os.environ, "RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0"}
    if subprocess.run([*command, *arguments], env=environment).returncode != 0:
        sys.exit("componentize-py made no component; what it says stands above")


if __name__ == "__main__":
    main()
