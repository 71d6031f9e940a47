"""Maps: how a host's own names, units and dimensions read as records (`pyemu/maps`)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pyemu.variables import ENVIRONMENT, VARIABLES, names, unknown

SHIPPED = Path(__file__).parent / "maps"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a variable comes from: a name, a constant, or hybrid levels (a + b*surface).

    `after` is its name after the step; None follows the map's pattern.
    """

    name: str | None = None
    unit: str | None = None
    molar_mass: float | None = None
    after: str | None = None
    value: float | None = None
    a: str | None = None
    b: str | None = None
    surface: str | None = None

    def __post_init__(self) -> None:
        hybrid = (self.a, self.b, self.surface)
        if any(hybrid) and not all(hybrid):
            raise ValueError("hybrid levels need a, b and surface")
        ways = sum((self.name is not None, self.value is not None, all(hybrid)))
        if ways > 1 or (ways == 0 and self.after is None):
            raise ValueError("give one of name, value, or a, b and surface")
        if self.molar_mass is not None and not self.molar_mass > 0.0:
            raise ValueError(f"molar_mass = {self.molar_mass}; allowed is (0, inf)")


@dataclass(frozen=True, kw_only=True)
class RecordMap:
    """A map, as `pyemu/maps/echam_ham.toml` explains it."""

    variables: Mapping[str, Source]
    timestep: float | None = None
    profile: str | None = None
    after: str = "{}_after"
    dimensions: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    air_humidity: str | None = None

    def __post_init__(self) -> None:
        known = names(VARIABLES)
        for name in (*self.variables, *self.absent):
            if name not in known:
                raise ValueError(unknown(name, known))
        for name in self.absent:
            if name in names(ENVIRONMENT):
                raise ValueError(f"absent: {name} is environment; give it a value instead")
            if name in self.variables:
                raise ValueError(f"absent: {name} is in [variables] too")
        if "{}" not in self.after:
            raise ValueError(f"after = '{self.after}'; it needs {{}} where the name goes")
        if self.timestep is not None and not self.timestep > 0.0:
            raise ValueError(f"timestep = {self.timestep}; allowed is (0, inf) s")

    def source(self, name: str) -> Source | None:
        """Where `name` before the step comes from; None if the map does not say."""
        given = self.variables.get(name)
        return None if given is None or (given.after and not _has_before(given)) else given

    def after_name(self, name: str) -> str | None:
        """Name of `name` after the step in the file; None if the map does not say."""
        given = self.variables.get(name)
        if given is None or given.after is not None:
            return None if given is None else given.after
        return None if given.name is None else self.after.replace("{}", given.name)


def plain() -> RecordMap:
    """Our own names, as `pyemu sample` and the Fortran recorder write them."""
    return RecordMap(variables={name: Source(name=name) for name in names(VARIABLES)})


def read_map(path: str | Path) -> RecordMap:
    """Read a map from a TOML file, or a shipped one by its name; ValueError says what is wrong."""
    shipped = SHIPPED / f"{path}.toml"
    place = shipped if shipped.is_file() else Path(path)
    if not place.is_file():
        have = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.toml")))
        raise ValueError(f"there is no map {path}; shipped are {have}")
    try:
        text = tomllib.loads(place.read_text())
        sources = {name: _source(name, value) for name, value in text.pop("variables", {}).items()}
        return RecordMap(variables=sources, **_checked(RecordMap, text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"map {place}: {error}") from None


def _source(name: str, value: Any) -> Source:
    try:
        if isinstance(value, str):
            return Source(name=value)
        return Source(**_checked(Source, value))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None


def _checked(kind: type[Source] | type[RecordMap], given: Any) -> dict[str, Any]:
    """Keys of a table, known ones only; lists as tuples."""
    if not isinstance(given, dict):
        raise TypeError(f"{given!r} is neither a name nor a table")
    known = [setting.name for setting in fields(kind)]
    for key in given:
        if key not in known:
            raise ValueError(unknown(key, known))
    return {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}


def _has_before(source: Source) -> bool:
    return source.name is not None or source.value is not None or source.a is not None
