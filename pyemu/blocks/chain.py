"""One M7 step of many cells: the blocks in M7's order (section 6 of the physics contract)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from pyemu.blocks import coagulation, stages, water
from pyemu.blocks.ageing import age, coating
from pyemu.blocks.condensation import condensation_sink, condense
from pyemu.blocks.learned import (
    OF_PARTICLES,
    PARTICLE_FEATURES,
    WETTING,
    evaluate,
    particle_features,
    rates,
    serves,
)
from pyemu.blocks.merging import merge
from pyemu.blocks.modes import COATED, MODE_NAMES, SOLUBLE_NAMES, Columns, by_name, span
from pyemu.blocks.network import Network
from pyemu.blocks.nucleation import nucleate
from pyemu.blocks.numerics import columns, row
from pyemu.blocks.properties import Particles, dry_particles, median_radius, particles
from pyemu.blocks.selferror import HEAD, error_bound, error_features
from pyemu.blocks.settings import Settings
from pyemu.blocks.transfer import collected_sulfate, collide, transfer
from pyemu.variables import (
    DIAGNOSTICS,
    ENVIRONMENT,
    GAS,
    MASSES,
    NUMBERS,
    PROGNOSTICS,
    SPLIT,
    index,
    names,
)

BLOCKS = (
    "properties",
    "water",
    "condensation",
    "nucleation",
    "coagulation",
    "number",
    "transfer",
    "ageing",
    "merging",
)
"""The chain, always in this order."""
FINE, EXTRAPOLATING, OUTSIDE, INVALID = range(4)
"""What `Output.flag` means: emulator.md section 6."""
_ROUND_OFF = 1e-6
"""How far relative humidity may lie outside its range before it is refused instead of clipped."""
_ANY_AIR = {"pressure": 1e5, "temperature": 280.0, "relative_humidity": 0.5}
"""Stands in for air that is refused, so that all stays finite."""


class Output(NamedTuple):
    """What a step gives."""

    prognostic: Tensor
    """Gas, masses, numbers after the step, in the order and units of the table (n, 26)"""
    diagnostic: Tensor
    """Radii, densities, water after the step (n, 22)"""
    flag: Tensor
    """int32 (n,): FINE; EXTRAPOLATING, used nevertheless; OUTSIDE, better given to M7; INVALID
    input, left unchanged with diagnostics 0"""
    negatives: Tensor
    """How many negative inputs were taken as 0 and added again afterwards (n,) int32"""
    split: Columns
    """What each process moved, `pyemu.variables.SPLIT`, (n,) each"""
    uncertainty: Tensor
    """What the head expects of the step's error, `pyemu.blocks.selferror`; without one 0 (n,) [1];
    INVALID cells have 1"""


class Chain(torch.nn.Module):
    """The step, each block in its exact form unless one of `networks` gives its targets.

    Which forms a network serves its targets tell (`pyemu.blocks.learned`): its own, or several of
    the particles together. Its name is free.

    With an `integration` of so many stages and strides in each the blocks act together in short
    steps (`pyemu.blocks.stages`); without it each acts once, in turn, as in M7.

    A `head` (`pyemu.blocks.selferror`) tells how wrong it may be; the step does not depend on it.

    Raises
    ------
    ValueError
        Settings that the blocks do not know yet, a network of other features or targets, two for
        one form.
    """

    def __init__(
        self,
        settings: Settings,
        networks: Mapping[str, Network] | None = None,
        integration: tuple[int, int] = (0, 0),
        head: Network | None = None,
    ) -> None:
        super().__init__()
        parts, strides = integration
        if min(parts, strides) < 0 or (parts > 0) != (strides > 0):
            raise ValueError(f"{parts} stages of {strides} strides; allowed is [1, inf), or none")
        if settings.nucleation == "kazil_lovejoy2007":
            raise ValueError(
                "nucleation = 'kazil_lovejoy2007' has no form in the chain of blocks yet"
            )
        self.served: dict[str, str] = {}  # form -> network
        for name, network in (networks or {}).items():
            try:
                forms = serves(network)
            except ValueError as error:
                raise ValueError(f"network {name!r}: {error}") from None
            for form in forms:
                if form in self.served:
                    raise ValueError(f"networks {self.served[form]!r} and {name!r}, both {form}")
                self.served[form] = name
        if settings.by_kappa and any(form in self.served for form in WETTING):
            raise ValueError("networks of water and salt are of ZSR water, not of kappa water")
        if parts and "nucleation" in self.served:
            raise ValueError("a step in stages nucleates exactly; there is no network for it")
        self.settings = settings
        self.stages: int = parts
        self.strides: int = strides
        self.networks = torch.nn.ModuleDict(dict(networks or {}))
        if head and not (head.targets == HEAD.targets and set(head.features) <= set(HEAD.features)):
            raise ValueError(f"a head of {head.features}, {head.targets}; known is {HEAD}")
        self.head = head

    def describe(self) -> list[dict[str, str]]:
        """Give block and form, in order, as the model file's JSON holds them."""
        told = []
        for name in BLOCKS:
            link = {"block": name, "form": "exact"}
            if name in self.served:
                link |= {"form": "network", "network": self.served[name]}
            if name == "water" and "salt" in self.served:
                link |= {"form": "network", "salt": self.served["salt"]}
            told.append(link)
        return told

    @classmethod
    def from_description(
        cls,
        settings: Settings,
        chain: Sequence[Mapping[str, Any]],
        networks: Mapping[str, Network],
        integration: tuple[int, int] = (0, 0),
        head: Network | None = None,
    ) -> Self:
        """Build from what `describe` gave; ValueError for another order or an unknown form."""
        if tuple(link.get("block") for link in chain) != BLOCKS:
            raise ValueError(f"the chain of blocks is not {', '.join(BLOCKS)}")
        wanted = {}
        for link in chain:
            block, form = link["block"], link.get("form")
            if form == "network":
                told = {link[key]: key for key in ("network", "salt") if key in link}
                for name, key in (told or {None: "network"}).items():
                    if name not in networks:
                        raise ValueError(
                            f"block '{block}' needs network '{name}', which is missing"
                        )
                    wanted["salt" if key == "salt" else block] = name
            elif form != "exact":
                raise ValueError(f"form = {form!r} of block '{block}'; allowed: exact, network")
        chosen = {name: networks[name] for name in dict.fromkeys(wanted.values())}
        made = cls(settings, chosen, integration, head)
        if made.served != wanted:
            raise ValueError("a network gives other targets than those of its block")
        return made

    def forward(self, environment: Tensor, prognostic: Tensor, timestep: Tensor | float) -> Output:
        """Advance cells by one step.

        Negative gas, masses and numbers count as 0 and are added again after the step, so that the
        host's budget stays as it was.

        Parameters
        ----------
        environment, prognostic
            (n, 8), (n, 26), of one precision, in the order and units of `pyemu.variables`. Masses
            and numbers are moved in this precision, whatever that of the networks.
        timestep
            Scalar or (n,) [s]
        """
        dt = torch.as_tensor(timestep, dtype=prognostic.dtype, device=prognostic.device)
        dt = dt.expand(len(prognostic))
        valid = _valid(environment, prognostic, dt)
        fit = valid[:, None]
        safe = row((_ANY_AIR.get(name, 0.0) for name in names(ENVIRONMENT)), prognostic)
        # Cells contiguous, as all blocks keep them.
        given = torch.where(fit, prognostic, 0.0).T.contiguous().T
        air = by_name(torch.where(fit, environment, safe), names(ENVIRONMENT))
        for share in ("relative_humidity", "cloud_fraction", "forest_fraction"):
            air[share] = air[share].clamp(0.0, 1.0)
        if self.settings.production_in_gas:
            air["h2so4_production"] = torch.zeros_like(air["h2so4_production"])
        after, diagnostic, flag, split, bound = self._advance(
            air, given.clamp(min=0.0), torch.where(valid, dt, 1.0)
        )
        after = after + given.clamp(max=0.0)
        return Output(
            prognostic=torch.where(fit, after, prognostic),
            diagnostic=torch.where(fit, diagnostic, 0.0),
            flag=torch.where(valid, flag, INVALID),
            negatives=(given < 0.0).sum(dim=1, dtype=torch.int32),
            split={name: torch.where(valid, split[name], 0.0) for name in names(SPLIT)},
            uncertainty=torch.where(valid, bound, 1.0),
        )

    def _advance(
        self, air: Columns, state: Tensor, dt: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Columns, Tensor]:
        """Prognostics (n, 26), diagnostics (n, 22), flag, split, uncertainty of valid cells."""
        if self.stages:
            return self._advance_in_stages(air, state, dt)
        s = self.settings
        pressure, temperature = air["pressure"], air["temperature"]
        humidity, cloud = air["relative_humidity"], air["cloud_fraction"]
        gas, mass, number = state[:, _GAS], state[:, _MASS], state[:, _NUMBER]
        # The gas must cover what other processes take out of it.
        production = torch.maximum(air["h2so4_production"], -gas / dt)
        if s.older or not s.condensation:
            gas = (gas + production * dt).clamp(min=0.0)
            production = torch.zeros_like(gas)

        wetness = {form: self._serving(form) for form in self.served if form in WETTING}
        wetting = water.uptake(s, pressure, temperature, humidity, wetness)
        before = particles(s, wetting, mass, number, torch.zeros_like(gas))
        bound = self._bound(air, gas + production * dt, number, before, dt)
        learned, guard = self._learned(pressure, temperature, before)
        kernels = self._kernels(pressure, temperature, before, number, learned)
        sink = torch.zeros_like(number)
        condensed = torch.zeros_like(number)
        if s.condensation:
            sink = condensation_sink(
                s, pressure, temperature, before.wet_radius, number, learned.get("condensation")
            )
            gas, condensed = condense(s, dt, cloud, production, gas, sink)
        gas, new_so4, new, other = nucleate(
            s,
            dt,
            temperature,
            humidity,
            cloud,
            air["forest_fraction"],
            air["boundary_layer"],
            sink.sum(dim=1),
            gas,
            self._serving("nucleation") if "nucleation" in self.served else None,
        )
        moved = {f"condensed_{mode}": x for mode, x in by_name(condensed, MODE_NAMES).items()}
        moved |= {"nucleated_so4": new_so4, "nucleated_num": new}
        numbers, masses = by_name(number, MODE_NAMES), by_name(mass, names(MASSES))
        numbers["ns"] = numbers["ns"] + new
        masses["so4_ns"] = masses["so4_ns"] + new_so4
        for mode in SOLUBLE_NAMES:
            masses[f"so4_{mode}"] = masses[f"so4_{mode}"] + moved[f"condensed_{mode}"]

        coat = coating(s, before.wet_radius, learned.get("ageing"))
        collided = collide(s, dt, kernels, coat, masses["so4_ns"], numbers, new, moved)
        sulfate = collected_sulfate(numbers, collided, masses, moved)
        left = transfer(numbers, collided, masses, moved)
        masses, numbers = age(s, coat, sulfate, numbers, masses, left, collided.number, moved)
        for mode, to in COATED.items():
            masses[f"so4_{to}"] = masses[f"so4_{to}"] + moved[f"condensed_{mode}"]
        virtual = before.virtual
        if s.condensation or s.coagulation:
            mass, number = _matrices(masses, numbers)
            dry = dry_particles(s, mass, number, virtual)
            virtual = dry.virtual
            radius = by_name(median_radius(s, dry.volume, SOLUBLE_NAMES), SOLUBLE_NAMES)
            masses, numbers = merge(s, radius, masses, numbers, moved)
        else:
            moved |= {name: torch.zeros_like(gas) for name in names(SPLIT) if name not in moved}

        mass, number = _matrices(masses, numbers)
        after = particles(s, wetting, mass, number, virtual)
        water_uptake = by_name(after.water - before.water, SOLUBLE_NAMES)
        moved |= {f"water_uptake_{mode}": x for mode, x in water_uptake.items()}
        flag = torch.stack((wetting.flag, guard, other)).amax(dim=0)
        prognostic = torch.cat((gas[None, :], mass.T, number.T)).T
        return prognostic, _diagnostic(after), flag, moved, bound

    def _advance_in_stages(
        self, air: Columns, state: Tensor, dt: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Columns, Tensor]:
        """As `_advance`; what each process moved is not known, and 0."""
        s = self.settings
        gas, mass, number = state[:, _GAS], state[:, _MASS], state[:, _NUMBER]
        air = air | {"h2so4_production": torch.maximum(air["h2so4_production"], -gas / dt)}
        pressure, temperature = air["pressure"], air["temperature"]
        humidity = air["relative_humidity"]
        wetness = {form: self._serving(form) for form in self.served if form in WETTING}
        wetting = water.uptake(s, pressure, temperature, humidity, wetness)
        dry = dry_particles(s, mass, number, torch.zeros_like(gas))
        virtual = dry.virtual
        radius = by_name(median_radius(s, dry.volume, SOLUBLE_NAMES), SOLUBLE_NAMES)
        masses, numbers = by_name(mass, names(MASSES)), by_name(number, MODE_NAMES)
        merged = merge(s, radius, masses, numbers, {}, stages.MERGING_SLACK)
        mass, number = _matrices(*merged)
        flags, bound = [wetting.flag], torch.zeros_like(gas)
        for place in range(self.stages):
            found = particles(s, wetting, mass, number, virtual)
            virtual = found.virtual
            if not place:
                available = gas + air["h2so4_production"] * dt
                bound = self._bound(air, available, number, found, dt)
            # NS may come to be within the stage.
            there = torch.cat((number[:, :1].clamp(min=1.0), number[:, 1:]), dim=1)
            learned, guard = self._learned(pressure, temperature, found)
            kernels = self._kernels(pressure, temperature, found, there, learned)
            span, now = dt / self.stages, (gas, mass, number)
            gas, mass, number = stages.stage(
                s, dt, span, self.strides, air, *now, found, kernels, learned
            )
            flags.append(guard)
        after = particles(s, wetting, mass, number, virtual)
        flag = torch.stack(flags).amax(dim=0)
        prognostic = torch.cat((gas[None, :], mass.T, number.T)).T
        return prognostic, _diagnostic(after), flag, dict.fromkeys(names(SPLIT), 0.0 * gas), bound

    def _bound(
        self, air: Columns, available: Tensor, number: Tensor, found: Particles, dt: Tensor
    ) -> Tensor:
        """Ask the head about the state before the step; 0 without one (n,)."""
        if self.head is None:
            return torch.zeros_like(available)
        given = error_features(air, available, number, found.wet_radius, dt)
        return error_bound(self.head, *given)

    def _kernels(
        self,
        pressure: Tensor,
        temperature: Tensor,
        found: Particles,
        number: Tensor,
        learned: Mapping[str, Tensor],
    ) -> coagulation.Kernels:
        if not self.settings.coagulation:
            return coagulation.no_kernels(pressure)
        sizes = found.wet_radius, found.density, number
        return coagulation.kernels(
            self.settings, pressure, temperature, *sizes, learned.get("coagulation")
        )

    def _learned(
        self, pressure: Tensor, temperature: Tensor, found: Particles
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Logarithms that networks of the particles give, by form (n, ...), and the flag (n,)."""
        flag = torch.zeros_like(pressure, dtype=torch.int32)
        used = [form for form in OF_PARTICLES if form in self.served]
        if not self.settings.coagulation:
            used = [form for form in used if form != "coagulation"]
        if not self.settings.condensation:
            used = [form for form in used if form != "condensation"]
        if not used:
            return {}, flag
        state = (pressure, temperature, found.wet_radius, found.density)
        features, there = particle_features(*state)
        targets: dict[str, Tensor] = {}
        for name in dict.fromkeys(self.served[form] for form in used):
            network = self.networks[name]
            assert isinstance(network, Network)
            more, other = evaluate(network, PARTICLE_FEATURES, features, there)
            targets |= more
            flag = torch.maximum(flag, other)
        return {form: rates(targets, form) for form in used}, flag

    def _serving(self, form: str) -> Network:
        network = self.networks[self.served[form]]
        assert isinstance(network, Network)
        return network


def _valid(environment: Tensor, prognostic: Tensor, dt: Tensor) -> Tensor:
    """Whether all of a cell's input is finite and its air is possible (n,)."""
    valid = environment.isfinite().all(dim=1) & prognostic.isfinite().all(dim=1)
    air = by_name(environment, names(ENVIRONMENT))
    humidity = air["relative_humidity"]
    valid = valid & (humidity >= -_ROUND_OFF) & (humidity <= 1.0 + _ROUND_OFF)
    valid = valid & (air["pressure"] > 0.0) & (air["temperature"] > 0.0)
    return valid & dt.isfinite() & (dt > 0.0)


def _matrices(masses: Columns, numbers: Columns) -> tuple[Tensor, Tensor]:
    """Masses (n, 18) and numbers (n, 7)."""
    mass = columns(masses[name] for name in names(MASSES))
    return mass, columns(numbers[mode] for mode in MODE_NAMES)


def _diagnostic(found: Particles) -> Tensor:
    """Join the diagnostics in the order of the table (n, 22)."""
    named: Columns = {}
    for kind, values, modes in (
        ("wet_radius", found.wet_radius, MODE_NAMES),
        ("dry_radius", found.dry_radius, SOLUBLE_NAMES),
        ("density", found.density, MODE_NAMES),
        ("water", found.water, SOLUBLE_NAMES),
    ):
        named |= by_name(values, [f"{kind}_{mode}" for mode in modes])
    return columns(named[name] for name in names(DIAGNOSTICS))


_GAS = index("h2so4", PROGNOSTICS)
_MASS, _NUMBER = span(names(MASSES), PROGNOSTICS), span(names(NUMBERS), PROGNOSTICS)
assert PROGNOSTICS == GAS + MASSES + NUMBERS
