"""The command `pyemu`."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

app = typer.Typer(
    help="Emulators of the M7 aerosol microphysics, and its reference.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


class Profile(StrEnum):
    """Generation of M7."""

    ham2 = "ham2"
    m7_2004 = "m7_2004"


class Water(StrEnum):
    """Water uptake."""

    zsr = "zsr"
    kappa = "kappa"


class Nucleation(StrEnum):
    """Nucleation of sulfate."""

    vehkamaki2002 = "vehkamaki2002"
    none = "none"


class Part(StrEnum):
    """What records are for; the seeds of the parts have nothing in common."""

    train = "train"
    validation = "validation"
    test = "test"


class Engine(StrEnum):
    """What runs a model."""

    torch = "torch"
    native = "native"
    native_tf32 = "native-tf32"
    native_3xtf32 = "native-3xtf32"
    native_bf16 = "native-bf16"


class Lost(StrEnum):
    """What to do with missing values."""

    refuse = "refuse"
    keep = "keep"


class Organic(StrEnum):
    """Organic nucleation."""

    none = "none"
    activation = "activation"
    kinetic = "kinetic"


Threads = Annotated[int | None, typer.Option(min=1, help="Threads of torch [default: all].")]
Map = Annotated[
    str | None,
    typer.Option("--map", help="Names and units of foreign records: file or echam_ham."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write what was measured to this file.")]


@app.callback()
def main() -> None:
    """Emulators of the M7 aerosol microphysics, and its reference."""


@app.command(epilog="Example: pyemu box --regime continental_polluted --days 3 --output box.nc")
def box(
    regime: Annotated[str, typer.Option(help="Kind of air.")] = "continental_clean",
    days: Annotated[float, typer.Option(help="Length of the run [d].")] = 3.0,
    timestep: Annotated[float, typer.Option(help="Timestep of M7 [s].")] = 900.0,
    substeps: Annotated[int, typer.Option(help="Parts of the timestep.")] = 1,
    profile: Annotated[Profile, typer.Option(help="Generation of M7.")] = Profile.ham2,
    water: Annotated[Water, typer.Option(help="Water uptake.")] = Water.zsr,
    organic: Annotated[
        Organic | None,
        typer.Option(help="Organic nucleation [default: activation in ham2, none in m7_2004]."),
    ] = None,
    figure: Annotated[Path, typer.Option(help="The figure, PNG.")] = Path("report/box.png"),
    output: Annotated[Path | None, typer.Option(help="The run as netCDF-4.")] = None,
    json: Json = None,
) -> None:
    """Run M7 in one box of air for some days; print a table and draw a figure."""
    from pyemu import boxcard
    from pyemu.box import run, summary
    from pyemu.files import check_target, replaced, write_json
    from pyemu.reference import Config

    with plain_errors():
        targets = (_in_new_folder(figure), output, json)
        for target in targets:
            if target is not None:
                check_target(target)
        if organic is None:
            organic = Organic.activation if profile is Profile.ham2 else Organic.none
        config = Config(profile=profile.value, water=water.value, organic_nucleation=organic.value)
        data = run(regime, days, timestep, config=config, substeps=substeps, watch=progress("M7"))
        facts = summary(data)
        boxcard.box_figure(data, figure)
        if output is not None:
            with replaced(output) as temporary:
                data.to_netcdf(temporary, engine="netcdf4")
        if json is not None:
            write_json(json, facts)
        console = Console()
        console.print(boxcard.box_table(facts))
        for written in targets:
            if written is not None:
                console.print(f"wrote {written}", highlight=False)


@app.command(epilog="Example: pyemu bench, or pyemu bench --sections steps,trunk")
def bench(
    reference: Annotated[
        bool, typer.Option("--reference", help="Time M7 and emulators on one core, no more.")
    ] = False,
    convergence: Annotated[
        bool, typer.Option("--convergence", help="Compare few sub-steps with many.")
    ] = False,
    frontier: Annotated[
        bool, typer.Option("--frontier", help="Error against the converged M7 over cost.")
    ] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Cost of each learned form and layer in the engine.")
    ] = False,
    sections: Annotated[
        str | None,
        typer.Option(help="Of the results page, these alone, with commas [default: all]."),
    ] = None,
    results: Annotated[
        Path, typer.Option(help="What the page is made of; RESULTS.md goes beside it.")
    ] = Path("benchmarks/results.json"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Emulators, names or files [default: shipped; of the page accurate, learned, "
            "converged]."
        ),
    ] = None,
    cells: Annotated[
        int | None, typer.Option(min=16, help="Cells [default: 8192 timed, 8000 judged].")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rounds of timing, for --latency twenty times [default: 15, of the page 25].",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the states.")] = 1,
    days: Annotated[float, typer.Option(min=0, help="Days of --frontier's rollouts.")] = 30.0,
    threads: Annotated[int, typer.Option(min=0, help="For what is not timed, 0: all cores.")] = 1,
    markdown: Annotated[Path, typer.Option(help="Page that --convergence writes.")] = Path(
        "benchmarks/convergence.md"
    ),
    figure: Annotated[
        Path, typer.Option(help="Figure of --frontier; its table goes beside it as .md and .json.")
    ] = Path("benchmarks/frontier.png"),
    json: Json = None,
) -> None:
    """Measure M7 and emulators: their cost, and how far their step is from the converged one.

    Without options everything is timed and benchmarks/RESULTS.md written, in a few minutes.
    """
    from pyemu import bench as harness
    from pyemu import frontier as front
    from pyemu.emulator import shipped
    from pyemu.files import check_target, replaced, write_json

    if sections is not None or not (reference or convergence or frontier or latency):
        from json import loads

        from pyemu.bench.run import run

        with plain_errors():
            if json is not None:
                check_target(json)
            for written in run(
                _in_new_folder(results),
                sections.split(",") if sections else None,
                {
                    name: given
                    for name, given in (
                        ("rounds", rounds),
                        ("models", tuple(model or ())),
                        ("count", cells),
                    )
                    if given
                },
                progress,
            ):
                Console().print(f"wrote {written}", highlight=False)
            if json is not None:
                write_json(json, loads(results.read_text()))
                Console().print(f"wrote {json}", highlight=False)
        return
    rounds = rounds or 15
    console = Console()
    with plain_errors():
        facts: dict[str, Any] = {}
        models = list(shipped()) if model is None else model
        if json is not None:
            check_target(json)
        if convergence:
            check_target(_in_new_folder(markdown))
        if frontier:
            check_target(_in_new_folder(figure))
        facts |= harness.provenance()
        if reference:
            watch = progress("rounds")
            costs = harness.cost(cells or 8192, rounds, seed=seed, models=models, watch=watch)
            facts["reference"] = [asdict(row) for row in costs]
            console.print(harness.cost_table(costs))
        if latency:
            from pyemu.latency import table

            facts["latency"] = table(20 * rounds, seed=seed, watch=progress("rounds"))
            for name, cost in facts["latency"].items():
                console.print(f"{name:28} {cost:8.1f} ns per cell", highlight=False)
        if convergence:
            count = cells or 8000
            rows = harness.convergence(count, seed, watch=progress("timesteps"))
            facts["convergence"] = [asdict(row) for row in rows]
            console.print(harness.convergence_table(rows))
            with replaced(markdown) as temporary:
                temporary.write_text(harness.convergence_markdown(rows, count, seed))
            console.print(f"wrote {markdown}", highlight=False)
        if frontier:
            points = front.frontier(
                models,
                cells or 8000,
                seed=seed,
                rounds=rounds,
                days=days,
                threads=threads,
                watch=progress("frontier"),
            )
            facts["frontier"] = [asdict(point) for point in points]
            front.figure(points, figure)
            page = figure.with_suffix(".md")
            with replaced(page) as temporary:
                command = "pyemu " + " ".join(sys.argv[1:])
                temporary.write_text(front.markdown(points, facts, command))
            write_json(figure.with_suffix(".json"), facts)
            console.print(front.table(points))
            console.print(f"wrote {figure}, {page}", highlight=False)
        console.print(f"{facts['machine']}; {harness.brief(facts['compiler'])}", highlight=False)
        if json is not None:
            write_json(json, facts)
            console.print(f"wrote {json}", highlight=False)


@app.command(
    epilog="Example: pyemu sample train.nc --count 200000 --timestep 450 --timestep 1800 --seed 1"
)
def sample(
    output: Annotated[Path, typer.Argument(help="The records, netCDF-4.")],
    count: Annotated[int, typer.Option(help="Cells.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed.")] = 1,
    part: Annotated[Part, typer.Option(help="Part: none shares a seed.")] = Part.train,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Kinds of air, twice for double share [default: boxes, space_filling; with a "
            "forcing or an emulator, boxes]. Also: spun_up, and alone: host."
        ),
    ] = None,
    timestep: Annotated[
        list[float] | None, typer.Option(help="Timesteps of M7 [s], in turn [default: 900].")
    ] = None,
    between: Annotated[
        bool, typer.Option("--between", help="Draw timesteps between the least and the largest.")
    ] = False,
    substeps: Annotated[str, typer.Option(help="Parts of the timestep, or converged.")] = "1",
    drive: Annotated[
        str | None,
        typer.Option(help="Parts, or converged, that move the air along [default: substeps]."),
    ] = None,
    emulator: Annotated[
        str | None,
        typer.Option(help="Model that moves the air along instead; M7 steps where it went."),
    ] = None,
    days: Annotated[float, typer.Option(help="Days of a box, or of the host.")] = 1.0,
    forcing: Annotated[
        str,
        typer.Option(
            help="Of boxes: present, plus_4k, preindustrial, volcanic_plume, double_dust."
        ),
    ] = "present",
    profile: Annotated[Profile, typer.Option(help="Generation of M7.")] = Profile.ham2,
    water: Annotated[Water, typer.Option(help="Water uptake.")] = Water.zsr,
    nucleation: Annotated[
        Nucleation, typer.Option(help="Nucleation of sulfate.")
    ] = Nucleation.vehkamaki2002,
    organic: Annotated[Organic, typer.Option(help="Organic nucleation.")] = Organic.none,
    labels: Annotated[
        bool, typer.Option("--labels", help="Keep what each process moved, too.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="Threads, 0 for all cores.")] = 0,
    json: Json = None,
) -> None:
    """Make records of M7 from boxes of air, space-filling states or the host; goes on after a kill.

    With --emulator, M7 steps the states that an emulator visits. --part chooses the seeds, and of
    the host the months, so that no two parts share a trajectory.
    """
    from pyemu import sampling
    from pyemu.emulator import path_of
    from pyemu.files import check_target, write_json
    from pyemu.reference import Config

    with plain_errors():
        if json is not None:
            check_target(json)
        given = ["boxes"]
        if emulator is None and forcing == "present":
            given.append("space_filling")
        plan = sampling.Sample(
            count=count,
            seed=seed,
            part=part.value,
            kinds=tuple(kind or given),
            timesteps=tuple(timestep or (900.0,)),
            between=between,
            config=Config(
                profile=profile.value,
                water=water.value,
                nucleation=nucleation.value,
                organic_nucleation=organic.value,
            ),
            substeps=sampling.parts_of_step(substeps),
            drive=None if drive is None else sampling.parts_of_step(drive),
            emulator=None if emulator is None else path_of(emulator),
            days=days,
            forcing=forcing,
            labels=labels,
        )
        facts = sampling.sample(plan, output, threads=threads, watch=progress("records"))
        if json is not None:
            write_json(json, facts)
        Console().print(f"wrote {output}: {count} cells", highlight=False)


@app.command(
    epilog="Example: pyemu train train.nc --validation validation.nc --output model.safetensors"
)
def train(
    records: Annotated[list[Path], typer.Argument(help="Records to learn from, netCDF.")],
    output: Annotated[Path, typer.Option(help="The model file; curves go beside it as CSV.")],
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Records to choose on [default: one trajectory of twenty]."),
    ] = None,
    map: Map = None,  # noqa: A002
    config: Annotated[Path | None, typer.Option(help="TOML file of `TrainConfig`.")] = None,
    learn: Annotated[
        list[str] | None,
        typer.Option(help="Block that a network learns although its exact form is right."),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option(help="Find which M7 made the records, or trust their attributes.")
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and batches.")] = None,
    threads: Threads = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder of events.")] = None,
    json: Json = None,
) -> None:
    """Find which M7 made records, and train a model of it on them; goes on after a kill.

    Blocks whose exact form reproduces the records stay exact, others are learned where they can
    be. Under torchrun, in several processes.
    """
    import os

    import torch

    from pyemu import calibrate as calibration
    from pyemu import train as training
    from pyemu.files import check_target, write_json
    from pyemu.records import open_records
    from pyemu.trainconfig import TrainConfig

    with plain_errors(), _told("training") as tell:
        if json is not None:
            check_target(json)
        if threads is not None:
            torch.set_num_threads(threads)
        chosen = TrainConfig.read(config, seed=seed).learning(learn or ())
        given = open_records(records, map)
        found = None
        if calibrate:
            found = calibration.calibrate(given, threads=torch.get_num_threads())
            if os.environ.get("RANK", "0") == "0":
                _show_calibration(found, training.to_learn(found), output, json)
        model = training.run(
            chosen,
            given,
            training.Files(model=output, tensorboard=tensorboard),
            validation=open_records(validation, map) if validation else None,
            calibration=found,
            origin=records,
            command="pyemu " + " ".join(sys.argv[1:]),
            tell=tell,
        )
        if json is not None:
            write_json(json, model.provenance)
        scores = ", ".join(f"{k} {v}" for k, v in model.provenance["scores"].items())
        networks = ", ".join(model.networks) or "nothing: all blocks are exact"
        Console().print(f"wrote {output}, learned {networks}: {scores}", highlight=False)


@app.command(
    epilog="Example: pyemu evaluate model.safetensors test.nc --baselines train.nc --ood all "
    "--rollout 30 --json r.json"
)
def evaluate(
    model: Annotated[str, typer.Argument(help="A model file, or a shipped model's name.")],
    records: Annotated[
        list[Path] | None, typer.Argument(help="Records that training has not seen.")
    ] = None,
    baselines: Annotated[
        list[Path] | None,
        typer.Option(help="Records to train other networks on; they are kept beside the first."),
    ] = None,
    baseline_cells: Annotated[int, typer.Option(min=256, help="Cells of them used.")] = 50_000,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the baselines.")] = 100,
    cells: Annotated[int | None, typer.Option(min=1, help="At most so many cells.")] = None,
    ood: Annotated[
        list[str] | None,
        typer.Option(help="Other climates to judge on, too: names of `sample --forcing`, or all."),
    ] = None,
    ood_cells: Annotated[int, typer.Option(min=1, help="Cells of each.")] = 10_240,
    rollout: Annotated[
        float | None, typer.Option(help="Run boxes so many days beside the model's teacher.")
    ] = None,
    boxes: Annotated[int, typer.Option(help="Boxes of --rollout.")] = 300,
    timestep: Annotated[float, typer.Option(help="Timestep of --rollout [s].")] = 1800.0,
    any_teacher: Annotated[
        bool, typer.Option("--any-teacher", help="Take records of another M7 than the model's.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="What runs the model.")] = Engine.torch,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:<index>; a GPU is for the native engines.")
    ] = "cpu",
    threads: Threads = None,
    figure: Annotated[Path, typer.Option(help="The figure, PNG; others go beside it.")] = Path(
        "report/evaluate.png"
    ),
    map: Map = None,  # noqa: A002
    json: Json = None,
) -> None:
    """Score a model on records and in long runs, beside networks without physics."""
    import torch

    from pyemu import judging
    from pyemu.files import check_target, write_json

    if not records and rollout is None:
        raise typer.BadParameter("give records, --rollout or both")
    with plain_errors():
        for target in (_in_new_folder(figure), json):
            if target is not None:
                check_target(target)
        if threads is not None:
            torch.set_num_threads(threads)
        console = Console()
        judged = judging.Judge(model, engine.value, device, progress, console.print)
        facts = judged.facts
        if records:
            test = judged.records(records, map, cells, any_teacher=any_teacher)
            if baselines:
                judged.train(baselines, map, baseline_cells, epochs)
            judged.score(test, figure)
            if ood:
                judged.climates(ood, test, ood_cells)
        if rollout is not None:
            judged.roll(rollout, boxes, timestep, figure)
        if json is not None:
            figures = {
                path.stem.removeprefix(f"{figure.stem}_"): str(path.resolve())
                for path in judged.written
            }
            write_json(json, {**facts, "figures": figures})
        for path in judged.written:
            console.print(f"wrote {path}", highlight=False)


@app.command(epilog="Example: pyemu harder X_test.npy y_test.npy harder_test.nc")
def harder(
    inputs: Annotated[Path, typer.Argument(help="X_*.npy (n, 32) of Zenodo record 6583397.")],
    outputs: Annotated[Path, typer.Argument(help="y_*.npy (n, 28), of the same cells.")],
    records: Annotated[Path, typer.Argument(help="The records to write, netCDF-4.")],
    timestep: Annotated[float, typer.Option(help="Of the model that made them [s].")] = 450.0,
) -> None:
    """Turn the public data of Harder et al. (2022) into records."""
    from pyemu import harder as theirs

    with plain_errors():
        count = theirs.to_records(inputs, outputs, records, timestep)
        Console().print(f"wrote {records}: {count} cells", highlight=False)


@app.command(epilog="Example: pyemu search train.nc --validation validation.nc --output found")
def search(
    records: Annotated[list[Path], typer.Argument(help="Records to learn from, netCDF.")],
    output: Annotated[Path, typer.Option(help="Folder of all that is found.")],
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="Records to choose by [default: one trajectory of twenty]."),
    ] = None,
    map: Map = None,  # noqa: A002
    config: Annotated[Path | None, typer.Option(help="TOML file of `SearchPlan`.")] = None,
    learned: Annotated[
        bool | None, typer.Option("--learned", help="Every process learned: no exact forms.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Minutes of the search, before the chosen are trained [default: 12]."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches, draws.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with what the folder holds, or begin anew.")
    ] = True,
    threads: Threads = None,
) -> None:
    """Let DENSE find which processes of M7 to emulate, and by which networks; goes on after a kill.

    Writes the front of error over ns per cell (front.md, .json, .png), the network variables over
    time (variables.png) and the chosen as model files. Under torchrun, in several processes.
    """
    import os

    import torch

    from pyemu import search as searching
    from pyemu.records import open_records

    with plain_errors(), _told("search") as tell:
        if threads is not None:
            torch.set_num_threads(threads)
        plan = searching.SearchPlan.read(config, learned=learned, minutes=budget, seed=seed)
        facts = searching.run(
            plan,
            open_records(records, map),
            output,
            validation=open_records(validation, map) if validation else None,
            origin=[*records, *(validation or ())],
            command="pyemu " + " ".join(sys.argv[1:]),
            resume=resume,
            tell=tell,
        )
        for row in facts["chosen"]:
            Console().print(
                f"{row['model']}: error {row['trained_error']:.2e}, {row['measured_ns']:.0f} ns "
                f"per cell (exact {row['exact_ns']:.0f}): {row['short']}",
                highlight=False,
            )
        if os.environ.get("RANK", "0") == "0":
            Console().print(f"wrote {output}/front.md, front.png, variables.png", highlight=False)


@app.command(
    epilog="Example: pyemu distil learned train.nc --validation held.nc --output new.safetensors"
)
def distil(
    model: Annotated[str, typer.Argument(help="A model file, or a shipped model's name.")],
    records: Annotated[list[Path], typer.Argument(help="Records to learn its errors from.")],
    validation: Annotated[list[Path], typer.Option(help="Records to calibrate on.")],
    output: Annotated[Path, typer.Option(help="The model file with the head.")],
    map: Map = None,  # noqa: A002
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 1,
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Give a model a self-error head: its `uncertainty` is then what 90 % of errors stay below.

    The model's step stays as it is. Judge the head on records of other trajectories: `pyemu
    evaluate` shows coverage and skill.
    """
    from dataclasses import asdict

    import torch

    from pyemu import distil as distilling
    from pyemu.emulator import path_of
    from pyemu.files import check_target, write_json
    from pyemu.records import open_records

    with plain_errors():
        for path in filter(None, (output, json)):
            check_target(path)
        if threads is not None:
            torch.set_num_threads(threads)
        found = distilling.distil(
            path_of(model),
            open_records(records, map),
            open_records(validation, map),
            output,
            distilling.HeadConfig(seed=seed),
            origin=[*records, *validation],
            command="pyemu " + " ".join(sys.argv[1:]),
        )
        if json is not None:
            write_json(json, asdict(found))
        Console().print(
            f"wrote {output}; on validation coverage {found.coverage:.3f}, skill over a constant "
            f"{found.skill:.3f}, rank correlation {found.ranks:.3f}",
            highlight=False,
        )


