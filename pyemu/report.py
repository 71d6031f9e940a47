"""The report: results of evaluation, rollout, online runs and replay as one page (`pyemu report`).

The page is one HTML file that needs nothing else. What each command found is in its JSON; figures
are taken from the paths named there, or drawn here (`pyemu.reportfigures`).
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import xarray as xr

from pyemu import reportfigures as drawn
from pyemu.emulator import path_of
from pyemu.files import replaced
from pyemu.modelfile import Model, read
from pyemu.online import RUNS
from pyemu.scorecard import TARGETS
from pyemu.variables import MODES, SPECIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Facts = Mapping[str, Any]
Rows = Iterable[Sequence[str]]

_KINDS: Mapping[str, set[str]] = {
    "replay": {"inputs", "output", "flags"},
    "online": {"runs", "burden", "folder"},
    "evaluation": {"model_file", "engine"},
}
"""By what a result is known, the first that fits."""
_RUNS = ("M7", "emulator")
_DENSITY = (
    "Predicted against true tendencies",
    "All cells should lie on the dashed diagonal. A cloud beside it is a bias, a cross along the "
    "axes a process that acts in one and not in the other; a wrong sign lies in the upper left or "
    "lower right.",
)


@dataclass(kw_only=True)
class Page:
    """HTML in the making: sections and what is told of each first."""

    parts: list[str] = field(default_factory=list)
    sections: list[tuple[str, str]] = field(default_factory=list)
    tiles: list[str] = field(default_factory=list)

    def section(self, title: str, text: str) -> None:
        """Begin a section."""
        key = f"s{len(self.sections)}"
        self.sections.append((key, title))
        self.parts.append(f'<h2 id="{key}">{escape(title)}</h2><p>{escape(text)}</p>')

    def table(self, head: Sequence[str], rows: Rows, caption: str = "", words: int = 1) -> None:
        """Add a table whose first `words` columns are words, others numbers."""

        def cells(row: Sequence[str], tag: str) -> str:
            kinds = ("" if k < words else ' class="n"' for k in range(len(row)))
            told = zip(kinds, row, strict=True)
            return "".join(f"<{tag}{kind}>{escape(text)}</{tag}>" for kind, text in told)

        top = f"<thead><tr>{cells(head, 'th')}</tr></thead>" if any(head) else ""
        under = f"<caption>{escape(caption)}</caption>" if caption else ""
        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
        self.parts.append(f"<table>{under}{top}<tbody>{body}</tbody></table>")

    def figure(
        self, image: "Path | Figure", title: str, look: str, *, narrow: bool = False
    ) -> None:
        """Add a figure; `look` says what to look for."""
        if isinstance(image, Path):
            content = image.read_bytes()
        else:
            buffer = BytesIO()
            image.savefig(buffer, format="png", dpi=130)
            content = buffer.getvalue()
        coded = base64.b64encode(content).decode()
        kind = ' class="narrow"' if narrow else ""
        self.parts.append(
            f'<figure{kind}><img alt="{escape(title)}" src="data:image/png;base64,{coded}">'
            f"<figcaption><b>{escape(title)}.</b> {escape(look)}</figcaption></figure>"
        )

    def tile(self, what: str, value: str, target: str = "", *, met: bool | None = None) -> None:
        """Add a number that is shown first, with its target."""
        kind = "" if met is None else " met" if met else " missed"
        told = f"{what}{f'; target {target}' if target else ''}"
        self.tiles.append(
            f'<div class="tile{kind}"><b>{escape(value)}</b><span>{escape(told)}</span></div>'
        )

    def html(self, title: str, lead: str) -> str:
        """Put all of it together."""
        links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name in self.sections)
        body = (
            f"<header><h1>{escape(title)}</h1><p class='soft'>{escape(lead)}</p></header>"
            f"<nav>{links}</nav><div class='tiles'>{''.join(self.tiles)}</div>"
            + "\n".join(self.parts)
        )
        page = Template(Path(__file__).with_name("report.html").read_text())
        return page.substitute(title=escape(title), body=body)


def write(paths: Iterable[Path], output: Path, title: str | None = None) -> list[Path]:
    """Write the report of results.

    Parameters
    ----------
    paths
        JSON of `pyemu evaluate`, `online` and `replay`.

    Returns
    -------
    list
        JSON files that hold no such result, passed over.

    Raises
    ------
    ValueError
        None of the files holds a result; a file that is no JSON; a figure or field that is gone.
    """
    results: list[tuple[str, Path, Facts]] = []
    passed = []
    for path in paths:
        facts = _read(path)
        kind = next((k for k, keys in _KINDS.items() if keys <= set(facts)), None)
        if kind is None:
            passed.append(path)
        else:
            results.append((kind, path, facts))
    if not results:
        raise ValueError("no result among the files: give JSON of evaluate, online or replay")
    page = Page()
    model = read(path_of(Path(results[0][2]["model_file"])))
    _model(page, model)
    tell = {"evaluation": _evaluation, "online": _online, "replay": _replay}
    for kind in ("evaluation", "online", "replay"):
        for found, path, facts in results:
            if found == kind:
                _check_model(path, facts, model)
                tell[kind](page, facts, model)
    lead = f"Made by pyemu report from {', '.join(str(path) for _, path, _ in results)}."
    with replaced(output) as temporary:
        temporary.write_text(page.html(title or f"Emulator of M7: {model.title}", lead))
    return passed


def _read(path: Path) -> Facts:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    return facts if isinstance(facts, dict) else {}


def _check_model(path: Path, facts: Facts, model: Model) -> None:
    other = read(Path(facts["model_file"])).title
    if other != model.title:
        raise ValueError(f"{path} is of model {other}, not {model.title}: one report, one model")


def _model(page: Page, model: Model) -> None:
    page.section(
        "The model",
        f"{model.title}, made {model.created}, taught by "
        + ("M7's single step." if model.teacher == "m7" else "the time-converged M7."),
    )
    rows = []
    for block in model.chain:
        data = model.networks.get(block.network) if block.network else None
        layers = "-"
        if data is not None:
            widths = [
                str(len(data.features)),
                *(f"{x.outputs} {x.activation}" for x in data.layers),
            ]
            layers = " - ".join(widths)
        rows.append((block.block, block.form, layers, str(data.parameters) if data else "-"))
    page.table(
        ("block", "form", "layers", "parameters"),
        rows,
        "The chain of blocks in the order of a step. Exact blocks are M7's own formulas; what a "
        "network learned is all that can be wrong.",
        words=3,
    )
    told = [(n, _text(model.settings[n])) for n in ("profile", "water", "nucleation")]
    told += [(n, _text(v)) for n, v in model.provenance.items() if n != "scores"]
    page.table(("", ""), told, "What it stands for, and where it comes from.", words=2)


def _evaluation(page: Page, facts: Facts, model: Model) -> None:
    figures = {k: Path(v) for k, v in facts.get("figures", {}).items()}
    if "model" in facts:
        page.section(
            "One step, on records that training has not seen",
            "R2 is of tendencies in physical units, as a state that does not change at all would "
            "score nearly 1 otherwise. Persistence scores 0.",
        )
        _scores(page, {"model": facts["model"], **_others(facts)}, model.teacher, tiles=True)
        _score_figures(page, facts["model"], figures)
    if facts.get("climates"):
        page.section("Other climates", "The same, in air that no training has seen.")
        first = next(iter(facts["climates"].values()))
        page.table(
            ("air", *first),
            [
                (
                    name.replace("_", " "),
                    *(f"{_n(s['mean_r2'])} ({_n(s['worst_r2'])})" for s in some.values()),
                )
                for name, some in facts["climates"].items()
            ],
            "Mean R2 of tendencies, in brackets the worst variable's.",
        )
    if facts.get("rollout"):
        _rollout(page, facts["rollout"], figures.get("rollout"))


def _others(facts: Facts) -> dict[str, Any]:
    return {
        k: v for k, v in facts.items() if k != "model" and isinstance(v, dict) and "mean_r2" in v
    }


def _scores(page: Page, scores: Mapping[str, Facts], teacher: str, *, tiles: bool) -> None:
    goals = TARGETS[teacher]
    first = next(iter(scores.values()))
    worst = max(first["closure"].values())
    if tiles:
        for what, value, shown in (
            ("mean tendency R2", first["mean_r2"], _n(first["mean_r2"])),
            ("worst variable", first["worst_r2"], _n(first["worst_r2"])),
            ("closure", worst, f"{worst:.1e}"),
            ("negatives", first["negatives"], str(first["negatives"])),
        ):
            met = value is not None and _meets(float(value), goals[what])
            name = f"worst R2, {first['worst_variable']}" if what == "worst variable" else what
            page.tile(name, shown, goals[what], met=met)

    def row(what: str, goal: str, value: Any) -> tuple[str, ...]:
        return (what, *(value(s) for s in scores.values()), goals.get(goal, ""))

    rows = [
        row("mean tendency R2", "mean tendency R2", lambda s: _n(s["mean_r2"])),
        row(
            "worst variable",
            "worst variable",
            lambda s: f"{_n(s['worst_r2'])} {s['worst_variable']}",
        ),
        row("mean asinh R2", "mean asinh R2", lambda s: _n(s["mean_asinh_r2"])),
        row("wrong signs", "wrong signs", lambda s: f"{100 * s['wrong_signs']:.3f} %"),
        row("negatives", "negatives", lambda s: str(s["negatives"])),
        row("largest error of a budget", "closure", lambda s: f"{max(s['closure'].values()):.1e}"),
        row("cells flagged 1, 2, 3", "", lambda s: " ".join(map(str, s["flags"][1:])) or "-"),
    ]
    if any(s.get("calibration") for s in scores.values()):
        for key, label, goal in (
            ("coverage", "cells whose error is below what is expected of 90 %", "90 % coverage"),
            ("skill", "skill of that over a constant", ""),
            ("ranks", "rank correlation of that and the error", ""),
        ):
            rows.append(row(label, goal, lambda s, k=key: _n((s.get("calibration") or {}).get(k))))
    caption = f"{first['cells']} cells."
    if not any(s.get("calibration") for s in scores.values()):
        caption += " The model gives no uncertainty, so there is no calibration to judge."
    page.table(("measure", *scores, "target"), rows, caption)


def _score_figures(page: Page, scores: Facts, figures: Mapping[str, Path]) -> None:
    if "tendencies" in figures:
        page.figure(_there(figures["tendencies"]), *_DENSITY)
    page.figure(
        drawn.variables_figure(scores["r2"]),
        "What R2 lacks to 1, by variable",
        "Left is better. The dashed line is an R2 of 0.99, the full one persistence: a variable "
        "to its right is worse than no emulator.",
        narrow=True,
    )
    if "groups" in figures:
        page.figure(
            _there(figures["groups"]),
            "Error by regime, level, timestep and condition",
            "Look for rows far to the right of the others: air in which the model should not be "
            "trusted. Crosses are the worst variable; far from its dot, one variable is to blame.",
        )


def _rollout(page: Page, runs: Facts, figure: Path | None) -> None:
    first = next(iter(runs.values()))
    page.section(
        "Weeks in boxes",
        f"{first['boxes']} boxes of air, moved by the model and by its teacher in the same "
        "weather: do errors grow, or does the air forget them?",
    )
    if figure is not None:
        page.figure(
            _there(figure),
            "Errors over time",
            "Flat lines below the dashed 2 % are good; lines that rise to the end are drift. Below "
            "the model, M7 itself at another number of sub-steps, as a measure of what matters.",
        )
    quantities = [q for q in first["median"] if q.startswith("total") or " " in q]
    page.table(
        ("median error over boxes and time", *runs),
        [(q, *(_percent(r["median"][q]) for r in runs.values())) for q in quantities]
        + [("boxes that diverge", *(str(r["diverged"]) for r in runs.values()))],
    )
    worst = max(first["median"][q] for q in quantities)
    page.tile("rollouts, worst median error", _percent(worst), "<= 2 %", met=worst <= 0.02)


def _online(page: Page, facts: Facts, model: Model) -> None:
    folder, grid = Path(facts["folder"]), " x ".join(map(str, facts["grid"]))
    page.section(
        "In the host",
        f"{facts['days']:g} days of the host ({grid} cells) with M7 and with the emulator, from "
        "the same start and in the same winds.",
    )
    worst = max(each["largest_difference"] for each in facts["burden"].values())
    number = max(each["largest_difference"] for each in facts["number"].values())
    page.tile("burdens, host", _percent(worst), "<= 1 %", met=worst <= 0.01)
    page.tile("numbers, host", _percent(number), "<= 3 %", met=number <= 0.03)
    rows = []
    for kind, scale, unit, full in (
        ("burden", 1.0, "mg m-2", {s.name: s.long_name for s in SPECIES}),
        ("number", 1e-10, "1e10 m-2", {m.name: m.long_name for m in MODES}),
    ):
        for name, each in facts[kind].items():
            told = (f"{each[run] * scale:.4g}" for run in RUNS)
            gap = _percent(each["largest_difference"])
            rows.append((f"{kind}, {full[name]} [{unit}]", *told, gap))
    page.table(
        ("global mean at the end", *_RUNS, "largest difference"),
        rows,
        "The difference is the largest over time, of M7's largest value.",
    )
    page.figure(
        _there(folder / "series.png"),
        "Global means over time",
        "The thin line of the emulator should lie on M7's broad one. Below, a difference that "
        "levels off is the emulator's own climate; one that grows to the end is drift.",
    )
    paths = [_there(folder / f"host_{run}.nc") for run in RUNS]
    with xr.open_dataset(paths[0]) as m7, xr.open_dataset(paths[1]) as emulator:
        page.figure(
            drawn.burden_maps(m7, emulator),
            "Maps of column amounts, means over the run",
            "Left and middle should not be told apart. On the right, differences that follow "
            "plumes say that a process there is slightly off; a whole hemisphere of one colour "
            "says that a lifetime is.",
        )
        page.figure(
            _there(folder / "zonal.png"),
            "Zonal means of the last day",
            "Look on the right for a level that stands out: the upper troposphere, where new "
            "particles form, and the ground, where they grow, fail for different reasons.",
        )
        page.figure(
            drawn.profiles_figure(m7, emulator),
            "Global mean profiles of the last day",
            "M7 broad, the emulator thin. Lines that part at one height point to the process "
            "that acts there.",
        )
        page.figure(
            drawn.budget_figure({"M7": m7, "emulator": emulator}),
            "Budgets: what each process put in and took out",
            "Microphysics may neither make nor destroy a species: its bars are nothing. Sources "
            "and sinks of the two runs should have the same length.",
        )
    closure = {run: max(facts["runs"][run]["closure"].values()) for run in RUNS}
    page.table(
        ("over the run", *_RUNS),
        [
            ("largest error of a budget, relative", *(f"{closure[run]:.1e}" for run in RUNS)),
            ("negative values", *(str(facts["runs"][run]["negatives"]) for run in RUNS)),
            (
                "seconds in microphysics, over threads",
                *(f"{facts['runs'][run]['seconds_microphysics']:.1f}" for run in RUNS),
            ),
        ],
    )
    page.parts.append("<h3>Tendencies at the states of the M7 run</h3>")
    _scores(page, {"emulator": facts["evaluation"]}, model.teacher, tiles=False)
    page.figure(_there(folder / "tendencies.png"), *_DENSITY)


def _replay(page: Page, facts: Facts, model: Model) -> None:
    inputs = [Path(path).name for path in facts["inputs"]]
    some = inputs[0] + (f" and {len(inputs) - 1} more" if len(inputs) > 1 else "")
    sizes = ", ".join(f"{n} {d}" for d, n in facts["sizes"].items())
    page.section("Replay", f"{facts['cells']} cells of {some} ({sizes} in a file).")
    page.table(
        ("cells", ""),
        [
            *zip(
                ("fine", "extrapolating", "outside", "invalid"),
                map(str, facts["flags"]),
                strict=True,
            ),
            ("missing", str(facts["missing"])),
            ("negative inputs, taken as 0", str(facts["negative_inputs"])),
            ("largest error of a budget", f"{max(facts['closure'].values()):.1e}"),
            ("not in the files, hence default", ", ".join(facts["defaults"]) or "-"),
        ],
        "Cells outside are to go back to M7; many of them say that the model was trained on other "
        "air than this.",
    )
    if "evaluation" in facts:
        _scores(page, {"emulator": facts["evaluation"]}, model.teacher, tiles=False)
        figures = {k: Path(v) for k, v in facts.get("figures", {}).items()}
        _score_figures(page, facts["evaluation"], figures)
        page.tile("replay, mean R2", _n(facts["evaluation"]["mean_r2"]))
    _there(Path(facts["output"]))
    for path in facts["inputs"]:
        _there(Path(path))
    told = {
        "maps": (
            "Maps of tendencies, means over the levels",
            "Red is gained, blue lost. NS shows nucleation, KS coagulation, sulfate of AS "
            "condensation, BC of KI ageing: where M7 is shown, too, the patterns should be one.",
        ),
        "zonal": (
            "Zonal means of tendencies",
            "The same by latitude and level, the ground below. Without M7 beside it, look for "
            "what cannot be: particles that form in warm dry air, ageing where there is no gas.",
        ),
        "profiles": (
            "Global mean profiles of tendencies",
            "The emulator thin, M7 broad where it is known; the axis is linear near 0.",
        ),
    }
    found = drawn.replay_figures(facts)
    for name, figure in found.items():
        page.figure(figure, *told[name])
    if not found:
        page.parts.append(
            "<p class='soft'>No maps: the fields have no regular latitude and longitude beside "
            "another first dimension.</p>"
        )


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: a result names it, but there is no such file")
    return path


def _meets(value: float, goal: str) -> bool:
    if goal.startswith(">="):
        return value >= float(goal.removeprefix(">="))
    return value <= float(goal.removeprefix("<="))


def _n(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.6f}" if 0.99 < value <= 1.0 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:.2g} %"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    return str(value)
