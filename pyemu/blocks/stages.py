"""The step in a few stages of many strides: what ever shorter steps of M7 tend to.

M7 lets one process act after another over the whole timestep, which is far from its own limit of
short steps. Here sizes, sinks and kernels are found once a stage; in each of its strides all
processes act, and the size of NS alone is followed. Strides know modes, not species: whole
particles move, so that one share of a mode serves all that it carries. What a stage finds, shares,
is applied to masses and numbers once, conservatively. `bridge/engine/stages.h` says the same.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from pyemu.blocks.ageing import COATING_MIN, coating
from pyemu.blocks.bursts import BURST_SHARE, FINEST, Sky, condense, loss_rate, until_burst
from pyemu.blocks.coagulation import Kernels
from pyemu.blocks.condensation import CLOUD_ORDER, condensation_sink
from pyemu.blocks.merging import edges
from pyemu.blocks.modes import (
    ABOVE,
    CARRIED,
    COATED,
    INSOLUBLE_NAMES,
    LN_SIGMA,
    MEAN_TO_MEDIAN,
    MODE_NAMES,
    SOLUBLE_NAMES,
    Columns,
    by_name,
)
from pyemu.blocks.nucleation import LEAST_CLUSTER, RATES, critical, formation, unlimited
from pyemu.blocks.numerics import EPSILON, columns, decay, least, ratio
from pyemu.blocks.properties import Particles, dry_volumes
from pyemu.blocks.settings import Settings
from pyemu.blocks.transfer import ROUTES
from pyemu.variables import MASSES, names

SHORT_STEPS = 240.0
"""As many steps stand for the converged M7. What it does in each step, whatever its length, has no
limit for shorter ones: the cloudy part of a cell's gas goes to cloud droplets, a mode that has
outgrown its middle falls back [1]."""
MERGING_SLACK = 1e-5
"""M7's own merging may leave the mean particle at the middle, but for rounding: not to merge again
before it has grown [1]."""
_HIDDEN = 0.95
_GROWN = 1.03
"""How far the sinks of KS and AS follow volume, and how far number, is that between a particle and
one of a radius larger by this; NS is followed closer [1]."""
MOST_STRIDES = 3
"""Strides that a cell takes at most, over the usual number [1]."""
_SOLUBLE_DONORS = ("ns", "ks", "as")
Rows = dict[str, Columns]
"""Mode that something was in, or "gas" -> mode where it is now -> share or amount (n,)."""


class Rates(NamedTuple):
    """What does not change within a stage, (n,) each."""

    sink: Columns
    """Of a particle [cm3 s-1]"""
    grown_sink: Columns
    """And what of it goes with the volume of KS and AS [cm3 cm-3 s-1]"""
    kernels: Kernels
    coat: Columns
    """Molecules that coat an insoluble particle [1]"""
    molecules: Tensor
    """Of the NS particle that the rates hold for [1]"""
    sulfate_min: Columns
    """That a mode must gain to have a size and to merge; below 0 where it has one
    [molecules cm-3]"""
    settled: Columns
    """Mean volume that merging leaves behind [cm3]"""
    so4: Columns
    """At the start, of NS and KS [molecules cm-3]"""
    volume: Columns
    """Of insoluble modes, at the start [cm3 cm-3]"""
    molecule: float
    """Volume of an H2SO4 molecule [cm3]"""


class Course(NamedTuple):
    """The state of the strides; its dictionaries are changed in place."""

    number: Columns
    rows: Rows
    """Shares of what was in each mode, and where the gas went [molecules cm-3]"""
    volume: Columns
    """Dry, of the soluble modes [cm3 cm-3]"""

    def copy(self) -> "Course":
        """Copy the dictionaries, whose values are not changed in place."""
        rows = {mode: dict(row) for mode, row in self.rows.items()}
        return Course(dict(self.number), rows, dict(self.volume))

    def keep(self, goes: Tensor, before: "Course") -> None:
        """Undo what was done to cells that had not to go (n,)."""
        pairs = [(self.number, before.number), (self.volume, before.volume)]
        for now, then in (*pairs, *((self.rows[mode], before.rows[mode]) for mode in self.rows)):
            for key, value in now.items():
                now[key] = torch.where(goes, value, then.get(key, torch.zeros_like(value)))


class Clock(NamedTuple):
    """Where the strides have got to, (n,) each."""

    gas: Tensor
    """[molecules cm-3]"""
    molecules: Tensor
    """Per NS particle, a stride ago [1]"""
    done: Tensor
    """Usual strides made [1]"""
    fraction: Tensor
    """The last one, of a usual one [1]"""
    bursts: Tensor
    """1 if nucleation begins or took much of the gas in the last one [1]"""


def stage(
    settings: Settings,
    timestep: Tensor,
    span: Tensor,
    strides: int,
    air: Columns,
    gas: Tensor,
    mass: Tensor,
    number: Tensor,
    found: Particles,
    kernels: Kernels,
    learned: Mapping[str, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Advance gas (n,), masses (n, 18) and numbers (n, 7) by `span` [s] of the `timestep`.

    Parameters
    ----------
    air
        The environment by name; its production covers what other processes take out.
    found, kernels
        Sizes at the start, and kernels as if there were NS particles everywhere.
    learned
        Logarithms of sinks and coatings that networks give, by block.
    """
    rates, course = _start(settings, air, mass, number, found, kernels, learned)
    clear = torch.ones_like(gas) if settings.older else 1.0 - air["cloud_fraction"]
    cloud_rate = -torch.log(clear.clamp(min=1e-30)) * SHORT_STEPS / timestep
    sky = Sky(air, clear, cloud_rate, (span / strides).expand_as(gas), strides)
    clock = Clock(gas, rates.molecules, torch.zeros_like(gas), *[torch.ones_like(gas)] * 2)
    for budget in range(MOST_STRIDES * strides, 0, -1):
        goes = clock.done < strides
        if not bool(goes.any()):
            break
        before = course.copy()
        after = _stride(settings, timestep, budget, rates, sky, clock, course)
        course.keep(goes, before)
        clock = Clock(*(torch.where(goes, x, y) for x, y in zip(after, clock, strict=True)))
    return _apply(gas + air["h2so4_production"] * span, clock.gas, mass, course)


