"""Run M7 in a box, and measure what M7 and emulators cost."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pyemu.cli.common import Json, Organic, Profile, Water, in_new_folder, plain_errors, progress

app = typer.Typer(rich_markup_mode="markdown")


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
        targets = (in_new_folder(figure), output, json)
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
                in_new_folder(results),
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
            check_target(in_new_folder(markdown))
        if frontier:
            check_target(in_new_folder(figure))
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
