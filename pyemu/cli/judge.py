"""Judge emulators on records and in long runs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pyemu.cli.common import Engine, Json, Map, Threads, in_new_folder, plain_errors, progress

app = typer.Typer(rich_markup_mode="markdown")


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
        for target in (in_new_folder(figure), json):
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
