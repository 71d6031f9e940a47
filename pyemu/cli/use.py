"""Run emulators in the host and on files, and look at what came out."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pyemu.cli.common import Json, Lost, Map, in_new_folder, plain_errors, progress

app = typer.Typer(rich_markup_mode="markdown")


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
        json = check_target(json or in_new_folder(output / "online.json"))
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
        check_target(in_new_folder(output))
        for passed in page.write(expand(results), output, title):
            Console().print(f"passed over {passed}: no result", highlight=False)
        Console().print(f"wrote {output}", highlight=False)


@app.command(epilog="Example: pyemu info model.safetensors --json model.json")
def info(
    model: Annotated[str, typer.Argument(help="A model file, or the name of a shipped one.")],
    json: Json = None,
) -> None:
    """Print what a model file holds, after checking all of it."""
    from pyemu import info as facts
    from pyemu.emulator import path_of
    from pyemu.files import check_target, write_json
    from pyemu.modelfile import read

    with plain_errors():
        if json is not None:
            check_target(json)
        content = read(path_of(model))
        Console().print(facts.tables(content))
        if json is not None:
            write_json(json, facts.facts(content))
