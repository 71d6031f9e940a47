"""The whole benchmark: measure, then write the page and its figure."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyemu.bench import figures, page
from pyemu.bench.clock import Watch
from pyemu.bench.sections import SECTIONS, Plan, measure
from pyemu.files import check_target, replaced


def run(
    path: Path,
    wanted: Sequence[str] | None,
    given: Mapping[str, Any],
    watch: Callable[[str], Watch] = lambda _: iter,
) -> Iterator[Path]:
    """Measure sections, all by default, and name the files as they are written.

    Parameters
    ----------
    path
        The JSON; RESULTS.md and a figure go beside it. frontier.json and gpu.json are read there,
        and the README of the folder above gets the first table, between its marks.
    given
        Members of `Plan`.
    """
    check_target(path)
    results = dict(measure(path, tuple(wanted or SECTIONS), Plan(**given), watch))
    yield path
    results["frontier"] = _beside(path, "frontier.json").get("frontier")
    results["gpu"] = _beside(path, "gpu.json") or None
    drawn = path.with_suffix(".png")
    figures.draw(results, drawn)
    yield drawn
    yield _written(path.with_name("RESULTS.md"), page.markdown(results, [drawn.name]))
    readme = path.absolute().parents[1] / "README.md"
    if "steps" in results["sections"] and readme.exists() and page.BEGIN in readme.read_text():
        yield _written(readme, page.inserted(readme.read_text(), page.headline(results)))


def _beside(path: Path, name: str) -> dict[str, Any]:
    other = path.with_name(name)
    if not other.exists():
        return {}
    try:
        return dict(json.loads(other.read_text()))
    except ValueError as error:
        raise ValueError(f"{other}: not JSON ({error})") from None


def _written(path: Path, text: str) -> Path:
    with replaced(path) as temporary:
        temporary.write_text(text)
    return path