@app.command(epilog="Example: pyemu exact --profile m7_2004 --output exact_2004.safetensors")
def exact(
    output: Annotated[Path, typer.Option(help="The model file.")],
    profile: Annotated[Profile, typer.Option(help="Generation of M7.")] = Profile.ham2,
    water: Annotated[Water, typer.Option(help="Water uptake.")] = Water.zsr,
    nucleation: Annotated[
        Nucleation, typer.Option(help="Nucleation of sulfate.")
    ] = Nucleation.vehkamaki2002,
    organic: Annotated[Organic, typer.Option(help="Organic nucleation.")] = Organic.none,
    stages: Annotated[
        int, typer.Option(help="Stages of a step, towards the converged M7; 0: M7's single step.")
    ] = 0,
    strides: Annotated[int, typer.Option(help="Strides of a stage.")] = 0,
) -> None:
    """Write a model that learns nothing: M7's own formulas, for the native engine."""
    from pyemu import modelfile
    from pyemu.exchange import exact_model
    from pyemu.reference import Config

    with plain_errors():
        config = Config(
            profile=profile.value,
            water=water.value,
            nucleation=nucleation.value,
            organic_nucleation=organic.value,
        )
        command = "pyemu " + " ".join(sys.argv[1:])
        integration = stages, strides
        made = exact_model(config, title=output.stem, command=command, integration=integration)
        modelfile.write(made, output)
        Console().print(f"wrote {output}", highlight=False)


