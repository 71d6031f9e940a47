"""Make records of M7, and train emulators on them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pyemu.cli.common import (
    Json,
    Map,
    Nucleation,
    Organic,
    Part,
    Profile,
    Threads,
    Water,
    plain_errors,
    progress,
    told,
)

app = typer.Typer(rich_markup_mode="markdown")


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

    with plain_errors(), told("training") as tell:
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
