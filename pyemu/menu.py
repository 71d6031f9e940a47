"""What DENSE chooses from for M7: which process to emulate, and by which network.

Slots, in this order: `step`, the rest of it, which leaves no choice; each process {exact, small,
larger} with a network of its own, those of the particles also {trunk}; the trunk's layers, features
and embedding. The trunk's layers are slices of shared matrices, so that every batch trains many
widths; a layer reads what the one before gives, whatever its width. All of it runs in the native
engine, where the latency of every option is measured: differences between whole steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import (
    FORMS,
    NETWORKS,
    OF_PARTICLES,
    TRUNK,
    columns_of,
    trunk_of,
)
from pyemu.blocks.network import ACTIVATIONS, OPERATIONS, Network
from pyemu.blocks.settings import Settings
from pyemu.dense import Architecture, Slot
from pyemu.feed import Feed, Share
from pyemu.latency import Watch, measure
from pyemu.lessons import (
    Lesson,
    Sheet,
    Steps,
    lessons,
    single,
    steps,
    take_lessons,
    take_steps,
    tendencies,
)
from pyemu.trainconfig import TrainConfig

EXACT, IN_TRUNK, SKIP = "exact", "trunk", "skip"
OWN: Mapping[str, tuple[int, ...]] = {"small": (16,), "larger": (32, 32)}
"""Hidden layers of a process's own network."""
WIDTHS = (16, 32, 64, 128)
LAYERS = (
    *(f"dense{width}_{bend}" for width in WIDTHS for bend in ("relu", "silu", "tanh")),
    *(f"{kind}{width}_silu" for kind in OPERATIONS[1:] for width in WIDTHS),
)
DEPTH = 3
_PLACES = tuple(f"layer{place}" for place in range(DEPTH))
_REST, _FEATURES, _EMBEDDING = "step", "features", "embedding"
_RADII, _DENSITY, _PLAIN, _BYPASS = "radii", "radii_density", "plain", "bypass"
_THIN = "dense32_silu"
"""Layer of the trunks whose difference tells what features and embedding cost."""
_REPEATED = 3


