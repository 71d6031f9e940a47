"""Coagulation of a cell over a timestep: who loses particles to whom, and the mass they take along.

Sections 12 and 13 of the physics contract.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.coagulation import Kernels
from pyemu.blocks.modes import CARRIED, COATED, INSOLUBLE_NAMES, Columns
from pyemu.blocks.number import coagulate_new_number, coagulate_number, hidden_collisions
from pyemu.blocks.numerics import least, ratio
from pyemu.blocks.settings import Settings
from pyemu.variables import SPLIT, names


def _after(process: str) -> Iterator[tuple[str, ...]]:
    """Split the names of a process's output into what follows the process."""
    for name in names(SPLIT):
        if name.startswith(f"{process}_"):
            yield tuple(name.removeprefix(f"{process}_").split("_"))


ROUTES = tuple(_after("collided"))
"""Who loses particles, to whom."""
MOVES = tuple(_after("coagulated"))
"""Species, donor and receiver of the mass that goes with them."""
_ORDER = ("ki", "ns", "ks", "as")
assert {(mode,) for mode in _ORDER} == set(_after("self_collided"))


class Collided(NamedTuple):
    """Outcome of the number equations, by mode, (n,) each."""

    number: Columns
    """Of all modes, after [cm-3]"""
    stay: Columns
    """Share of a donor's mass that stays [1]"""
    acts: Columns
    """Whether a donor has enough particles to lose any"""


def collide(
    settings: Settings,
    timestep: Tensor,
    kernels: Kernels,
    coat: Columns,
    sulfate: Tensor,
    start: Columns,
    new: Tensor,
    moved: Columns,
) -> Collided:
    """Solve the number equations: KI first, then NS, KS and AS; rates by the numbers of the start.

    Parameters
    ----------
    coat
        H2SO4 molecules that coat a mean particle, by insoluble mode [1]
    sulfate
        Of NS, nucleated included [molecules cm-3]
    start, new
        Number by mode, and how many of NS have nucleated [cm-3]
    moved
        Gets `collided_*` and `self_collided_*`
    """
    number, stay = dict(start), {}
    acts = {mode: start[mode] > settings.equation_number_min for mode in _ORDER}
    for mode in _ORDER:
        a = 0.5 * kernels.between(mode, mode)
        rates = {to: kernels.between(mode, to) * start[to] for d, to in ROUTES if d == mode}
        b = sum(rates.values(), start=torch.zeros_like(a))
        share = {to: ratio(rate, b, b > least(b)) for to, rate in rates.items()}
        extra, weight = torch.zeros_like(a), {}
        if mode == "ns":
            fate = coagulate_new_number(settings, timestep, start[mode] - new, new, a, b)
            insoluble = sum((number[k] for k in coat), start=torch.zeros_like(a))
            there = insoluble > least(insoluble)
            weight = {k: ratio(number[k], insoluble, there) for k in coat}
            mean_coat = sum((coat[k] * weight[k] for k in coat), start=torch.zeros_like(a))
            soluble = start["ns"] + start["ks"]
            each = ratio(sulfate, start[mode], acts[mode])
            extra = hidden_collisions(
                settings, timestep, a, soluble, insoluble, mean_coat, each, fate
            )
        else:
            fate = coagulate_number(settings, timestep, start[mode], a, b)
        number[mode] = fate.left
        for to in rates:
            hidden = extra * weight[to] if to in weight else 0.0
            moved[f"collided_{mode}_{to}"] = fate.inter * share[to] + hidden
        moved[f"self_collided_{mode}"] = fate.intra - extra
        stays = fate.left + moved[f"self_collided_{mode}"]
        stay[mode] = ratio(stays, start[mode], acts[mode], otherwise=1.0)
    return Collided(number, stay, acts)


def transfer(start: Columns, collided: Collided, mass: Columns, moved: Columns) -> Columns:
    """Move the mass of particles lost to other modes: give all masses after it, (n,) each.

    What an insoluble particle collects goes to the soluble mode of its size (section 13). Sea salt
    and dust stay: AS and CS lose no particles to others.

    Parameters
    ----------
    start
        Number by mode before coagulation [cm-3]
    mass
        By name [molecules cm-3, ug m-3]
    moved
        Holds `collided_*`, gets `coagulated_*`
    """
    after = dict(mass)
    for mode in {donor for donor, _ in ROUTES}:
        for species in CARRIED[mode]:
            after[f"{species}_{mode}"] = mass[f"{species}_{mode}"] * collided.stay[mode]
    for species, donor, receiver in MOVES:
        lost = [to for d, to in ROUTES if d == donor and COATED.get(to, to) == receiver]
        taken = sum(
            (moved[f"collided_{donor}_{to}"] for to in lost),
            start=torch.zeros_like(start[donor]),
        )
        amount = mass[f"{species}_{donor}"] * ratio(taken, start[donor], collided.acts[donor])
        moved[f"coagulated_{species}_{donor}_{receiver}"] = amount
        after[f"{species}_{receiver}"] = after[f"{species}_{receiver}"] + amount
    return after


def collected_sulfate(start: Columns, collided: Collided, mass: Columns, moved: Columns) -> Columns:
    """Sulfate that coats each insoluble mode [molecules cm-3]: condensed, and of what it collected.

    Arguments as of `transfer`; `moved` holds `condensed_*`, too.
    """
    coating = {mode: moved[f"condensed_{mode}"] for mode in INSOLUBLE_NAMES}
    for donor, to in ROUTES:
        if to in coating:
            each = ratio(mass[f"so4_{donor}"], start[donor], collided.acts[donor])
            coating[to] = coating[to] + moved[f"collided_{donor}_{to}"] * each
    return coating
