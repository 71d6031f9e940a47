"""Make models in other ways: by search, with a head for their error, without learning."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pyemu.cli.common import (
    Json,
    Map,
    Nucleation,
    Organic,
    Profile,
    Threads,
    Water,
    plain_errors,
    told,
)

app = typer.Typer(rich_markup_mode="markdown")


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

    with plain_errors(), told("search") as tell:
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
