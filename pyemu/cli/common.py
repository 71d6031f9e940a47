"""What the commands share: choices, options, progress, and errors that a user can mend."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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


def progress(what: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Wrap steps of long work in a progress bar on standard error."""
    console = Console(stderr=True)
    return lambda steps: track(steps, description=what, console=console, transient=True)


@contextmanager
def told(what: str) -> Iterator[Callable[[int, int, dict[str, Any]], None]]:
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


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a user can mend into one line on standard error and exit status 1."""
    try:
        yield
    except (OSError, ValueError) as error:
        Console(stderr=True).print(f"[red]pyemu:[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


def in_new_folder(path: Path) -> Path:
    """Make the folder of a default output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
