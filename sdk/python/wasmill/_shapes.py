"""JSON values as dataclasses: just what the standard library's types can say, with the place of what does not fit."""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from typing import Any


class Mismatch(Exception):
    """A value that is not of the wanted shape."""


def shaped(value: Any, shape: Any, where: str = "") -> Any:
    """The value as that type. `where` is the path to it, such as `.items[2].price`."""
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if shape is Any or shape is object:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, arguments, where)
    if origin is typing.Literal:
        return value if value in arguments else _wrong(value, " or ".join(map(repr, arguments)), where)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated):
        return shaped(value, arguments[0], where)
    if dataclasses.is_dataclass(shape):
        return _dataclass(value, shape, where)
    if typing.is_typeddict(shape):
        return _typed_dict(value, shape, where)
    if (origin or shape) is list:
        items = value if isinstance(value, list) else _wrong(value, "a list", where)
        kind = arguments[0] if arguments else Any
        return [shaped(item, kind, f"{where}[{index}]") for index, item in enumerate(items)]
    if (origin or shape) is dict:
        members = value if isinstance(value, dict) else _wrong(value, "an object", where)
        kind = arguments[1] if arguments else Any
        return {name: shaped(member, kind, f"{where}.{name}") for name, member in members.items()}
    return _plain(value, shape, where)


def _plain(value: Any, shape: Any, where: str) -> Any:
    if shape is None or shape is types.NoneType:
        return value if value is None else _wrong(value, "null", where)
    # In Python True is an int, and 5 is no float; in JSON it is the other way round.
    if shape is bool or isinstance(value, bool):
        return value if shape is bool and isinstance(value, bool) else _wrong(value, _name(shape), where)
    if shape is float and isinstance(value, (int, float)):
        return _float(value, where)
    if isinstance(shape, type) and issubclass(shape, enum.Enum):
        try:
            return shape(value)
        except ValueError:
            _wrong(value, " or ".join(repr(member.value) for member in shape), where)
    if shape in (str, int, float):
        return value if isinstance(value, shape) else _wrong(value, _name(shape), where)
    raise TypeError(f"JSON cannot be read as {shape!r}")


def _float(value: float, where: str) -> float:
    """JSON's numbers have no end; `1e999` is read as infinity."""
    try:
        if math.isfinite(number := float(value)):
            return number
    except OverflowError:
        pass
    _wrong(value, "a number of 64 bits", where)


def _one_of(value: Any, shapes: tuple[Any, ...], where: str) -> Any:
    wrong: list[Mismatch] = []
    for shape in sorted(shapes, key=lambda shape: shape is float):
        try:
            return shaped(value, shape, where)
        except Mismatch as mismatch:
            wrong.append(mismatch)
    inside = [mismatch for mismatch in wrong if not str(mismatch).startswith(f"{_place(where)} is ")]
    if inside:
        raise inside[0]
    return _wrong(value, " or ".join(map(_name, shapes)), where)


def _dataclass(value: Any, shape: Any, where: str) -> Any:
    members = value if isinstance(value, dict) else _wrong(value, "an object", where)
    hints = typing.get_type_hints(shape, include_extras=True)
    arguments = {}
    for field in dataclasses.fields(shape):
        if not field.init:
            continue
        if field.name in members:
            arguments[field.name] = shaped(members[field.name], hints[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Mismatch(f"{where}.{field.name} is missing".lstrip("."))
    return shape(**arguments)


def _typed_dict(value: Any, shape: Any, where: str) -> Any:
    members = value if isinstance(value, dict) else _wrong(value, "an object", where)
    missing = next((name for name in sorted(shape.__required_keys__) if name not in members), None)
    if missing is not None:
        raise Mismatch(f"{where}.{missing} is missing".lstrip("."))
    hints = typing.get_type_hints(shape, include_extras=True)
    return {
        name: shaped(member, hints[name], f"{where}.{name}") if name in hints else member
        for name, member in members.items()
    }


def _wrong(value: Any, wanted: str, where: str) -> typing.NoReturn:
    raise Mismatch(f"{_place(where)} is {_kind(value)}, and should be {wanted}")


def _place(where: str) -> str:
    return where.lstrip(".") or "the data"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool() | int() | float():
            return text if len(text := str(value).lower()) <= 40 else "a long number"
        case str():
            return repr(value) if len(value) <= 40 else "a long string"
        case list():
            return "a list"
        case _:
            return "an object"


def _name(shape: Any) -> str:
    if dataclasses.is_dataclass(shape) or typing.is_typeddict(shape):
        return "an object"
    names = {str: "a string", int: "an integer", float: "a number", bool: "a boolean", types.NoneType: "null"}
    names |= {list: "a list", dict: "an object"}
    return names.get(typing.get_origin(shape) or shape, str(shape))
