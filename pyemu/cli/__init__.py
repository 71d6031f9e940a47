"""The command `pyemu`: each module holds some of its commands, in the order of `--help`."""

import typer

from pyemu.cli import find, judge, learn, measure, use

app = typer.Typer(
    help="Emulators of the M7 aerosol microphysics, and its reference.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
for group in (measure, learn, judge, find, use):
    app.add_typer(group.app)


@app.callback()
def main() -> None:
    """Emulators of the M7 aerosol microphysics, and its reference."""
