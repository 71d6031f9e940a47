"""The torch engine: any model file as its chain in torch, behind the block of `m7emu.h`.

`pyemu.emulator` steps with it for engine="torch". Hosts have it through `libm7emu_torch`
(`bridge/embed`), which starts a Python for them and calls `open_model` and `Model.run` here.
"""

import contextlib
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from pyemu import modelfile
from pyemu._bridge import ffi, lib
from pyemu.exchange import to_chain
from pyemu.variables import DIAGNOSTICS, ENVIRONMENT, MASSES, MODES, NUMBERS, SOLUBLE

LANES = 64
"""Cells are filled up to a multiple of this, as torch computes what is left over by other means,
with other bits. So a cell's bits do not depend on the block on a CPU where all blocks are exact; a
network is BLAS, whose sums depend on the cell's place in the block, within single precision."""
CHUNK = 1024
"""Cells at a time on a CPU: few enough that torch does not share them out among threads."""
CHUNK_ON_GPU = 1 << 18
"""Bounds the memory that a step takes."""

_MOST = 2.0**64
_RANGES = {"pressure": (1e-3, 1e6), "temperature": (50.0, 1000.0)}
"""As in m7emu.h."""
_HUMIDITY = [variable.name for variable in ENVIRONMENT].index("relative_humidity")
_SLACK = 1e-6
_HARMLESS = {"pressure": 1e5, "temperature": 280.0}
"""Stands in for air that is refused."""
_INPUTS = len(ENVIRONMENT)
_PROGNOSTIC = {"h2so4": 1, "mass": len(MASSES), "number": len(NUMBERS)}
_DIAGNOSTIC = {
    "wet_radius": len(MODES),
    "dry_radius": len(SOLUBLE),
    "density": len(MODES),
    "water": len(SOLUBLE),
}
"""Members of a block and how many fields they hold, in the order of the table."""
assert sum(_DIAGNOSTIC.values()) == len(DIAGNOSTICS)


class DeviceError(ValueError):
    """No such device here."""


class Model:
    """An opened model file: any number of threads may step with it.

    Parameters
    ----------
    path
        A model file.
    device
        "cpu", "cuda" or "cuda:<index>".

    Raises
    ------
    OSError
        The file is missing or cannot be read.
    ValueError
        Not a model file, or one that this version does not understand; a device that is not there
        (`DeviceError`).
    """

    def __init__(self, path: Path, device: str) -> None:
        try:
            with path.open("rb") as given:
                given.read(1)
        except OSError as error:
            raise OSError(f"{path}: cannot be read: {error.strerror}") from None
        self._device = torch.device(device)
        if self._device.type == "cuda":
            found = torch.cuda.device_count()
            if (self._device.index or 0) >= found:
                raise DeviceError(f"device '{device}' is not there: torch finds {found} GPUs")
        self._chunk = CHUNK if self._device.type == "cpu" else CHUNK_ON_GPU
        chain = to_chain(modelfile.read(path))
        self._chain = chain.to(self._device).eval().requires_grad_(requires_grad=False)
        with safe_open(path, "pt") as file:
            self.metadata: str = file.metadata()[modelfile.ENTRY]

    def run(self, address: int, single: int) -> tuple[int, None, str]:
        """Step the block at an address, in single precision or double: status and its text."""
        try:
            kind = "m7emu_block_float *" if single else "m7emu_block *"
            self.step(ffi.cast(kind, address))
        except BaseException as error:
            return _status(error, lib.M7EMU_ERROR_ARGUMENT), None, _text(error)
        return lib.M7EMU_OK, None, ""

    @torch.no_grad()
    def step(self, block: Any) -> int:
        """Advance a block (`m7emu_block *` or `m7emu_block_float *` of cffi); M7EMU_OK.

        A cell that is refused, or of which nothing finite comes, is left as it is, with flag 3.

        Raises
        ------
        ValueError
            A timestep out of range, a block of another version. Then nothing has been written.
        """
        wanted = ffi.sizeof(ffi.typeof(block).item)
        if block.struct_size != wanted:
            raise ValueError(f"struct_size is {block.struct_size}, expected {wanted}")
        if not 1e-3 <= block.timestep <= 1e6:
            raise ValueError(f"timestep = {block.timestep} s; allowed is [1e-3, 1e6]")
        if block.kproma > 0 and block.klev > 0:
            with self._stream(block):
                self._step(block)
        return int(lib.M7EMU_OK)

    def _step(self, block: Any) -> None:
        fields = _Fields(block, self._device)
        cells = block.klev * block.kproma
        given = self._gather(fields, cells)  # (34, cells and what fills up)
        air, state = given[:_INPUTS], given[_INPUTS:]
        fit = _fit(given)
        air = torch.where(fit, air, air.new_tensor(_harmless())[:, None])
        air[_HUMIDITY].clamp_(0.0, 1.0)
        before = torch.where(fit, state, 0.0)
        size = self._chunk
        pieces = [
            self._chain(one.T, other.T, block.timestep)
            for one, other in zip(
                air.split(size, dim=1), before.clamp(min=0.0).split(size, dim=1), strict=True
            )
        ]
        after = torch.cat([p.prognostic.T for p in pieces], dim=1)[:, :cells]
        shown = torch.cat([p.diagnostic.T for p in pieces], dim=1)[:, :cells]
        shown = shown.clamp(min=0.0)  # in air as there is none a solution's density is below 0
        flag = torch.cat([p.flag for p in pieces])[:cells]
        bound = torch.cat([p.uncertainty for p in pieces])[:cells]
        negatives = (before < 0.0).sum(dim=0, dtype=torch.int32)[:cells]
        fit = fit[:cells] & after.isfinite().all(dim=0) & shown.isfinite().all(dim=0)

        whole = bool(fit.all())
        for table, found in ((_PROGNOSTIC, after), (_DIAGNOSTIC, shown)):
            for (name, count), rows in zip(
                table.items(), found.split(list(table.values())), strict=True
            ):
                field = fields.get(name, count)
                if field is None:
                    continue
                new = rows.reshape(field.shape)
                if not whole:
                    new = torch.where(fit.view(field.shape[1:]), new, field.to(self._device))
                field.copy_(new)
        told = {
            "flag": torch.where(fit, flag, lib.M7EMU_FLAG_INVALID),
            "uncertainty": torch.where(fit, bound, 1.0),
            "negatives": torch.where(fit, negatives, 0),
        }
        for name, found in told.items():
            field = fields.get(name, 1)
            if field is not None:
                field.copy_(found.view(field.shape))

    def _gather(self, fields: "_Fields", cells: int) -> Tensor:
        """Environment and prognostics (34, n), n a multiple of `LANES`, harmless cells beyond."""
        rows = {variable.name: 1 for variable in ENVIRONMENT} | _PROGNOSTIC
        padded = math.ceil(cells / LANES) * LANES
        given = torch.zeros(sum(rows.values()), padded, dtype=fields.real, device=self._device)
        given[:_INPUTS, cells:] = given.new_tensor(_harmless())[:, None]
        first = 0
        for name, count in rows.items():
            field = fields.get(name, count)
            if field is not None:
                given[first : first + count, :cells].view(field.shape).copy_(field)
            first += count
        return given

    @contextlib.contextmanager
    def _stream(self, block: Any) -> Any:
        """Work on the block's stream; without one, be done when the step returns."""
        if self._device.type == "cpu":
            yield
        elif block.stream == ffi.NULL:
            with torch.cuda.device(self._device):
                yield
                torch.cuda.current_stream().synchronize()
        else:
            place = int(ffi.cast("uintptr_t", block.stream))
            with torch.cuda.stream(torch.cuda.ExternalStream(place, device=self._device)):
                yield


