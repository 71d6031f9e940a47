"""The emulator in Python: a model file, opened by an engine, stepped like the reference."""

import math
import operator
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pyemu import ondevice
from pyemu._bridge import ffi, lib
from pyemu.state import Matrix, State, pack, unpack
from pyemu.variables import (
    DIAGNOSTICS,
    ENVIRONMENT,
    MASSES,
    MODES,
    PROGNOSTICS,
    SOLUBLE,
    index,
    unknown,
)

Engine = Literal["native", "native-tf32", "native-3xtf32", "native-bf16", "torch"]

SHIPPED = Path(__file__).with_name("models")
"""Folder of the models that come with the package, as `<name>.safetensors`."""
CHUNK = 1024
"""Cells that a thread takes at a time: whole lanes of every processor."""

_ARGUMENTS = {lib.M7EMU_ERROR_ARGUMENT, lib.M7EMU_ERROR_DEVICE}
_FILES = {lib.M7EMU_ERROR_FILE}
_INSIDE = {lib.M7EMU_ERROR_INTERNAL, lib.M7EMU_ERROR_MEMORY}


def shipped() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.safetensors")))


def load(name_or_path: str | Path, device: str = "cpu", engine: Engine = "native") -> "Emulator":
    """Open an emulator.

    Parameters
    ----------
    name_or_path
        A name of `shipped()`, or the path of a model file (see `pyemu.modelfile`).
    device
        "cpu", "cuda" or "cuda:<index>".
    engine
        "native", on a GPU by `libm7emu_cuda`; "torch" runs the chain of blocks in torch
        (`pyemu.torchengine`), which is the way to models that the native engine does not know.
        "native-tf32", "native-3xtf32" and "native-bf16" multiply in a model's networks on tensor
        cores of an NVIDIA GPU (docs/gpu.md).

    Raises
    ------
    OSError
        The file is missing or cannot be read.
    ValueError
        Not a model file, or one that this version does not understand: the message says why; an
        unknown device or engine, a GPU that is not there.
    """
    if engine not in get_args(Engine):
        allowed = ", ".join(map(repr, get_args(Engine)))
        raise ValueError(f"engine = {engine!r}; allowed is {allowed}")
    place = _device(device)
    path = path_of(name_or_path)
    if engine == "torch":
        from pyemu.torchengine import Model

        opened = Model(path, device)
        return Emulator(path, opened.metadata, opened.step)
    options = ffi.new("m7emu_options *")
    options.struct_size = ffi.sizeof("m7emu_options")
    options.device = place
    name = ffi.new("char[]", engine.encode())
    options.engine = name
    given = ffi.new("m7emu_model **")
    _check(lib.m7emu_open(os.fsencode(path), options, given))
    model = ffi.gc(given[0], lib.m7emu_close)
    text = ffi.new("char **")
    _check(lib.m7emu_metadata(model, ffi.cast("const char **", text)))
    steps = {
        ffi.typeof("m7emu_block *"): lib.m7emu_step,
        ffi.typeof("m7emu_block_float *"): lib.m7emu_step_float,
    }

    def advance(block: Any) -> int:
        return int(steps[ffi.typeof(block)](model, block))

    return Emulator(path, ffi.string(text[0]).decode(), advance)