@app.command(epilog="Example: pyemu online --model first --days 5 --output report")
def online(
    model: Annotated[str, typer.Option(help="Shipped model or model file.")] = "first",
    days: Annotated[float, typer.Option(help="Length of the runs [days].")] = 5.0,
    output: Annotated[Path, typer.Option(help="Folder of runs and figures.")] = Path("report"),
    threads: Annotated[int, typer.Option(min=1, help="OpenMP threads.")] = 2,
    host: Annotated[Path | None, typer.Option(help="The host [default: as built].")] = None,
    json: Json = None,
) -> None:
    """Run the host with M7 and with an emulator from the same start, and compare."""
    from pyemu import comparison, scorecard, steps
    from pyemu import evaluate as judged
    from pyemu import online as hosted
    from pyemu.emulator import path_of
    from pyemu.files import check_target, write_json
    from pyemu.modelfile import read

    console = Console()
    with plain_errors():
        config = hosted.OnlineConfig(
            model=path_of(model), folder=output, days=days, threads=threads, host=host
        )
        json = check_target(json or _in_new_folder(output / "online.json"))
        seconds = hosted.run(config, lambda text: console.print(text, highlight=False))
        facts = hosted.facts(config, seconds)
        cells = judged.some_cells([hosted.records(config)], None, None)
        stepped = steps.on_cells(steps.native(config.model))(cells)
        scores = judged.score(cells, stepped).facts()
        title = f"{read(config.model).title}: tendencies at the states of the M7 run"
        scorecard.figure(cells, stepped.after, output / "tendencies.png", title)
        comparison.series_figure(config, output / "series.png")
        comparison.zonal_figure(config, output / "zonal.png")
        place = {"model_file": str(config.model.resolve()), "folder": str(output.resolve())}
        write_json(json, {**place, **facts, "evaluation": scores})
        console.print(comparison.table(facts, scores))
        console.print(f"wrote {output}/series.png, zonal.png, tendencies.png", highlight=False)