def _start(
    settings: Settings,
    air: Columns,
    mass: Tensor,
    number: Tensor,
    found: Particles,
    kernels: Kernels,
    learned: Mapping[str, Tensor],
) -> tuple[Rates, Course]:
    numbers, masses = by_name(number, MODE_NAMES), by_name(mass, names(MASSES))
    volume = by_name(dry_volumes(settings, mass), MODE_NAMES)
    each = torch.ones_like(number) if settings.condensation else torch.zeros_like(number)
    found_sink = condensation_sink(
        settings,
        air["pressure"],
        air["temperature"],
        found.wet_radius,
        each,
        learned.get("condensation"),
    )
    sink, grown_sink = by_name(found_sink, MODE_NAMES), {}
    # By Fuchs' formula, if the sinks are learned, too.
    small, large = (
        by_name(
            condensation_sink(settings, air["pressure"], air["temperature"], radius, each),
            MODE_NAMES,
        )
        for radius in (found.wet_radius, _GROWN * found.wet_radius)
    )
    for mode in ("ks", "as"):
        there = (numbers[mode] > 0.0) & (volume[mode] > least(volume[mode]))
        more = ratio(large[mode], small[mode], small[mode] > 0.0, otherwise=1.0) - 1.0
        share = torch.where(there, more.clamp(min=0.0) / (_GROWN**3 - 1.0) * sink[mode], 0.0)
        grown_sink[mode] = share * ratio(numbers[mode], volume[mode], there)
        sink[mode] = sink[mode] - share
    one, none = torch.ones_like(number[:, 0]), torch.zeros_like(number[:, 0])
    rows: Rows = {"gas": dict.fromkeys(SOLUBLE_NAMES, none)}
    for mode in (*_SOLUBLE_DONORS, *INSOLUBLE_NAMES):
        reached = _reached(mode)
        rows[mode] = dict.fromkeys(reached, none) | {mode: one}
    sulfate_min, settled = _settled(settings, found, numbers, volume)
    return (
        Rates(
            sink=sink,
            grown_sink=grown_sink,
            kernels=kernels,
            coat=coating(settings, found.wet_radius, learned.get("ageing")),
            molecules=found.virtual,
            sulfate_min=sulfate_min,
            settled=settled,
            so4={mode: masses[f"so4_{mode}"] for mode in ("ns", "ks")},
            volume={mode: volume[mode] for mode in INSOLUBLE_NAMES},
            molecule=settings.dry_volumes["so4"],
        ),
        Course(numbers, rows, {mode: volume[mode] for mode in SOLUBLE_NAMES}),
    )


