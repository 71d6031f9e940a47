"""`pyemu search`: DENSE finds what of M7 to emulate, and by which networks (emulator.md section 4).

A folder holds all of a search. First `plan.json`: the costs measured on this machine and the
number of steps that fit the budget; a search that is killed reads it again and goes on from its
last checkpoint to the same result, bit for bit. At the end the front (error over ns per cell) as a
table, JSON and figure, the network variables over time, and the chosen architectures, trained anew
as `pyemu train` trains them, as model files. `torchrun` spreads it over processes.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from torch import distributed

from pyemu import checkpoint, train
from pyemu.blocks.chain import Chain
from pyemu.blocks.settings import Settings
from pyemu.dense import Candidate, NetworkVariables, Search, SearchConfig, front, generator, latency
from pyemu.exchange import to_chain
from pyemu.feed import Share, held_out, whole
from pyemu.files import replaced, write_json
from pyemu.latency import measure
from pyemu.menu import Menu, Supernet, costs
from pyemu.modelfile import digest, read
from pyemu.trainconfig import TrainConfig, check_settings, read_settings

Row = dict[str, Any]
Tell = Callable[[int, int, Row], None]
"""Called with steps done, steps in all, and the last update: entropy [nat], best score."""

_TRIED = 24
"""Batches, and architectures, that tell how fast this machine is."""
_FLOOR = 1e-9
"""Least error that is told apart from none."""
_SCORE = "validation mean tendency R2"


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A search of M7's emulator; every field may stand in a TOML file, `train` as a table.

    Parameters
    ----------
    learned
        Whether every process is to be learned, so that no exact form is on the menu.
    minutes, steps
        Time for the search itself, before the chosen are trained; a number of steps if not 0.
    weight_steps, samples, rate, variable_rate, warm_up
        As `pyemu.dense.SearchConfig` has them.
    spans
        Latency budgets: shares of the way from the cheapest architecture to the mean of all.
    batch, buffer, calibration
        Cells of a training batch, in memory, and for the scaling.
    validation, validation_batch
        Cells to judge by at the end, and in an update.
    candidates, chosen
        Architectures drawn for the front for each budget, and those trained anew, at most.
    rounds
        Of the timing of each option.
    checkpoint_every
        Steps between checkpoints.
    seed
        Of weights, batches and draws.
    train
        How the chosen are trained.
    """

    learned: bool = False
    minutes: float = 12.0
    steps: int = 0
    weight_steps: int = 60
    samples: int = 32
    rate: float = 4e-3
    variable_rate: float = 0.1
    warm_up: float = 0.1
    spans: tuple[float, ...] = (0.02, 0.1, 0.3)
    batch: int = 1024
    buffer: int = 131_072
    calibration: int = 16_384
    validation: int = 32_768
    validation_batch: int = 1024
    candidates: int = 64
    chosen: int = 3
    rounds: int = 200
    checkpoint_every: int = 100
    seed: int = 1
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            forms_steps=3000, refine_steps=30, refine_batch=8192, step_steps=0
        )
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", tuple(self.spans))
        least = dict.fromkeys(("batch", "buffer", "calibration", "validation", "rounds"), 1)
        least |= dict.fromkeys(("validation_batch", "candidates", "checkpoint_every"), 1)
        least |= {"steps": 0, "chosen": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise ValueError(f"{name} = {value!r}; allowed are whole numbers >= {low}")
        if not 0.0 < self.minutes < math.inf:
            raise ValueError(f"minutes = {self.minutes}; allowed is (0, inf)")
        if not self.spans or not all(0.0 < share < math.inf for share in self.spans):
            raise ValueError(f"spans = {self.spans}; needed are numbers > 0")
        self.dense(1, (1.0,))  # refuses what DENSE does not take

    @classmethod
    def read(cls, path: Path | None, **changes: Any) -> Self:
        """Read a TOML file; `changes` that are not None go before it."""
        given = read_settings(path, cls)
        if "train" in given:
            check_settings(given["train"], TrainConfig, f"{path}: train")
            given["train"] = replace(cls().train, **given["train"])
        return cls(**given | {name: v for name, v in changes.items() if v is not None})

    def dense(self, steps: int, budgets_ns: Sequence[float]) -> SearchConfig:
        """Configure DENSE."""
        return SearchConfig(
            steps=steps,
            weight_steps=self.weight_steps,
            samples=self.samples,
            rate=self.rate,
            variable_rate=self.variable_rate,
            warm_up=self.warm_up,
            budgets_ns=tuple(budgets_ns),
            seed=self.seed,
        )

    def facts(self) -> Row:
        """Give what JSON holds of it."""
        found: Row = checkpoint.plain(asdict(self))
        return found


class Folder:
    """Files of a search."""

    def __init__(self, path: Path) -> None:
        self.plan, self.checkpoint = path / "plan.json", path / "search.checkpoint"
        self.front, self.table = path / "front.json", path / "front.md"
        self.figure, self.variables = path / "front.png", path / "variables.png"
        self.path = path

    def model(self, place: int) -> Path:
        """Model of the chosen number `place`, the cheapest being 1."""
        return self.path / f"front{place}.safetensors"


def run(
    plan: SearchPlan,
    records: xr.Dataset,
    output: Path,
    *,
    validation: xr.Dataset | None = None,
    origin: Sequence[Path] = (),
    command: str = "",
    resume: bool = True,
    tell: Tell | None = None,
) -> Row:
    """Search, or go on with the search of the folder `output`, and write all there is to know.

    Parameters
    ----------
    records, validation
        As `pyemu.records.open_records` gives them, of M7's single step; without `validation` some
        trajectories of `records` are held out. Architectures are chosen by validation.
    origin, command
        Files and command line, for provenance and to know the search again.
    resume
        Whether to go on with what is in the folder, or to begin anew.

    Returns
    -------
    dict
        What `front.json` holds; in a process other than the first no chosen ones.

    Raises
    ------
    ValueError
        Records of a teacher or with settings that the chain of blocks does not have; a folder that
        cannot be written to or holds another search.
    """
    output.mkdir(parents=True, exist_ok=True)
    folder, chosen = Folder(output), train.settings(records)
    Chain(chosen)  # refuses settings that no block has
    share, held = held_out(records) if validation is None else (whole(records), whole(validation))
    with train.processes() as (rank, world):
        if not resume and rank == 0:
            for path in (folder.plan, folder.checkpoint):
                path.unlink(missing_ok=True)
        asked = plan.facts()
        asked.pop("train")  # the chosen of the same search may be trained in another way
        given: Row = {"plan": asked, "records": [digest(path) for path in origin]}
        given["processes"] = world
        told = _plan(plan, given, chosen, share, held, folder, rank, world)
        menu, supernet = _supernet(plan, told["costs"], chosen, share, held, rank, world)
        search = Search(supernet, plan.dense(told["steps"], told["budgets_ns"]))
        if folder.checkpoint.exists():
            search.restore(*checkpoint.read(folder.checkpoint))

        def after(search: Search) -> None:
            if rank:
                return
            if tell is not None and search.history and search.done % plan.weight_steps == 0:
                tell(search.done, told["steps"], summary(search))
            if search.done % plan.checkpoint_every == 0 or search.finished:
                checkpoint.write(folder.checkpoint, *search.state())

        search.run(after)
        found = candidates(search, menu, plan.candidates)
        best = front(found)
        picked = spread(best, plan.chosen)
        for place, candidate in enumerate(picked, start=1):
            config = menu.config(candidate.architecture, plan.train)
            _retrain(config, records, validation, folder.model(place), origin, command)
        facts: Row = {"command": command, "settings": chosen.to_json(), **told}
        facts |= {"done": search.done, "mean_entropy": summary(search).get("entropy")}
        facts["front"] = [_row(menu, c) for c in best]
        facts["chosen"] = []
        if rank == 0:  # who wrote the models
            facts["chosen"] = _chosen(picked, menu, supernet, chosen, folder, plan.rounds)
            write_json(folder.front, facts)
            with replaced(folder.table) as temporary:
                temporary.write_text(markdown(facts))
            draw_front(facts, [_row(menu, c) for c in found], folder.figure)
            draw_variables(search, folder.variables)
    return facts


def summary(search: Search) -> Row:
    """Give mean entropy of the slots that leave a choice [nat], and best score, of the last update.

    The best score is the least of all budgets; `latency_ns` are the expected latencies' mean.
    """
    rows = search.history[-len(search.variables) :]
    if not rows:
        return {}
    free = [place for place, slot in enumerate(search.slots) if len(slot.options) > 1]
    return {
        "entropy": float(np.mean([[row["entropy"][p] for p in free] for row in rows])),
        "best": min(row["best"] for row in rows),
        "latency_ns": float(np.mean([row["latency_ns"] for row in rows])),
        "train_loss": float(rows[-1]["train_loss"]),
    }


def candidates(search: Search, menu: Menu, samples: int) -> list[Candidate]:
    """Judge what the search now favours, on all validation cells; distinct networks, best first."""
    found = {}
    for candidate in search.candidates(samples):
        one = menu.canonical(candidate.architecture)
        found[one] = Candidate(candidate.loss, latency(menu.slots, one), one)
    return sorted(found.values())


def spread(best: Sequence[Candidate], count: int) -> list[Candidate]:
    """Choose from a front: the most accurate, the cheapest, others evenly between in ln error."""
    if len(best) <= count:
        return list(best)
    if count < 2:
        return list(best[-1:])[:count]
    errors = np.log([max(c.loss, _FLOOR) for c in best])
    wanted = np.linspace(errors[0], errors[-1], count)
    picked = {0, len(best) - 1}
    for target in wanted[1:-1]:
        left = [place for place in range(len(best)) if place not in picked]
        picked.add(min(left, key=lambda place: abs(errors[place] - target)))
    return [best[place] for place in sorted(picked)]


def _plan(
    plan: SearchPlan,
    given: Row,
    settings: Settings,
    share: Share,
    held: Share,
    folder: Folder,
    rank: int,
    world: int,
) -> Row:
    """Read the folder's plan, or measure and write it; all processes have the same."""
    told: Row = {}
    if rank == 0:
        if folder.plan.exists():
            told = json.loads(folder.plan.read_text())
            if any(told[name] != value for name, value in given.items()):
                raise ValueError(
                    f"{folder.plan} is of another search; give another folder, or begin anew "
                    "with --no-resume"
                )
        else:
            told = given | _measured(plan, settings, share, held, world)
            write_json(folder.plan, told)
    if world > 1:
        shared = [told]
        distributed.broadcast_object_list(shared, 0)
        told = shared[0]
    return told


def _measured(plan: SearchPlan, settings: Settings, share: Share, held: Share, world: int) -> Row:
    """Costs, budgets, and steps that fit the time."""
    cost = costs(settings, share, plan.rounds)
    menu, supernet = _supernet(plan, cost, settings, share, held, 0, 1)
    uniform = NetworkVariables(menu.slots)
    least = sum(min(slot.latency_ns) for slot in menu.slots)
    mean = uniform.expected_latency()
    budgets = [least + part * (mean - least) for part in plan.spans]
    steps = plan.steps
    if not steps:
        tried = uniform.sample(_TRIED, generator(plan.seed, 5))
        supernet.train_loss(tried[0], 0)  # fills the buffer
        began = time.perf_counter()
        for step, architecture in enumerate(tried):
            loss = supernet.train_loss(architecture, step)
            if loss.requires_grad:
                loss.backward()
        training = (time.perf_counter() - began) / _TRIED
        began = time.perf_counter()
        supernet.validation_losses(tried, 0)
        judging = (time.perf_counter() - began) / _TRIED * plan.samples * len(budgets) / world
        judging *= (1.0 - plan.warm_up) / plan.weight_steps
        steps = max(plan.weight_steps, int(60.0 * plan.minutes / (training + judging)))
    return {"costs": cost, "budgets_ns": budgets, "steps": steps}


def _supernet(
    plan: SearchPlan,
    cost: Mapping[str, float],
    settings: Settings,
    share: Share,
    held: Share,
    rank: int,
    world: int,
) -> tuple[Menu, Supernet]:
    menu = Menu(cost, learned=plan.learned)
    supernet = Supernet(
        settings,
        menu,
        share,
        held,
        batch=plan.batch,
        buffer=plan.buffer,
        calibration=plan.calibration,
        validation=plan.validation,
        validation_batch=plan.validation_batch,
        seed=plan.seed,
        rank=rank,
        world=world,
    )
    return menu, supernet


def _retrain(
    config: TrainConfig,
    records: xr.Dataset,
    validation: xr.Dataset | None,
    path: Path,
    origin: Sequence[Path],
    command: str,
) -> None:
    """Train one of the chosen, unless its model is there from before a kill."""
    wanted = checkpoint.plain(asdict(config)), [digest(path) for path in origin]
    if path.exists():
        there = read(path).provenance
        if (there.get("config"), there.get("records")) == wanted:
            return
    files = train.Files(model=path)
    train.run(config, records, files, validation=validation, origin=origin, command=command)


def _row(menu: Menu, candidate: Candidate) -> Row:
    return {
        "error": candidate.loss,
        "latency_ns": candidate.latency_ns,
        "architecture": menu.named(candidate.architecture),
        "short": menu.short(candidate.architecture),
    }


def _chosen(
    picked: Sequence[Candidate],
    menu: Menu,
    supernet: Supernet,
    settings: Settings,
    folder: Folder,
    rounds: int,
) -> list[Row]:
    """Judge the trained models, and measure them whole, beside the step that is exact."""
    paths = [folder.model(place) for place in range(1, len(picked) + 1)]
    chains = {str(path): to_chain(read(path)) for path in paths}
    cost = measure({"exact": Chain(settings)} | chains, rounds)
    rows = []
    for candidate, path in zip(picked, paths, strict=True):
        rows.append(
            _row(menu, candidate)
            | {
                "model": path.name,
                "trained_error": supernet.error(chains[str(path)]),
                "measured_ns": cost[str(path)],
                "exact_ns": cost["exact"],
                "scores": read(path).provenance["scores"],
            }
        )
    return rows


def markdown(facts: Mapping[str, Any]) -> str:
    """Tell the front and the chosen."""
    lines = [
        f"`{facts['command']}`",
        "",
        "Error: mean over the variables of 1 - R2 of tendencies on validation, each at most 1.",
        "The front, of shared weights and the table of costs:",
        "",
        "| error | ns per cell | what is learned |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['error']:.2e} | {row['latency_ns']:.1f} | {row['short']} |"
        for row in facts["front"]
    ]
    lines += [
        "",
        "The chosen, trained anew, and measured whole in the native engine:",
        "",
        "| model | error | mean R2 | worst R2 | ns per cell | exact step | what is learned |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in facts["chosen"]:
        scores = row["scores"]
        lines.append(
            f"| {row['model']} | {row['trained_error']:.2e} | {scores[_SCORE]:.6f} | "
            f"{scores['validation worst tendency R2']:.6f} | {row['measured_ns']:.1f} | "
            f"{row['exact_ns']:.1f} | {row['short']} |"
        )
    return "\n".join(lines) + "\n"


def draw_front(facts: Mapping[str, Any], judged: Sequence[Row], path: Path) -> None:
    """Draw error over cost into a PNG: what was judged, the front, the chosen after training."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    def points(rows: Sequence[Row], cost: str, error: str) -> tuple[list[float], list[float]]:
        return [r[cost] for r in rows], [max(r[error], _FLOOR) for r in rows]

    with mpl.rc_context({"font.size": 9.5, "axes.titleweight": "bold"}):
        drawn = Figure(figsize=(8.6, 5.4), layout="constrained")
        axes = drawn.subplots()
        axes.plot(
            *points(judged, "latency_ns", "error"), ".", color="0.7", label="judged", zorder=1
        )
        best = points(facts["front"], "latency_ns", "error")
        axes.step(*best, "o-", where="post", color="C0", lw=1.4, ms=5, label="front")
        chosen = facts["chosen"]
        if chosen:
            measured = points(chosen, "measured_ns", "trained_error")
            axes.plot(*measured, "D", color="C3", mec="black", ms=7, label="chosen, trained anew")
            for row, x, y in zip(chosen, *measured, strict=True):
                name = row["model"].removesuffix(".safetensors")
                axes.annotate(name, (x, y), (6, 5), textcoords="offset points")
            exact = chosen[0]["exact_ns"]
            axes.axvline(exact, color="0.3", ls="--", lw=1.0, label="all exact")
        axes.set_yscale("log")
        axes.set_xlabel("ns per cell and step, one core")
        axes.set_ylabel(f"1 - R2, mean over the variables (least shown {_FLOOR:g})")
        axes.set_title("What DENSE found: error over cost", loc="left")
        axes.grid(which="major", lw=0.3)
        axes.legend()
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=130)


def draw_variables(search: Search, path: Path) -> None:
    """Draw the probabilities of every slot's options over time into a PNG, a column per budget."""
    import matplotlib as mpl
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    free = [place for place, slot in enumerate(search.slots) if len(slot.options) > 1]
    budgets = search.config.budgets_ns
    with mpl.rc_context({"font.size": 8.5}):
        drawn = Figure(figsize=(3.6 * len(budgets) + 2.4, 1.25 * len(free) + 0.8))
        drawn.subplots_adjust(left=0.08, right=0.86, top=0.95, bottom=0.05, wspace=0.12)
        grid = drawn.subplots(len(free), len(budgets), sharex=True, sharey=True, squeeze=False)
        for column, budget in enumerate(budgets):
            rows = [row for row in search.history if row["budget_ns"] == budget]
            times = [row["step"] for row in rows]
            for line, place in enumerate(free):
                axes, slot = grid[line][column], search.slots[place]
                shares = np.array([row["probabilities"][place] for row in rows])
                shares = shares.reshape(len(rows), len(slot.options))
                colours = colormaps["turbo"](np.linspace(0.04, 0.96, len(slot.options)))
                if rows:
                    axes.stackplot(times, shares.T, colors=colours, labels=slot.options, lw=0)
                axes.set_ylim(0.0, 1.0)
                if len(times) > 1:
                    axes.set_xlim(times[0], times[-1])
                if not column:
                    axes.set_ylabel(slot.name)
                if not line:
                    axes.set_title(f"budget {budget:.0f} ns")
                if column == len(budgets) - 1 and rows:
                    _legend(axes, shares[-1])
        for axes in grid[-1]:
            axes.set_xlabel("step")
        with replaced(path) as temporary:
            drawn.savefig(temporary, dpi=120)


def _legend(axes: Any, last: Any) -> None:
    """Name the options beside a panel; of many the five that are likeliest at the end."""
    handles, labels = axes.get_legend_handles_labels()
    order = np.argsort(-last, kind="stable")[:5] if len(labels) > 5 else np.arange(len(labels))
    axes.legend(
        [handles[k] for k in order],
        [labels[k] for k in order],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        fontsize=7.5,
        frameon=False,
        handlelength=1.0,
        labelspacing=0.25,
    )
