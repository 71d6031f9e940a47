"""All of an evaluation in order: what `pyemu evaluate` does, part by part, and tells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import RenderableType

from pyemu import baselines, evaluate, modelfile, rollcard, scorecard, steps
from pyemu.emulator import Engine, path_of
from pyemu.evaluate import Scores
from pyemu.records import Cells, open_records
from pyemu.rollout import RolloutConfig, rollout
from pyemu.scenarios import FORCINGS, PRESENT
from pyemu.steps import Predict, Stepped

Watch = Callable[[Sequence[Any]], Iterable[Any]]

_HALVED = 20_000
"""Cells at most on which two half steps are compared with one."""


class Judge:
    """A model to be judged, and those judged beside it.

    Parameters
    ----------
    model
        A file, or the name of a shipped model.
    engine
        "native" or another of `pyemu.emulator.Engine`; "torch" is the chain in float64.
    device
        As `pyemu.emulator.load` takes it; "cpu" with "torch".
    progress
        Gives, for a word, what wraps the steps of long work.
    show
        Takes tables.

    Attributes
    ----------
    facts
        What was measured, as JSON takes it.
    written
        Figures.
    """

    def __init__(
        self,
        model: str,
        engine: Engine,
        device: str,
        progress: Callable[[str], Watch],
        show: Callable[[RenderableType], None],
    ) -> None:
        path = path_of(model)
        self.model = modelfile.read(path)
        if engine == "torch" and device != "cpu":
            raise ValueError(f"device = {device!r}; engine 'torch' is judged on 'cpu'")
        self.step = (
            steps.in_torch(self.model)
            if engine == "torch"
            else steps.native(path, device=device, engine=engine)
        )
        self.others: dict[str, Predict] = {"persistence": evaluate.persistence}
        self.facts: dict[str, Any] = {
            "model_file": str(path),
            "engine": engine,
            "device": device,
            "teacher": self.model.teacher,
        }
        self.written: list[Path] = []
        self._progress, self._show = progress, show

    def records(
        self, paths: Sequence[Path], map_: str | None, count: int | None, *, any_teacher: bool
    ) -> Cells:
        """Load records; ValueError where they are of another M7 than the model's."""
        if not any_teacher:
            evaluate.check_teacher(self.model, open_records(paths, map_).attrs)
        return evaluate.some_cells(paths, map_, count)

    def train(self, paths: Sequence[Path], map_: str | None, count: int, epochs: int) -> None:
        """Train what is judged beside the model, on records; kept beside the first of them."""
        given = evaluate.some_cells(paths, map_, count)
        hashes = [modelfile.digest(path) for path in paths]
        for kind, label in baselines.LABELS.items():
            config = baselines.BaselineConfig(kind=kind, epochs=epochs)
            folder = paths[0].absolute().parent
            watch = self._progress(label)
            network = baselines.trained(config, given, hashes, folder, watch)
            self.others[label] = _predictor(network)

    def score(self, cells: Cells, figure: Path) -> None:
        """Judge all on records; tables, and figures of the model's tendencies and of groups."""
        stepped = steps.on_cells(self.step)(cells)
        found = evaluate.score(cells, stepped, self.model.self_error)
        scores = {"model": self._with_halves(found, cells)}
        scores |= {name: evaluate.score(cells, other(cells)) for name, other in self.others.items()}
        self.facts |= {name: found.facts() for name, found in scores.items()}
        self._show(scorecard.table(scores, self.model.title, self.model.teacher))
        scorecard.figure(cells, stepped.after, figure, f"{self.model.title}: tendencies of a step")
        groups = _beside(figure, "groups")
        scorecard.groups_figure(scores, groups, f"{self.model.title}: by groups of cells")
        self.written += [figure, groups]

    def climates(self, chosen: Sequence[str], like: Cells, count: int) -> None:
        """Judge all on boxes of other climates, made by the model's teacher."""
        wanted = [n for n in FORCINGS if n != PRESENT] if "all" in chosen else list(chosen)
        teacher = evaluate.teacher_of(self.model)
        sets: dict[str, dict[str, Scores]] = {}
        for name in self._progress("other climates")([PRESENT, *wanted]):
            cells = evaluate.shifted(name, teacher, np.unique(like.timestep), count)
            judged = {"model": steps.on_cells(self.step), **self.others}
            sets[name] = {
                key: evaluate.score(cells, predict(cells), self.model.self_error)
                for key, predict in judged.items()
            }
        self.facts["climates"] = _facts(sets)
        self._show(scorecard.sets_table(sets))

    def roll(self, days: float, boxes: int, timestep: float, figure: Path) -> None:
        """Run boxes beside the teacher, and beside them M7 in other sub-steps."""
        config = RolloutConfig(days=days, boxes=boxes, timestep=timestep)
        switches, parts = evaluate.teacher_of(self.model)
        other = 4 if parts == 1 else 1
        runs = {"model": self.step, f"M7, sub-steps {other}": steps.teacher(switches, other)}
        teacher = steps.teacher(switches, parts)
        found = rollout(config, teacher, runs, self._progress("rollouts"))
        self.facts["rollout"] = {name: run.facts() for name, run in found.items()}
        self._show(rollcard.table(config, found, f"M7, sub-steps {parts}"))
        path = _beside(figure, "rollout")
        rollcard.figure(config, found, path, self.model.title)
        self.written.append(path)

    def _with_halves(self, scores: Scores, cells: Cells) -> Scores:
        """Add two half steps against one, beside the teacher's own difference."""
        switches, parts = evaluate.teacher_of(self.model)
        some = evaluate.thinned(cells, _HALVED)
        return replace(
            scores,
            consistency=evaluate.consistency(self.step, some),
            own_consistency=evaluate.consistency(steps.teacher(switches, parts), some),
        )


def _predictor(network: baselines.Baseline) -> Predict:
    return lambda cells: Stepped(after=baselines.predict(network, cells))


def _facts(sets: Mapping[str, Mapping[str, Scores]]) -> dict[str, Any]:
    return {n: {k: s.facts() for k, s in scores.items()} for n, scores in sets.items()}


def _beside(figure: Path, what: str) -> Path:
    return figure.with_name(f"{figure.stem}_{what}{figure.suffix}")