def _reached(mode: str) -> tuple[str, ...]:
    """Where what was in a mode may get: its own, and the soluble modes from its size on."""
    first = SOLUBLE_NAMES.index(COATED.get(mode, mode))
    return (mode, *(m for m in SOLUBLE_NAMES[first:] if m != mode))


def _settled(
    settings: Settings, found: Particles, number: Columns, volume: Columns
) -> tuple[Columns, Columns]:
    """Sulfate that a mode must gain to merge, and the mean volume that is left then [cm3].

    In short steps merging is a slide: as soon as the mean particle outgrows that of the mode's
    middle radius, particles of the upper edge's volume leave, until the mean is back at `settled`.
    """
    dry = by_name(found.dry_radius, SOLUBLE_NAMES)
    sulfate_min, settled = {}, {}
    for mode in ABOVE:
        middle, edge, upper = edges(settings, mode)
        some = number[mode] > settings.number_min
        sized = some & (dry[mode] > max(settings.merging_radius_min, least(dry[mode])))
        sized = sized & (volume[mode] > 0.0)
        sulfate_min[mode] = torch.where(some & ~sized, settings.mass_min, -1.0)
        settled[mode] = torch.full_like(number[mode], middle)
        if settings.older:
            continue
        # The dry radius when the mean is at the middle; the part of the mode above the upper edge.
        usual = MEAN_TO_MEDIAN[mode] * (0.75 / settings.pi * middle) ** (1.0 / 3.0)
        grown = ratio(middle * number[mode], volume[mode], sized, otherwise=1.0)
        radius = torch.where(sized, dry[mode] * grown.pow(1.0 / 3.0), usual)
        t = torch.log(upper / radius.clamp(min=1e-12)).clamp(min=0.0) / LN_SIGMA[mode]
        above = 0.5 * torch.erfc(math.sqrt(0.5) * t)
        settled[mode] = middle * (1.0 - above) / (1.0 - above * (middle / edge))
    return sulfate_min, settled


def _stride(
    settings: Settings,
    timestep: Tensor,
    budget: int,
    rates: Rates,
    sky: Sky,
    clock: Clock,
    course: Course,
) -> Clock:
    """Let all processes act over the next stride, where no more than `budget` are to be made."""
    number = course.number
    molecules, size = _ns_size(settings, rates, course, clock.molecules)
    sink = {mode: rates.sink[mode] * number[mode] for mode in MODE_NAMES}
    sink["ns"] = sink["ns"] * size**2
    for mode, each in rates.grown_sink.items():
        sink[mode] = sink[mode] + each * course.volume[mode]
    acts, both = loss_rate(sky, sink)
    fraction = _fraction(settings, budget, sky, clock, acts, both)
    # A stage that is over stands still in the caller; it needs a length only.
    h = fraction.clamp(min=1e-3 * FINEST) * sky.usual
    gas, condensed, new_so4, new, bursts = _gas(settings, h, sky, clock.gas, sink, acts, both)
    for mode in SOLUBLE_NAMES:
        gain = condensed[mode] + new_so4 if mode == "ns" else condensed[mode]
        course.rows["gas"][mode] = course.rows["gas"][mode] + gain
        course.volume[mode] = course.volume[mode] + gain * rates.molecule
    _collide_and_age(settings, h, rates, size, condensed, new, course)
    # As often would M7 in short steps merge.
    _merge(settings, SHORT_STEPS * fraction * sky.usual / timestep, rates, course)
    return Clock(gas, molecules, clock.done + fraction, fraction, bursts)