@app.command(
    epilog="Example: pyemu replay 'ham_*.nc' --model first --map echam_ham --output replayed.nc"
)
def replay(
    inputs: Annotated[list[str], typer.Argument(help="netCDF files of states or pairs, or globs.")],
    model: Annotated[str, typer.Option(help="A model file, or a shipped model's name.")],
    output: Annotated[Path, typer.Option(help="The emulated fields; scores go beside it as JSON.")],
    map: Map = None,  # noqa: A002
    timestep: Annotated[
        float | None, typer.Option(help="Of the microphysics [s; default: the map's, the files'].")
    ] = None,
    tendencies: Annotated[
        bool, typer.Option("--tendencies", help="Write tendencies, too.")
    ] = False,
    missing: Annotated[
        Lost, typer.Option(help="Refuse missing values, or keep such cells missing.")
    ] = Lost.refuse,
    dask: Annotated[
        str | None, typer.Option(help="Address of a dask.distributed scheduler that does the work.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:<index>.")] = "cpu",
    cells: Annotated[
        int, typer.Option(min=1, help="Cells at most that the score is taken of.")
    ] = 100_000,
    slab: Annotated[int, typer.Option(min=1, help="Cells in memory at a time.")] = 131_072,
    threads: Annotated[int, typer.Option(min=0, help="Threads, 0 for all cores.")] = 1,
    json: Json = None,
) -> None:
    """Step the states of netCDF output with a model; judge it where the state after M7 is there.

    Takes constant memory, and goes on after a kill.
    """
    from pyemu import replay as replaying
    from pyemu import scorecard
    from pyemu.emulator import path_of
    from pyemu.files import check_target, write_json
    from pyemu.modelfile import read

    console = Console()
    with plain_errors():
        json = check_target(json or output.with_suffix(".json"))
        plan = replaying.Replay(
            model=path_of(model),
            inputs=replaying.expand(inputs),
            output=output,
            map=map,
            timestep=timestep,
            tendencies=tendencies,
            missing=missing.value,
            judged=cells,
            slab=slab,
            device=device,
        )
        done = replaying.replay(plan, threads=threads, dask=dask, watch=progress("slabs"))
        written, facts = [output, json], done.facts
        if done.scores is not None and done.cells is not None and done.stepped is not None:
            content = read(plan.model)
            console.print(scorecard.table({"model": done.scores}, content.title, content.teacher))
            path = output.with_name(f"{output.stem}_tendencies.png")
            title = f"{content.title}: tendencies of the replay"
            scorecard.figure(done.cells, done.stepped.after, path, title)
            written.append(path)
            facts = facts | {"figures": {"tendencies": str(path.resolve())}}
        write_json(json, facts)
        console.print(replaying.told(facts), highlight=False)
        for path in written:
            console.print(f"wrote {path}", highlight=False)