def costs(settings: Settings, share: Share, rounds: int, watch: Watch = iter) -> dict[str, float]:
    """Measure every option on this machine [ns per cell], by "slot:option".

    "step" is the step with all blocks exact; what else there is are differences to that, negative
    where a learned form is cheaper. Layers count as between two of their width, `features` and
    `embedding` for what they add to the plain ones.
    """
    sheet = lessons(settings, share.spread(2048), ("trunk", *FORMS))

    def chain(name: str, network: Network, lesson: Lesson) -> Chain:
        network.calibrate(lesson.features, lesson.targets, lesson.there, lesson.known)
        return Chain(settings, {name: network.requires_grad_(False)})

    def trunk(
        hidden: Sequence[int | str],
        gives: Sequence[str] = OF_PARTICLES,
        density: bool = True,
        bypass: bool = False,
    ) -> Chain:
        form = trunk_of(gives, density=density)
        lesson = _part(sheet["trunk"], form.features, form.targets)
        return chain("trunk", Network.hidden(*form, hidden, bypass=bypass), lesson)

    made = {_REST: Chain(settings)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for form in FORMS:
            for option, widths in OWN.items():
                network = Network.hidden(*FORMS[form], widths)
                made[f"{form}:{option}"] = chain(form, network, sheet[form])
        for form in OF_PARTICLES:
            made[f"{form}:trunk"] = trunk((), (form,))
        made["all:trunk"] = trunk(())
        made["thin"] = trunk((_THIN,))
        made["radii"] = trunk((_THIN,), density=False)
        made["bypass"] = trunk((_THIN,), bypass=True)
        for layer in LAYERS:
            for count in (1, 1 + _REPEATED):
                made[f"{layer}*{count}"] = trunk((layer,) * count)
    cost = measure(made, rounds, watch=watch)
    found = {_REST: cost[_REST]}
    found |= {name: cost[name] - cost[_REST] for name in made if ":" in name}
    # What the three together share (the features) is saved once by each but one.
    together = found.pop("all:trunk")
    shared = (together - sum(found[f"{form}:trunk"] for form in OF_PARTICLES)) / len(OF_PARTICLES)
    for form in OF_PARTICLES:
        found[f"{form}:trunk"] += shared
    for layer in LAYERS:
        found[f"layer:{layer}"] = (
            cost[f"{layer}*{1 + _REPEATED}"] - cost[f"{layer}*1"]
        ) / _REPEATED
    found[f"{_FEATURES}:{_DENSITY}"] = cost["thin"] - cost["radii"]
    found[f"{_EMBEDDING}:{_BYPASS}"] = cost["bypass"] - cost["thin"]
    # The plain trunk's cost is told without densities, which `features` adds again.
    for form in OF_PARTICLES:
        found[f"{form}:trunk"] -= found[f"{_FEATURES}:{_DENSITY}"] / len(OF_PARTICLES)
    return found


class Menu:
    """Slots of the search, and what an architecture means.

    Parameters
    ----------
    cost
        What `costs` measured.
    learned
        Whether every process is to be learned: then nothing is exact.
    """

    def __init__(self, cost: Mapping[str, float], *, learned: bool = False) -> None:
        options: dict[str, tuple[str, ...]] = {}
        first = () if learned else (EXACT,)
        for form in FORMS:
            last = (IN_TRUNK,) if form in OF_PARTICLES else ()
            options[form] = (*first, *OWN, *last)
        options |= dict.fromkeys(_PLACES, (SKIP, *LAYERS))
        options |= {_FEATURES: (_RADII, _DENSITY), _EMBEDDING: (_PLAIN, _BYPASS)}
        rest, slots = cost[_REST], list[Slot]()
        for name, given in options.items():
            kind = "layer" if name in _PLACES else name
            told = [cost.get(f"{kind}:{option}", 0.0) for option in given]
            rest += min(told)  # a slot's latencies must not be negative
            slots.append(Slot(name, given, tuple(t - min(told) for t in told)))
        self.slots = (Slot(_REST, ("rest",), (max(rest, 0.0),)), *slots)

    def named(self, architecture: Architecture) -> dict[str, str]:
        """Name the option in each slot."""
        return {s.name: s.options[a] for s, a in zip(self.slots, architecture, strict=True)}

    def canonical(self, architecture: Architecture) -> Architecture:
        """Take the cheapest trunk where nothing uses it: the same network, and what it costs."""
        told = self.named(architecture)
        if in_trunk(told):
            return architecture
        unused = (*_PLACES, _FEATURES, _EMBEDDING)
        return tuple(
            min(range(len(slot.options)), key=slot.latency_ns.__getitem__)
            if slot.name in unused
            else a
            for slot, a in zip(self.slots, architecture, strict=True)
        )

    def short(self, architecture: Architecture) -> str:
        """Say what is learned, and how."""
        told = self.named(architecture)
        parts = [f"{form} {told[form]}" for form in FORMS if told[form] in OWN]
        if in_trunk(told):
            layers = [told[place] for place in _PLACES if told[place] != SKIP] or ["linear"]
            parts.append(
                f"{' + '.join(in_trunk(told))} in trunk ({', '.join(layers)}; {told[_FEATURES]}, "
                f"{told[_EMBEDDING]})"
            )
        return "; ".join(parts) or "all exact"

    def config(self, architecture: Architecture, base: TrainConfig) -> TrainConfig:
        """Give `base` the networks of an architecture."""
        told = self.named(architecture)
        changes = {form: OWN.get(told[form], ()) for form in FORMS}
        gives = in_trunk(told)
        if not gives:
            return replace(base, **changes, trunk=())  # type: ignore[arg-type]
        return replace(
            base,
            **changes,  # type: ignore[arg-type]
            trunk=tuple(told[place] for place in _PLACES),
            trunk_gives=gives,
            trunk_density=told[_FEATURES] == _DENSITY,
            trunk_bypass=told[_EMBEDDING] == _BYPASS,
        )


def in_trunk(told: Mapping[str, str]) -> tuple[str, ...]:
    """Find the processes that an architecture, as `Menu.named` tells it, has in its trunk."""
    return tuple(form for form in OF_PARTICLES if told[form] == IN_TRUNK)


class Supernet(nn.Module):
    """Shared weights of all options: a `dense.Problem`.

    Networks learn the exact forms at the records' states, as standardised errors; an architecture
    is judged by the step that it makes: mean over the variables of 1 - R2 of their tendencies in
    physical units, each at most 1, so that what does not matter for the step is not paid for.

    Parameters
    ----------
    settings
        M7's.
    train, held
        Records to learn from, and to judge by.
    batch, buffer, calibration
        Cells of a training batch, in memory, and for the scaling.
    validation, validation_batch
        Cells to judge by, in all and of a common batch.
    seed, rank, world
        Of weights and batches; this process, and their number.
    """

    def __init__(
        self,
        settings: Settings,
        menu: Menu,
        train: Share,
        held: Share,
        *,
        batch: int,
        buffer: int,
        calibration: int,
        validation: int,
        validation_batch: int,
        seed: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        self.menu, self._settings, self._seed = menu, settings, seed
        self._steps = steps(held.spread(validation))
        self._batch = min(validation_batch, len(self._steps.before))
        sample = train.spread(calibration)
        variance = self._steps.truth.var(dim=0, correction=0)
        self._varies, self._variance = variance > 0.0, variance
        sheet = lessons(settings, sample, ("trunk", *FORMS))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.own = nn.ModuleDict(
                {
                    f"{form}_{option}": Network.hidden(*FORMS[form], widths)
                    for form in FORMS
                    for option, widths in OWN.items()
                }
            )
            self.trunk = Trunk()
        for name, network in (*self.own.items(), ("trunk", self.trunk.straight)):
            lesson = sheet[name.partition("_")[0]]
            assert isinstance(network, Network)
            network.calibrate(lesson.features, lesson.targets, lesson.there, lesson.known)
        self._feed: Feed[Sheet] = Feed(
            train,
            lambda cells: single(lessons(settings, cells, ("trunk", *FORMS))),
            take_lessons,
            batch=batch,
            buffer=buffer,
            seed=seed,
            rank=rank,
            world=world,
        )

    @property
    def slots(self) -> Sequence[Slot]:
        """Those of the menu."""
        return self.menu.slots

    def train_loss(self, architecture: Architecture, step: int) -> Tensor:
        """Standardised errors of the networks that an architecture uses, summed over the forms."""
        told, sheet = self.menu.named(architecture), self._feed(step)
        losses = [torch.zeros(())]
        for form in FORMS:
            if told[form] in OWN:
                network = self.own[f"{form}_{told[form]}"]
                assert isinstance(network, Network)
                lesson = sheet[form]
                given = network(lesson.features, lesson.there)
                losses.append(_error(given, lesson, network.target_scale))
        gives = in_trunk(told)
        if gives:
            network, weights = self.trunk.sliced(told)
            lesson = _part(sheet["trunk"], network.features, network.targets)
            given = functional_call(network, weights, (lesson.features, lesson.there))
            for form in gives:
                places = columns_of(FORMS[form].targets, network.targets)
                one = lesson._replace(
                    targets=lesson.targets[:, places], known=lesson.known[:, places]
                )
                losses.append(_error(given[:, places], one, weights["target_scale"][places]))
        return torch.stack(losses).sum()

    @torch.no_grad()
    def validation_losses(
        self, architectures: Sequence[Architecture], batch: int | None
    ) -> list[float]:
        """Errors of the steps that architectures make; those that are one network are run once."""
        given = self._steps
        if batch is not None:
            drawn = torch.Generator().manual_seed(1_000_003 * self._seed + batch)
            some = torch.randperm(len(given.before), generator=drawn)[: self._batch]
            given = take_steps(given, some.numpy())
        found: dict[Architecture, float] = {}
        for one in map(self.menu.canonical, architectures):
            if one not in found:
                found[one] = self.error(self.chain(one), given)
        return [found[self.menu.canonical(one)] for one in architectures]

    @torch.no_grad()
    def chain(self, architecture: Architecture) -> Chain:
        """Build the step of an architecture from the shared weights."""
        told = self.menu.named(architecture)
        networks: dict[str, Network] = {}
        for form in FORMS:
            if told[form] in OWN:
                network = self.own[f"{form}_{told[form]}"]
                assert isinstance(network, Network)
                networks[form] = network
        if in_trunk(told):
            network, weights = self.trunk.sliced(told)
            network.load_state_dict({name: t.detach() for name, t in weights.items()})
            networks["trunk"] = network
        return Chain(self._settings, networks)

    @torch.no_grad()
    def error(self, chain: Chain, given: Steps | None = None) -> float:
        """Mean over the variables of 1 - R2, each at most 1; None: on all validation cells."""
        given = self._steps if given is None else given
        wrong = (tendencies(chain, given) - given.truth)[:, self._varies]
        lost = wrong.square().mean(dim=0) / self._variance[self._varies]
        return float(lost.nan_to_num(nan=1.0).clamp(max=1.0).mean())


class Trunk(nn.Module):
    """Shared weights of all trunks: the widest of each operation in each place."""

    def __init__(self) -> None:
        super().__init__()
        wide, features, targets = max(WIDTHS), len(TRUNK.features), len(TRUNK.targets)
        self.straight = Network.hidden(*TRUNK, ())  # scaling, head's bias and bypass
        self.head = nn.Parameter(torch.zeros(targets, wide))
        self.first = nn.Parameter(
            torch.zeros(targets, features)
        )  # head without a layer, beside a bypass
        self.layers = nn.ParameterDict()
        for place in range(DEPTH):
            for name in sorted({_kind(layer) for layer in LAYERS}):
                sizes = {"weight": (wide, wide), "bias": (wide,)}
                if name.startswith("gated"):
                    sizes |= {"gate_weight": (wide, wide), "gate_bias": (wide,)}
                if name.startswith("low_rank"):
                    sizes |= {"weight": (wide, wide // 4), "factor": (wide // 4, wide)}
                for part, size in sizes.items():
                    # Slices read 7 to 128 inputs: as if there were 32.
                    drawn = torch.randn(size) / 32.0**0.5 if len(size) > 1 else torch.zeros(size)
                    self.layers[f"{place}_{name}_{part}"] = nn.Parameter(drawn)

    def sliced(self, told: Mapping[str, str]) -> tuple[Network, dict[str, Tensor]]:
        """Network of an architecture, and its tensors: slices of the shared ones."""
        form = trunk_of(in_trunk(told), density=told[_FEATURES] == _DENSITY)
        hidden = [(place, told[name]) for place, name in enumerate(_PLACES) if told[name] != SKIP]
        bypass = told[_EMBEDDING] == _BYPASS
        with torch.random.fork_rng(devices=[]):
            network = Network.hidden(*form, [name for _, name in hidden], bypass=bypass)
        seen = torch.tensor(columns_of(form.features, TRUNK.features))
        rows = torch.tensor(columns_of(form.targets, TRUNK.targets))
        scaling = dict(self.straight.named_buffers())
        found = {k: t[seen if k.startswith("feature") else rows] for k, t in scaling.items()}
        columns = seen
        for depth, (place, name) in enumerate(hidden):
            layer = network.layers[depth]
            kind, out = _kind(name), slice(layer.outputs)
            for part in dict(network.operations[depth].named_parameters()):
                shared = self.layers[f"{place}_{kind}_{part}"]
                if part == "factor":
                    mine = shared[: layer.rank][:, columns]
                elif part.endswith("bias"):
                    mine = shared[out]
                else:
                    mine = shared[out][:, slice(layer.rank) if layer.rank else columns]
                found[f"operations.{depth}.{part}"] = mine
            columns = torch.arange(layer.outputs)
        last = f"operations.{len(hidden)}"
        straight = dict(self.straight.named_parameters())
        first = self.first if bypass else straight["bypass"]  # one linear map needs no other
        found[f"{last}.weight"] = (self.head if hidden else first)[rows][:, columns]
        found[f"{last}.bias"] = straight["operations.0.bias"][rows]
        if bypass:
            found["bypass"] = straight["bypass"][rows][:, seen]
        return network, found


def _kind(layer: str) -> str:
    """Operation and activation of a layer's name, which its widths share."""
    kind, _, bend = layer.rpartition("_")
    assert bend in ACTIVATIONS
    return f"{kind.rstrip('0123456789')}_{bend}"


def _part(lesson: Lesson, features: Iterable[str], targets: Iterable[str]) -> Lesson:
    """Pick columns of the trunk's lesson."""
    seen = columns_of(tuple(features), NETWORKS["trunk"].features)
    asked = columns_of(tuple(targets), NETWORKS["trunk"].targets)
    return Lesson(
        lesson.features[:, seen],
        lesson.there[:, seen],
        lesson.targets[:, asked],
        lesson.known[:, asked],
    )


def _error(given: Tensor, lesson: Lesson, scale: Tensor) -> Tensor:
    """Weighted mean square of the standardised errors."""
    wrong = torch.where(lesson.known > 0.0, (given - lesson.targets) / scale, 0.0)
    return (lesson.known * wrong.square()).sum() / lesson.known.sum().clamp(min=1.0)