def _fraction(
    settings: Settings, budget: int, sky: Sky, clock: Clock, acts: Tensor, both: Tensor
) -> Tensor:
    """How much of a usual stride the next one is (n,): a part, before and in a burst."""
    to_go = (sky.strides - clock.done).clamp(min=0.0)

    def without_splinter(part: Tensor) -> Tensor:  # at the end
        return torch.where(to_go - part < 0.5 * FINEST, to_go, part)

    usual = without_splinter(to_go.clamp(max=1.0))
    watched = clock.bursts > 0.0
    if settings.nucleation != "vehkamaki2002" or not bool(watched.any()):
        return usual
    part = torch.minimum(usual, (2.0 * clock.fraction).clamp(min=FINEST))
    part = until_burst(sky, clock.gas, acts, both, usual, part)
    part = torch.maximum(part, torch.minimum(usual, to_go / budget))
    return torch.where(watched, without_splinter(part), usual)


def _sulfate(rates: Rates, course: Course, mode: str) -> Tensor:
    """Sulfate of NS or KS now [molecules cm-3]."""
    amount = course.rows["gas"][mode] + course.rows["ns"][mode] * rates.so4["ns"]
    return amount if mode == "ns" else amount + course.rows[mode][mode] * rates.so4[mode]


def _ns_size(
    settings: Settings, rates: Rates, course: Course, last: Tensor
) -> tuple[Tensor, Tensor]:
    """Molecules per NS particle, and its size over that at the start of the stage, mid-stride."""
    sulfate, number = _sulfate(rates, course, "ns"), course.number["ns"]
    there = (number > settings.number_min) & (sulfate > 0.0)
    molecules = torch.where(there, ratio(sulfate, number, there), rates.molecules)
    middle = molecules + 0.5 * (molecules - last)
    middle = torch.minimum(torch.maximum(middle, 0.5 * molecules), 2.0 * molecules)
    return molecules, (middle / rates.molecules).clamp(1e-3, 1e3).pow(1.0 / 3.0)


def _gas(
    settings: Settings,
    h: Tensor,
    sky: Sky,
    gas: Tensor,
    sink: Columns,
    acts: Tensor,
    both: Tensor,
) -> tuple[Tensor, Columns, Tensor, Tensor, Tensor]:
    """Condense and nucleate over `h` [s].

    Gives gas left, condensed by mode, nucleated sulfate, new particles, and whether nucleation
    begins or took much.
    """
    air, clear = sky.air, sky.clear
    supply, left, taken = condense(sky, h, gas, acts, both)

    # Nucleation at the mean gas of the stride.
    mean = torch.where(both * h > 1e-3, ratio(taken, both * h, acts), 0.5 * (gas + left))
    mean = mean / clear.clamp(min=1e-6)
    binary = settings.nucleation == "vehkamaki2002"
    found = critical(air["temperature"], air["relative_humidity"], mean) if binary else None
    rate, loss, _ = formation(
        settings,
        air["temperature"],
        air["relative_humidity"],
        air["forest_fraction"],
        air["boundary_layer"],
        mean,
        cluster=found,
    )
    bursts = torch.zeros_like(gas)
    if found is not None:
        free, cluster, each = unlimited(found, gas.dtype)
        much = free * each * clear * sky.usual > 0.5 * BURST_SHARE * supply
        begins = (free >= RATES[0]) & ((cluster < LEAST_CLUSTER) | much)
        bursts = begins.to(gas.dtype)
    loss = loss * clear * h
    forms = (loss > least(loss)) & (supply > least(supply))
    rest = ratio(supply, supply + loss, forms, otherwise=1.0)
    new_so4 = torch.where(forms, loss * rest, 0.0)
    new = new_so4 * ratio(rate * clear * h, loss, forms)
    left, taken = left * rest, taken * rest

    amount = ratio(taken, both, acts)
    condensed = {mode: sink[mode] * amount for mode in MODE_NAMES}
    cloudy = amount * sky.cloud_rate
    for mode in CLOUD_ORDER:
        there = sink[mode] > 0.0
        condensed[mode] = condensed[mode] + torch.where(there, cloudy, 0.0)
        cloudy = torch.where(there, 0.0, cloudy)
    return left + torch.where(acts, 0.0, taken), condensed, new_so4, new, bursts