class Emulator:
    """An opened model, read-only: any number of threads may step with it. Made by `load`."""

    def __init__(self, path: Path, metadata: str, advance: Callable[[Any], int]) -> None:
        self.path = path
        self.metadata = metadata
        """What the model file says of itself, as JSON (see `pyemu.modelfile`)."""
        self._advance = advance  # a block of m7emu.h -> status

    def step(self, state: State, timestep: float, *, threads: int = 1) -> dict[str, NDArray[Any]]:
        """Advance cells by one timestep; the state is not changed.

        Parameters
        ----------
        state
            As `pyemu.reference.step` takes it.
        timestep
            [s]
        threads
            Python threads, 0 for all cores; the GIL is released. Results do not depend on it.

        Returns
        -------
        dict
            26 prognostics and 22 diagnostics after the step, float64 (ncell,); `flag`, int32
            (ncell,): 0 fine, 1 extrapolating, 2 outside, 3 invalid and left unchanged;
            `uncertainty`, float64 (ncell,): what 90 % of such cells' errors stay below [1]
            (`pyemu.uncertainty`), 0 of models without a self-error head; `negatives`, int32
            (ncell,): negative inputs taken as 0.

        Raises
        ------
        ValueError
            Bad input, naming variable, index, value and allowed range.
        """
        if not (math.isfinite(timestep) and timestep > 0.0):
            raise ValueError(f"timestep = {timestep}; allowed is (0, inf)")
        workers = operator.index(threads)
        if workers < 0:
            raise ValueError(f"threads = {threads}; allowed is [0, inf)")
        environment, prognostic = pack(state)
        ncell = len(environment)
        diagnostic = np.zeros((ncell, len(DIAGNOSTICS)), order="F")
        flag, negatives = np.zeros((2, ncell), dtype=np.int32)
        uncertainty = np.zeros(ncell)
        arrays = (environment, prognostic, diagnostic, flag, uncertainty, negatives)

        def advance(first: int) -> None:
            count = min(size, ncell - first)
            _check(self._advance(_block(arrays, first, count, timestep)))

        workers = workers or len(os.sched_getaffinity(0))
        size = CHUNK if workers > 1 else max(ncell, 1)
        starts = range(0, ncell, size)
        if workers > 1:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(advance, starts))
        else:
            for first in starts:
                advance(first)
        after = unpack(prognostic, PROGNOSTICS) | unpack(diagnostic, DIAGNOSTICS)
        return {**after, "flag": flag, "uncertainty": uncertainty, "negatives": negatives}

    def step_in_place(
        self, fields: Mapping[str, Any], timestep: float, *, stream: int | None = None
    ) -> None:
        """Advance fields in the memory of the emulator's GPU: nothing is copied or allocated.

        Parameters
        ----------
        fields
            Members of the block of `m7emu.h` by name, shapes (klev, kbdim) and (n, klev, kbdim):
            see `pyemu.ondevice.block`. "h2so4", "mass" and "number" are changed in place, those
            that follow them in the header are written where they are given.
        timestep
            [s]
        stream
            A CUDA stream (`torch.cuda.current_stream().cuda_stream`), which is not waited for;
            without one, the step is done when this returns.

        Raises
        ------
        ValueError
            A field that is unknown, missing, of another kind or elsewhere; an emulator on a CPU.
        """
        _check(self._advance(ondevice.block(fields, timestep, stream or 0)))

    def seconds(
        self, environment: Matrix, prognostic: Matrix, timestep: float, columns: int
    ) -> float:
        """Time a step of all cells in calls of `columns` at a time, as a host makes them [s].

        Parameters
        ----------
        environment, prognostic
            (ncell, 8) and (ncell, 26), of `pyemu.state.pack`; they are not changed.
        timestep
            [s]
        columns
            Cells of a call; the last call may have fewer.
        """
        calls = []
        for first in range(0, len(environment), columns):
            part = slice(first, first + columns)
            given = np.asfortranarray(environment[part])
            moved = np.array(prognostic[part], order="F")
            shown = np.zeros((len(given), len(DIAGNOSTICS)), order="F")
            flag, negatives = np.zeros((2, len(given)), dtype=np.int32)
            arrays = (given, moved, shown, flag, np.zeros(len(given)), negatives)
            calls.append((arrays, _block(arrays, 0, len(given), timestep)))
        began = time.perf_counter()
        statuses = [self._advance(block) for _, block in calls]
        taken = time.perf_counter() - began
        for status in statuses:
            _check(status)
        return taken


_PROGNOSTIC = {"h2so4": "h2so4", "mass": MASSES[0].name, "number": f"num_{MODES[0].name}"}
_DIAGNOSTIC = {
    "wet_radius": f"wet_radius_{MODES[0].name}",
    "dry_radius": f"dry_radius_{SOLUBLE[0].name}",
    "density": f"density_{MODES[0].name}",
    "water": f"water_{SOLUBLE[0].name}",
}
"""Members of the block, and the variables that their arrays begin with."""


def _block(arrays: tuple[NDArray[Any], ...], first: int, count: int, timestep: float) -> Any:
    """Describe cells `first` to `first + count` of columns (ncell, n) as a block of one level."""
    environment, prognostic, diagnostic, flag, uncertainty, negatives = arrays
    block = ffi.new("m7emu_block *")
    block.struct_size = ffi.sizeof("m7emu_block")
    block.space = lib.M7EMU_HOST
    block.kproma, block.kbdim, block.klev = count, len(environment), 1
    block.timestep = timestep
    for place, variable in enumerate(ENVIRONMENT):
        setattr(block, variable.name, _pointer(environment, place, first))
    for member, name in _PROGNOSTIC.items():
        setattr(block, member, _pointer(prognostic, index(name, PROGNOSTICS), first))
    for member, name in _DIAGNOSTIC.items():
        setattr(block, member, _pointer(diagnostic, index(name, DIAGNOSTICS), first))
    block.flag = ffi.cast("int32_t *", flag.ctypes.data) + first
    block.uncertainty = ffi.cast("double *", uncertainty.ctypes.data) + first
    block.negatives = ffi.cast("int32_t *", negatives.ctypes.data) + first
    return block


def _pointer(matrix: Matrix, column: int, first: int) -> Any:
    return ffi.cast("double *", matrix.ctypes.data) + (column * len(matrix) + first)


def _device(name: str) -> int:
    kind, colon, number = name.partition(":")
    if name == "cpu":
        return int(lib.M7EMU_DEVICE_CPU)
    if kind == "cuda" and (not colon or (number.isascii() and number.isdigit())):
        return int(number or 0)
    raise ValueError(f"device = {name!r}; allowed is 'cpu', 'cuda', 'cuda:<index>'")


def path_of(name_or_path: str | Path) -> Path:
    """Find a shipped model by its name; anything else is a path."""
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and path.name == name_or_path and not path.suffix:
        known = SHIPPED / f"{name_or_path}.safetensors"
        if known.exists():
            return known
        if not path.exists():
            raise FileNotFoundError(
                f"no model is shipped under this name, and no such file: "
                f"{unknown(name_or_path, shipped())}"
            )
    return path


def _check(status: int) -> None:
    """Raise what a status of the library means, with its text."""
    if status == lib.M7EMU_OK:
        return
    text = ffi.new("char[]", lib.m7emu_message(ffi.NULL, 0) + 1)
    lib.m7emu_message(text, len(text))
    message = ffi.string(text).decode(errors="replace")
    if status in _FILES:
        raise OSError(message)
    raise (RuntimeError if status in _INSIDE else ValueError)(message)