class _Fields:
    """The memory of a block as tensors (n, klev, kproma), not copied."""

    def __init__(self, block: Any, device: torch.device) -> None:
        self.real = torch.float32 if "float" in ffi.typeof(block).cname else torch.float64
        self._block = block
        self._device = device

    def get(self, name: str, count: int) -> Tensor | None:
        """Make a tensor of a member; None where the host has none."""
        pointer = getattr(self._block, name)
        if pointer == ffi.NULL:
            return None
        kproma, kbdim, klev = self._block.kproma, self._block.kbdim, self._block.klev
        shape, strides = (count, klev, kproma), (kbdim * klev, kbdim, 1)
        dtype = torch.int32 if name in ("flag", "negatives") else self.real
        reach = (count * klev - 1) * kbdim + kproma
        if self._block.space == lib.M7EMU_DEVICE:
            memory = torch.as_tensor(_OnDevice(pointer, reach, dtype), device=self._device)
        else:
            memory = torch.frombuffer(ffi.buffer(pointer, reach * dtype.itemsize), dtype=dtype)
        return memory.as_strided(shape, strides)


class _OnDevice:
    """Memory of a GPU, as torch takes it."""

    def __init__(self, pointer: Any, count: int, dtype: torch.dtype) -> None:
        kind = "i" if dtype is torch.int32 else "f"
        self.__cuda_array_interface__ = {
            "shape": (count,),
            "typestr": f"<{kind}{dtype.itemsize}",
            "data": (int(ffi.cast("uintptr_t", pointer)), False),
            "version": 2,
        }


def _harmless() -> list[float]:
    return [_HARMLESS.get(variable.name, 0.0) for variable in ENVIRONMENT]


def _fit(given: Tensor) -> Tensor:
    """Whether a cell's inputs (34, n) are all finite and in their range (n,)."""
    fit = (given.abs() < _MOST).all(dim=0)
    for place, variable in enumerate(ENVIRONMENT):
        if variable.name in _RANGES:
            low, high = _RANGES[variable.name]
            fit &= (given[place] >= low) & (given[place] <= high)
    humidity = given[_HUMIDITY]
    return fit & (-humidity <= _SLACK) & (humidity - 1.0 <= _SLACK)


def open_model(version: int, path: str, device: int) -> tuple[int, Model | None, str]:
    """Open a model for a host: status, model, text. `version` is its M7EMU_ABI_VERSION."""
    own = lib.M7EMU_ABI_VERSION
    if version != own:
        text = f"pyemu has ABI version {own}, the library {version}"
        return lib.M7EMU_ERROR_UNSUPPORTED, None, text
    try:
        name = "cpu" if device == lib.M7EMU_DEVICE_CPU else f"cuda:{device}"
        return lib.M7EMU_OK, Model(Path(path), name), ""
    except BaseException as error:
        return _status(error, lib.M7EMU_ERROR_FORMAT), None, _text(error)


def _status(error: BaseException, value: int) -> int:
    """Find the status of an error; `value` is that of a ValueError."""
    kinds: dict[type[BaseException], int] = {
        DeviceError: lib.M7EMU_ERROR_DEVICE,
        ValueError: value,
        OSError: lib.M7EMU_ERROR_FILE,
        ImportError: lib.M7EMU_ERROR_UNSUPPORTED,
        MemoryError: lib.M7EMU_ERROR_MEMORY,
        torch.OutOfMemoryError: lib.M7EMU_ERROR_MEMORY,
    }
    return next((s for kind, s in kinds.items() if isinstance(error, kind)), _OTHER)


_OTHER = int(lib.M7EMU_ERROR_INTERNAL)


def _text(error: BaseException) -> str:
    told = str(error).replace("\0", "")
    return told if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {told}"
