"""The handler's configuration."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from wasmill._host import Host

_N = TypeVar("_N")


class ConfigError(Exception):
    """A configured value that is missing or not what it should be. Unless it is caught, the delivery is tried again."""


class Config(Mapping[str, str]):
    """The values under `config` of this handler in the host's configuration.

    A secret is found by its name too, but is not among those that are listed.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, name: str) -> str:
        value = self._host.config_get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._host.config_all())

    def __len__(self) -> int:
        return len(self._host.config_all())

    def require(self, name: str) -> str:
        """The value; a `ConfigError` that names it when it is not configured."""
        value = self._host.config_get(name)
        if value is None:
            raise ConfigError(f"{name} is not configured")
        return value

    def float(self, name: str, default: builtins.float) -> builtins.float:
        """The value as a number, or `default` when it is not configured."""
        return self._number(name, default, builtins.float)

    def int(self, name: str, default: builtins.int) -> builtins.int:
        """The value as a whole number, or `default` when it is not configured."""
        return self._number(name, default, builtins.int)

    def bool(self, name: str, default: builtins.bool = False) -> builtins.bool:
        """The value `true` or `false`, or `default` when it is not configured."""
        value = self._host.config_get(name)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise ConfigError(f"{name} is configured as {value!r}, and should be true or false")
        return value == "true"

    def _number(self, name: str, default: _N, kind: Callable[[str], _N]) -> _N:
        value = self._host.config_get(name)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError as error:
            raise ConfigError(f"{name} is configured as {value!r}, and should be a number") from error
