"""The training loop: two stages, averaged weights, the best on validation, all of it resumable."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pyemu import checkpoint, metrics
from pyemu.blocks.chain import Chain
from pyemu.blocks.learned import OF_AIR
from pyemu.blocks.network import Network
from pyemu.blocks.settings import Settings
from pyemu.feed import Feed, Share
from pyemu.lessons import (
    SCORED,
    Sheet,
    Steps,
    judge,
    lesson_loss,
    lessons,
    single,
    step_loss,
    steps,
    take_lessons,
    take_steps,
    tendencies,
    weighty,
)
from pyemu.refine import improve
from pyemu.trainconfig import TrainConfig

Row = dict[str, Any]

FORMS, REFINE, STEP = "forms", "refine", "step"
_DAMPING = 0.1
_SAME = 25
"""Refining steps of nucleation on the same cells, few of which are at the edge that matters. The
others keep theirs: with new ones, what is gained is lost again."""
_CLIP = 1.0
_CHOICE = 4
"""Of so many cells one is refined on, by weight."""


class Loop:
    """A training run between two of its steps."""

    def __init__(
        self,
        config: TrainConfig,
        chosen: Settings,
        share: Share,
        held: Share,
        rank: int = 0,
        world: int = 1,
        integration: tuple[int, int] = (0, 0),
    ) -> None:
        self.config, self.done, self.rows = config, 0, list[Row]()
        networks = config.networks()
        self.learner = Learner(Chain(chosen, networks, integration), config.asinh)
        # Over past weights:
        self.mean = Learner(Chain(chosen, config.networks(), integration), config.asinh)
        self._whole: torch.nn.Module = self.learner
        if world > 1:
            self._whole = DistributedDataParallel(
                self.learner, broadcast_buffers=False, find_unused_parameters=True
            )
        sample = share.spread(config.calibration)
        for name, lesson in lessons(chosen, sample, config.forms).items():
            flat = [t.reshape(-1, t.shape[-1]) for t in lesson]
            features, there, targets, known = flat
            networks[name].calibrate(features, targets, there, known)
        self.learner.scale = steps(sample).truth.std(dim=0)
        held_cells = held.spread(config.validation)
        self._sheet = single(lessons(chosen, held_cells, config.forms))
        self._steps = steps(held_cells)
        self._refined = [n for n in config.learned if n in OF_AIR and config.refine_steps]
        forms = config.forms
        plain = {n: f for n, f in forms.items() if n not in self._refined} or forms
        refined = {n: forms[n] for n in self._refined}
        least = min((len(networks[n].targets) for n in self._refined), default=1)
        drawn: dict[str, Any] = {"seed": config.seed, "rank": rank, "world": world}
        drawn["buffer"] = config.buffer
        self._feeds: dict[str, Feed[Any]] = {
            FORMS: Feed(
                share,
                lambda cells: single(lessons(chosen, cells, plain)),
                take_lessons,
                batch=config.forms_batch,
                **drawn,
            ),
            REFINE: Feed(
                share,
                lambda cells: single(lessons(chosen, cells, refined)),
                take_lessons,
                batch=_CHOICE * config.refine_batch // least,
                **drawn,
            ),
            STEP: Feed(share, steps, take_steps, batch=config.step_batch, **drawn),
        }
        self._best = {name: t.clone() for name, t in self.learner.state_dict().items()}
        self._error, self._loss, self._count = math.inf, 0.0, 0
        self._damping = dict.fromkeys(self._refined, _DAMPING)
        self._errors = dict[str, float]()
        self._begin()

    @property
    def stage(self) -> str:
        """Stage of the next step."""
        if self.done < self.config.forms_steps:
            return FORMS
        return REFINE if self.done < self._first(STEP) else STEP

    def _first(self, stage: str) -> int:
        """Count the steps before a stage."""
        config = self.config
        refined = config.forms_steps + config.refine_steps
        return {FORMS: 0, REFINE: config.forms_steps, STEP: refined}[stage]

    def step(self) -> Row | None:
        """Make one step; a row of the curves where one is due."""
        config, stage = self.config, self.stage
        first = self._first(stage)
        if stage == REFINE:
            return self._refine(self.done - first)
        length = config.forms_steps if stage == FORMS else config.step_steps
        if stage == STEP and self.done == first:
            self.learner.load_state_dict(self._best)
            self._begin()
            self._error = 1.0 - metrics.mean(judge(self.mean.chain, self._steps))
        rate = config.forms_rate if stage == FORMS else config.step_rate
        rate *= 0.5 * (1.0 + math.cos(math.pi * (self.done - first) / length))
        self._optimizer.param_groups[0]["lr"] = rate
        loss = self._whole(self._feeds[stage](self.done - first))
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), _CLIP)
        self._optimizer.step()
        self._average(self.done - first)
        self._loss, self._count = self._loss + float(loss.detach()), self._count + 1
        self.done += 1
        if self.done % config.curve_every and self.done not in (config.forms_steps, config.total):
            return None
        return self._judge(stage, rate)

    def _refine(self, step: int) -> Row | None:
        """Make one step of the second stage, which takes the best weights further."""
        if step == 0:
            self.learner.load_state_dict(self._best)
            self.mean.load_state_dict(self._best)
            self._keep()
        for name in self._refined:
            network = self.learner.chain.networks[name]
            assert isinstance(network, Network)
            count = max(1, self.config.refine_batch // len(network.targets))
            draw = step // _SAME if name == "nucleation" else 0
            sheet = self._feeds[REFINE](draw)
            lesson = weighty(sheet[name], count, [self.config.seed, draw])
            damping = self._damping[name]
            self._damping[name], error = improve(
                network, lesson.features, lesson.there, lesson.targets, lesson.known, damping
            )
            self._loss += error / len(self._refined)
        self.mean.load_state_dict(self.learner.state_dict())
        self._count, self.done = self._count + 1, self.done + 1
        if self.done % self.config.curve_every and self.done != self._first(STEP):
            return None
        return self._judge(REFINE, 0.0)

    def _begin(self) -> None:
        """Begin a stage: a new optimizer, and the mean weights where the weights are."""
        self.mean.load_state_dict(self.learner.state_dict())
        self._optimizer = torch.optim.AdamW(
            self.learner.parameters(), lr=0.0, weight_decay=self.config.weight_decay
        )

    @torch.no_grad()
    def _average(self, step: int) -> None:
        memory = min(self.config.ema, (1.0 + step) / (10.0 + step))
        for mean, new in zip(self.mean.parameters(), self.learner.parameters(), strict=True):
            mean.lerp_(new, 1.0 - memory)

    @torch.no_grad()
    def _judge(self, stage: str, rate: float) -> Row:
        """Judge the mean weights on validation, and keep them if they are the best yet."""
        row: Row = {"step": self.done, "stage": stage, "rate": rate}
        row["loss"] = self._loss / self._count
        row["validation"] = float(self.mean(self._sheet))
        error = row["validation"]
        if stage == REFINE:
            self._keep()
        if stage == STEP or self.done in (self.config.forms_steps, self._first(STEP)):
            score = metrics.mean(judge(self.mean.chain, self._steps))
            row["mean_r2"] = score
            error = 1.0 - score if stage == STEP else error
        if stage != REFINE and error < self._error:
            self._error = error
            self._best = {name: t.clone() for name, t in self.mean.state_dict().items()}
        self._loss, self._count = 0.0, 0
        self.rows.append(row)
        return row

    @torch.no_grad()
    def _keep(self) -> None:
        """Keep each refined network whose own error is its least yet, whatever the others do."""
        now = self.mean.state_dict()
        for name in self._refined:
            network = self.mean.chain.networks[name]
            assert isinstance(network, Network)
            error = float(lesson_loss(network, self._sheet[name]))
            if error < self._errors.get(name, math.inf):
                self._errors[name] = error
                prefix = f"chain.networks.{name}."
                self._best |= {key: t.clone() for key, t in now.items() if key.startswith(prefix)}

    def best(self) -> Chain:
        """Chain of the weights that were best on validation."""
        self.mean.load_state_dict(self._best)
        return self.mean.chain

    def scores(self) -> dict[str, Any]:
        """How good they are there."""
        return scores(self.best(), self._steps)

    def state(self, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], Row]:
        """All that the rest of the run depends on: tensors and plain values."""
        parts = {
            "weights": self.learner.state_dict(),
            "mean": self.mean.state_dict(),
            "best": self._best,
            "optimizer": checkpoint.flat(self._optimizer),
        }
        tensors = {
            f"{part}.{name}": t for part, found in parts.items() for name, t in found.items()
        }
        plain = {
            "done": self.done,
            "damping": self._damping,
            "errors": self._errors,
            "error": self._error,
            "loss": self._loss,
            "count": self._count,
        }
        return tensors, {**plain, "rows": self.rows, "identity": dict(identity)}

    def start(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Go on from the checkpoint `path`, if there is one; ValueError if it is another run's."""
        if not path.exists():
            return
        tensors, told = checkpoint.read(path)
        if told["identity"] != checkpoint.plain(identity):
            raise ValueError(f"{path} is the checkpoint of another run; delete it to start anew")
        self.learner.load_state_dict(checkpoint.under("weights", tensors))
        self.mean.load_state_dict(checkpoint.under("mean", tensors))
        self._best = checkpoint.under("best", tensors)
        checkpoint.restore(self._optimizer, checkpoint.under("optimizer", tensors))
        self.done, self.rows = told["done"], told["rows"]
        self._error, self._loss, self._count = told["error"], told["loss"], told["count"]
        self._damping, self._errors = told["damping"], told["errors"]


def scores(chain: Chain, given: Steps) -> dict[str, Any]:
    """Mean and worst R2 of the tendencies of validation, as the model file tells them."""
    found = judge(chain, given)
    name, worst = metrics.worst(found)
    return {
        "validation mean tendency R2": metrics.mean(found),
        "validation worst tendency R2": worst,
        "validation worst variable": name,
    }


class Learner(torch.nn.Module):
    """A chain and its losses: one forward for both stages, as DDP wants it."""

    scale: Tensor

    def __init__(self, chain: Chain, asinh: float) -> None:
        super().__init__()
        self.chain, self._asinh = chain, asinh
        self.register_buffer("scale", torch.zeros(len(SCORED), dtype=torch.float64))

    def forward(self, batch: Sheet | Steps) -> Tensor:
        """Loss of a batch of lessons or of steps."""
        if isinstance(batch, Steps):
            change = tendencies(self.chain, batch)
            return step_loss(change, batch.truth, self.scale, self._asinh)
        losses = []
        for name, lesson in batch.items():
            network = self.chain.networks[name]
            assert isinstance(network, Network)
            losses.append(lesson_loss(network, lesson))
        return torch.stack(losses).sum()