def _collide_and_age(
    settings: Settings,
    h: Tensor,
    rates: Rates,
    size: Tensor,
    condensed: Columns,
    new: Tensor,
    course: Course,
) -> None:
    number = course.number
    kernel = rates.kernels.between
    loss: dict[tuple[str, str], Tensor] = {
        (donor, to): kernel(donor, to) * number[to] for donor, to in ROUTES
    }
    own: Columns = {m: 0.5 * kernel(m, m) * number[m] for m in ("ki", "ks", "as")}
    shares = {mode: _slow(settings, h, number[mode], own[mode], _of(loss, mode)) for mode in own}

    # NS, and what nucleates at a steady rate c: n' = c - a n**2 - b n, as section 12 iii solves it.
    # Its kernels with others go as r**-2, with itself as r**(1/2): those of free molecules.
    start = number["ns"]
    everyone = start + new
    collides = (everyone > settings.kernel_number_min).to(start.dtype)
    half_kernel = 0.5 * kernel("ns", "ns") * size.sqrt() * collides
    thinner = collides / size**2
    b, c = thinner * _of(loss, "ns"), new / h
    q = torch.maximum((b * b + 4.0 * half_kernel * c).sqrt(), 1e-6 / h)
    left, lost = decay(q * h)
    t, speed = lost / (1.0 + left), 2.0 * half_kernel * start + b
    vanished = 2.0 * t * start * (half_kernel * start + b)
    vanished = vanished + c * (h * speed * t + (h * q - 2.0 * t).clamp(min=0.0))
    vanished = torch.minimum(vanished / (q + speed * t), everyone)
    # Without a rate of loss only rounding vanishes.
    own_ns = 0.5 * half_kernel * (start + everyone - vanished)
    losses = own_ns + b
    moves = (everyone > settings.equation_number_min) & (losses > 0.0)
    gone = ratio(vanished, everyone, moves)
    per_rate = ratio(gone, losses, moves)
    extra = _hidden(settings, h, rates, half_kernel, own_ns * per_rate, everyone, shares, course)

    insoluble_now = {k: number[k] for k in INSOLUBLE_NAMES}
    insoluble_now["ki"] = number["ki"] * shares["ki"].left
    all_insoluble = sum(insoluble_now.values(), start=torch.zeros_like(start))
    there = all_insoluble > least(all_insoluble)
    hit = {("ns", to): loss["ns", to] * per_rate * thinner for d, to in ROUTES if d == "ns"}
    for k in INSOLUBLE_NAMES:
        hit["ns", k] = hit["ns", k] + extra * ratio(insoluble_now[k], all_insoluble, there)
    for donor, to in ROUTES:
        if donor != "ns":
            hit[donor, to] = loss[donor, to] * shares[donor].per_rate

    sulfate = {mode: _sulfate(rates, course, mode) for mode in ("ns", "ks")}
    on = dict(condensed)
    for (donor, to), share in hit.items():
        if to in COATED and donor in sulfate:
            on[to] = on[to] + sulfate[donor] * share
    number["ns"] = everyone * (1.0 - gone)
    for mode, fate in shares.items():
        number[mode] = number[mode] * fate.left
    _move_soluble(course, hit)
    _age(settings, rates, on, condensed, hit, shares["ki"], course)


