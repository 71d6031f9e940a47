"""How networks are made and trained."""

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import torch

from pyemu.blocks.learned import FORMS, NETWORKS, OF_PARTICLES, Form, trunk_of
from pyemu.blocks.network import Network
from pyemu.variables import unknown

_WIDTHS = (32, 32)


def read_settings(path: Path | None, config: type[Any]) -> dict[str, Any]:
    """Read a TOML file whose entries are fields of the dataclass `config`; {} for None.

    ValueError names the file and what is not TOML, or no field.
    """
    if path is None:
        return {}
    try:
        given = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    check_settings(given, config, str(path))
    return given


def check_settings(given: Iterable[str], config: type[Any], place: str) -> None:
    """Refuse names that are no fields of the dataclass `config`; ValueError names the `place`."""
    known = [setting.name for setting in fields(config)]
    for name in given:
        if name not in known:
            raise ValueError(f"{place}: {unknown(name, known)}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run; every field may stand in a TOML file.

    Parameters
    ----------
    coagulation, condensation, ageing, water, salt, nucleation, trunk
        Hidden layers of each network, widths or names such as "gated32_silu"
        (`pyemu.blocks.network.layer_of`); empty keeps the exact form where it reproduces the
        records. `salt` is the water of sea salt.
    trunk_gives, trunk_density, trunk_bypass
        Forms of the particles that the trunk gives, whether it reads the modes' densities, and
        whether it has a linear bypass.
    activation
        Of the hidden layers.
    stages, strides
        Of the step where the records are of an M7 in many sub-steps (`pyemu.blocks.stages`).
    forms_steps, forms_batch, forms_rate
        First stage, on the exact forms: batches, cells of each, and learning rate at the start,
        which falls to 0 as a cosine.
    refine_steps, refine_batch
        Then, for the networks of the air: Levenberg-Marquardt steps, and residuals (cells times
        targets) of each.
    step_steps, step_batch, step_rate
        Second stage, end to end on the tendencies of the step.
    foreign_steps, foreign_rate
        Second stage where a learned block's exact form does not reproduce the records.
    asinh
        Weight of the asinh-scaled tendencies in its loss [1].
    weight_decay, ema
        Of AdamW; memory of the averaged weights, which are the ones judged and kept.
    buffer, calibration, validation
        Cells in memory, for the scaling of features, and for choosing.
    curve_every, checkpoint_every
        Steps between judgements, and between checkpoints.
    seed
        Of weights and batches.
    """

    coagulation: tuple[int | str, ...] = ()
    condensation: tuple[int | str, ...] = ()
    ageing: tuple[int | str, ...] = ()
    water: tuple[int | str, ...] = ()
    salt: tuple[int | str, ...] = ()
    nucleation: tuple[int | str, ...] = ()
    trunk: tuple[int | str, ...] = ()
    trunk_gives: tuple[str, ...] = OF_PARTICLES
    trunk_density: bool = True
    trunk_bypass: bool = True
    activation: str = "silu"
    stages: int = 1
    strides: int = 12
    forms_steps: int = 6000
    forms_batch: int = 4096
    forms_rate: float = 4e-3
    refine_steps: int = 0
    refine_batch: int = 16384
    step_steps: int = 400
    step_batch: int = 1024
    step_rate: float = 1e-4
    foreign_steps: int = 4000
    foreign_rate: float = 2e-3
    asinh: float = 0.01
    weight_decay: float = 1e-5
    ema: float = 0.998
    buffer: int = 262_144
    calibration: int = 65_536
    validation: int = 16_384
    curve_every: int = 100
    checkpoint_every: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(setting.default, float) and isinstance(value, int):
                object.__setattr__(self, setting.name, float(value))
            elif isinstance(setting.default, tuple):
                object.__setattr__(self, setting.name, tuple(value))
            elif type(value) is not type(setting.default):
                kind = type(setting.default).__name__
                raise ValueError(f"{setting.name} = {value!r}; allowed is a value of type {kind}")
        for name in NETWORKS:
            if any(isinstance(w, int) and w < 1 for w in getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)}; widths are [1, inf)")
        least = dict.fromkeys(("forms_steps", "forms_batch", "step_batch", "buffer"), 1)
        least |= dict.fromkeys(("calibration", "validation", "curve_every"), 1)
        least |= {
            "foreign_steps": 1,
            "checkpoint_every": 1,
            "stages": 1,
            "strides": 1,
            "step_steps": 0,
            "refine_steps": 0,
            "refine_batch": 1,
            "seed": 0,
            "asinh": 0,
            "weight_decay": 0,
        }
        for name, low in least.items():
            if not low <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)}; allowed is [{low}, inf)")
        for name in ("forms_rate", "step_rate", "foreign_rate"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} = {getattr(self, name)}; allowed is (0, 1)")
        if not 0.0 <= self.ema < 1.0:
            raise ValueError(f"ema = {self.ema}; allowed is [0, 1)")
        if not self.trunk_gives or not set(self.trunk_gives) <= set(OF_PARTICLES):
            allowed = ", ".join(OF_PARTICLES)
            raise ValueError(f"trunk_gives = {self.trunk_gives}; allowed are some of {allowed}")
        for name in NETWORKS:  # refuses unknown ones
            Network.hidden(("x",), ("y",), getattr(self, name) or (1,), self.activation)
        twice = [name for name in self.trunk_gives if self.trunk and getattr(self, name)]
        if twice:
            raise ValueError(f"{twice[0]} has a network of its own and is in the trunk")

    @classmethod
    def read(cls, path: Path | None, **changes: Any) -> Self:
        """Read a TOML file; `changes` that are not None go before it."""
        given = read_settings(path, cls)
        return cls(**given | {name: v for name, v in changes.items() if v is not None})

    @property
    def learned(self) -> tuple[str, ...]:
        """Networks that there are."""
        return tuple(name for name in NETWORKS if getattr(self, name))

    @property
    def total(self) -> int:
        """Steps of all stages; none where there is nothing to learn."""
        steps = self.forms_steps + self.refine_steps + self.step_steps
        return steps if self.learned else 0

    def learning(self, blocks: Iterable[str], *, foreign: Iterable[str] = ()) -> Self:
        """Let networks learn `blocks`, too, with the usual widths where none are given.

        A `foreign` block is one whose exact form is not that of the records, so that only the
        second stage sees the right one: it is then `foreign_steps` and `foreign_rate`.

        Raises
        ------
        ValueError
            A block that has no learned form.
        """
        foreign = tuple(foreign)
        changes: dict[str, Any] = {}
        for name in (*blocks, *foreign):
            if name not in FORMS:
                allowed = ", ".join(FORMS)
                raise ValueError(f"block {name!r} has no learned form; allowed is {allowed}")
            if not getattr(self, name):
                changes[name] = _WIDTHS
        if foreign:
            changes |= {"step_steps": self.foreign_steps, "step_rate": self.foreign_rate}
        return replace(self, **changes)

    @property
    def forms(self) -> dict[str, Form]:
        """What each network reads and gives."""
        trunk = trunk_of(self.trunk_gives, density=self.trunk_density)
        return {name: trunk if name == "trunk" else NETWORKS[name] for name in self.learned}

    def networks(self) -> dict[str, Network]:
        """Make the networks, weights drawn from the seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return {
                name: Network.hidden(
                    *form,
                    getattr(self, name),
                    self.activation,
                    self.trunk_bypass if name == "trunk" else True,
                )
                for name, form in self.forms.items()
            }