@app.command(epilog="Example: pyemu report report/*.json --output report/report.html")
def report(
    results: Annotated[
        list[str], typer.Argument(help="JSON of evaluate, online and replay, or globs.")
    ],
    output: Annotated[Path, typer.Option(help="The report, HTML.")] = Path("report/report.html"),
    title: Annotated[str | None, typer.Option(help="Title [default: the model's name].")] = None,
) -> None:
    """Put results into one page, figures and all, to be read in a browser or printed."""
    from pyemu import report as page
    from pyemu.files import check_target
    from pyemu.replay import expand

    with plain_errors():
        check_target(_in_new_folder(output))
        for passed in page.write(expand(results), output, title):
            Console().print(f"passed over {passed}: no result", highlight=False)
        Console().print(f"wrote {output}", highlight=False)


@app.command(epilog="Example: pyemu info model.safetensors --json model.json")
def info(
    model: Annotated[Path, typer.Argument(help="A model file.")],
    json: Json = None,
) -> None:
    """Print what a model file holds, after checking all of it."""
    from pyemu import info as told
    from pyemu.files import check_target, write_json
    from pyemu.modelfile import read

    with plain_errors():
        if json is not None:
            check_target(json)
        content = read(model)
        Console().print(told.tables(content))
        if json is not None:
            write_json(json, told.facts(content))