class Slow(NamedTuple):
    """What becomes of a mode that loses few of its particles in a stride, as shares."""

    left: Tensor
    intra: Tensor
    """Lost within the mode"""
    per_rate: Tensor
    """Lost to a partner, per rate of that loss [s]"""


def _slow(settings: Settings, h: Tensor, number: Tensor, own: Tensor, others: Tensor) -> Slow:
    """Use 1/(1 + x + x**2/2) for exp(-x), which is never negative."""
    x = (own + others) * h
    left = 1.0 / (1.0 + x * (1.0 + 0.5 * x))
    acts = number > settings.equation_number_min
    per_rate = torch.where(acts, left * (1.0 + 0.5 * x) * h, 0.0)
    return Slow(torch.where(acts, left, 1.0), own * per_rate, per_rate)


def _of(loss: Mapping[tuple[str, str], Tensor], donor: str) -> Tensor:
    found = [rate for (d, _), rate in loss.items() if d == donor]
    return sum(found, start=torch.zeros_like(next(iter(loss.values()))))


def _hidden(
    settings: Settings,
    h: Tensor,
    rates: Rates,
    half_kernel: Tensor,
    intra: Tensor,
    everyone: Tensor,
    shares: Mapping[str, Slow],
    course: Course,
) -> Tensor:
    """Share of NS whose collisions within it count as such with insoluble particles.

    `pyemu.blocks.number.hidden_collisions` for short steps.
    """
    number = course.number
    now = {k: number[k] for k in INSOLUBLE_NAMES}
    now["ki"] = number["ki"] * shares["ki"].left
    insoluble = sum(now.values(), start=torch.zeros_like(everyone))
    soluble = everyone + number["ks"]
    mixed = torch.where(insoluble > 1.0, (half_kernel * h * soluble).clamp(max=1.0), 1.0)
    needed = mixed * sum((rates.coat[k] * now[k] for k in now), start=torch.zeros_like(everyone))
    sulfate = _sulfate(rates, course, "ns")
    most = _HIDDEN * intra
    few = 0.0 if settings.older else EPSILON
    acts = (most > 0.0) & (soluble > insoluble) & (insoluble > few) & (sulfate > 0.0)
    enough = acts & (needed < most * sulfate)
    return torch.where(acts, torch.where(enough, ratio(needed, sulfate, enough), most), 0.0)


def _move_soluble(course: Course, hit: Mapping[tuple[str, str], Tensor]) -> None:
    """Move what NS and KS carry; what an insoluble particle collects makes a soluble one."""
    out: dict[tuple[str, str], Tensor] = {}
    for (donor, to), share in hit.items():
        if donor != "ki":
            key = donor, COATED.get(to, to)
            out[key] = out[key] + share if key in out else share
    for x in (*course.rows.values(), course.volume):
        for donor in ("ks", "ns"):
            if donor not in x:
                continue
            leaving = {to: x[donor] * share for (d, to), share in out.items() if d == donor}
            for to, amount in leaving.items():
                x[to] = x[to] + amount
            x[donor] = x[donor] * (1.0 - _of(out, donor)).clamp(min=0.0)


