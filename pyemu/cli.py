"""The command `pyemu`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

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


class Organic(StrEnum):
    """Organic nucleation."""

    none = "none"
    activation = "activation"
    kinetic = "kinetic"


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
    from pyemu import report
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
        report.box_figure(data, figure)
        if output is not None:
            with replaced(output) as temporary:
                data.to_netcdf(temporary, engine="netcdf4")
        if json is not None:
            write_json(json, facts)
        console = Console()
        console.print(report.box_table(facts))
        for written in targets:
            if written is not None:
                console.print(f"wrote {written}", highlight=False)


@app.command(epilog="Example: pyemu bench --reference --json reference.json")
def bench(
    reference: Annotated[
        bool, typer.Option("--reference", help="Time the reference on one core.")
    ] = False,
    convergence: Annotated[
        bool, typer.Option("--convergence", help="Compare few sub-steps with many.")
    ] = False,
    cells: Annotated[
        int | None, typer.Option(min=16, help="Cells [default: 8192, or 8000 for --convergence].")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of timing.")] = 15,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the states.")] = 1,
    markdown: Annotated[Path, typer.Option(help="Page that --convergence writes.")] = Path(
        "benchmarks/convergence.md"
    ),
    json: Json = None,
) -> None:
    """Measure the reference: its cost, or how far one step is from the converged one."""
    from pyemu import bench as harness
    from pyemu.files import check_target, replaced, write_json

    if not (reference or convergence):
        raise typer.BadParameter("choose --reference, --convergence or both")
    console = Console()
    with plain_errors():
        facts: dict[str, Any] = {}
        if json is not None:
            check_target(json)
        if convergence:
            check_target(_in_new_folder(markdown))
        facts |= harness.provenance()
        if reference:
            costs = harness.cost(cells or 8192, rounds, seed=seed, watch=progress("rounds"))
            facts["reference"] = [asdict(row) for row in costs]
            console.print(harness.cost_table(costs))
        if convergence:
            count = cells or 8000
            rows = harness.convergence(count, seed, watch=progress("timesteps"))
            facts["convergence"] = [asdict(row) for row in rows]
            console.print(harness.convergence_table(rows))
            with replaced(markdown) as temporary:
                temporary.write_text(harness.convergence_markdown(rows, count, seed))
            console.print(f"wrote {markdown}", highlight=False)
        console.print(f"{facts['machine']}; {harness.brief(facts['compiler'])}", highlight=False)
        if json is not None:
            write_json(json, facts)
            console.print(f"wrote {json}", highlight=False)


def progress(what: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Wrap steps of long work in a progress bar on standard error."""
    console = Console(stderr=True)
    return lambda steps: track(steps, description=what, console=console, transient=True)


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