def progress(what: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Wrap steps of long work in a progress bar on standard error."""
    console = Console(stderr=True)
    return lambda steps: track(steps, description=what, console=console, transient=True)


@contextmanager
def _told(what: str) -> Iterator[Callable[[int, int, dict[str, Any]], None]]:
    """Show steps done of long work, and the last losses and scores, on standard error."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None, last="")

        def tell(done: int, total: int, row: dict[str, Any]) -> None:
            shown = [f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, float)]
            bar.update(task, completed=done, total=total, last=", ".join(shown))

        yield tell


def _show_calibration(found: Any, learned: Sequence[str], output: Path, json: Path | None) -> None:
    """Print what calibration found; in JSON at once, as training may refuse it."""
    from pyemu.calibrate import notes, tables
    from pyemu.files import write_json

    console = Console()
    for shown in tables(found, learned):
        console.print(shown)
    for note in notes(found, learned):
        console.print(f"- {note}", highlight=False)
    if json is not None:
        write_json(json, {"model": str(output), "calibration": found.facts()})


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can mend into one line on standard error and exit status 1."""
    try:
        yield
    except (OSError, ValueError) as error:
        Console(stderr=True).print(f"[red]pyemu:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def _in_new_folder(path: Path) -> Path:
    """Make the folder of a default output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