def _age(
    settings: Settings,
    rates: Rates,
    on: Columns,
    condensed: Columns,
    hit: Mapping[tuple[str, str], Tensor],
    ki: Slow,
    course: Course,
) -> None:
    """Let coated particles join the soluble mode of their size, and move what KI loses."""
    number, rows = course.number, course.rows
    for mode, to in COATED.items():
        ages = (number[mode] >= settings.ageing_number_min) & (rates.coat[mode] > COATING_MIN)
        joins = torch.minimum(ratio(on[mode], rates.coat[mode], ages), number[mode])
        aged = ratio(joins, number[mode], ages)
        number[to] = number[to] + aged * number[mode]
        number[mode] = number[mode] * (1.0 - aged)
        rows["gas"][to] = rows["gas"][to] + condensed[mode]
        course.volume[to] = course.volume[to] + condensed[mode] * rates.molecule
        own = rows[mode]
        stays = ki.left + ki.intra if mode == "ki" else torch.ones_like(aged)
        gains = {to: own[mode] * stays * aged}
        if mode == "ki":
            gains["ks"] = gains["ks"] + own["ki"] * hit["ki", "ks"]
            gains["as"] = own["ki"] * hit["ki", "as"]
        for receiver, gain in gains.items():
            own[receiver] = own[receiver] + gain
            course.volume[receiver] = course.volume[receiver] + rates.volume[mode] * gain
        own[mode] = own[mode] * stays * (1.0 - aged)


def _merge(settings: Settings, often: Tensor, rates: Rates, course: Course) -> None:
    """Merge from AS down, each mode before it gains; M7 would do so `often` (n,)."""
    number, volume = course.number, course.volume
    for mode, above in reversed(ABOVE.items()):
        middle, edge, _ = edges(settings, mode)
        settled = rates.settled[mode]
        gained = course.rows["gas"][mode]
        for donor in set(rates.so4) - {mode}:
            if mode in course.rows[donor]:
                gained = gained + course.rows[donor][mode] * rates.so4[donor]
        # Fewer than `number_min` have no size of their own, either.
        grown = number[mode] > max(settings.merging_number_min, settings.number_min)
        grown = grown & (gained > rates.sulfate_min[mode])
        grown = grown & (volume[mode] > middle * number[mode])
        # Each time the mean has reached the middle, it falls back by the gap; where it would do so
        # in every step of M7, it ends settled.
        over, gap = volume[mode] - middle * number[mode], (middle - settled) * number[mode]
        slides = gap > least(gap)
        times = ratio(over, gap, slides)
        falls = torch.where(times < often, (torch.floor(times) + 1.0) * gap, over + gap)
        out = torch.where(slides, falls, over) / (1.0 - settled / edge)
        out = torch.where(grown, out, 0.0)
        share = ratio(out, edge * number[mode], grown).clamp(max=1.0)
        leaves = ratio(out, volume[mode], grown).clamp(max=1.0)
        leaves = torch.where(share < 1.0, leaves, 1.0)
        number[above] = number[above] + share * number[mode]
        number[mode] = number[mode] * (1.0 - share)
        for x in (*course.rows.values(), volume):
            if mode in x and above in x:
                amount = leaves * x[mode]
                x[above] = x[above] + amount
                x[mode] = x[mode] - amount


def _apply(
    supply: Tensor, gas: Tensor, mass: Tensor, course: Course
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply shares, each row adding up to 1, to the gas that there was and to all masses."""
    supply = supply.clamp(min=0.0)
    before, after = by_name(mass, names(MASSES)), {}
    gained = course.rows["gas"]
    total = gas + sum(gained.values(), start=torch.zeros_like(gas))
    some = total > 1e-30
    for mode in MODE_NAMES:
        for species in CARRIED[mode]:
            sources = {d: r[mode] for d, r in course.rows.items() if d != "gas" and mode in r}
            if mode not in course.rows:
                sources[mode] = torch.ones_like(gas)
            amount = torch.zeros_like(gas)
            for donor, share in sources.items():
                if species in CARRIED[donor]:
                    whole = sum(course.rows[donor].values()) if donor in course.rows else 1.0
                    amount = amount + before[f"{species}_{donor}"] * (share / whole)
            if species == "so4":
                amount = amount + supply * ratio(gained[mode], total, some)
            after[f"{species}_{mode}"] = amount
    left = supply * ratio(gas, total, some, otherwise=1.0)
    number = columns(course.number[mode] for mode in MODE_NAMES)
    return left, columns(after[name] for name in names(MASSES)), number
