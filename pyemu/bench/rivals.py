"""The same networks elsewhere: ONNX Runtime, libtorch, torch; each on one core.

A rival that cannot run raises `Missing`, whose text the results page has in place of its numbers.
"""

import hashlib
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyemu._bridge.clock import ffi, lib
from pyemu.bench.clock import Cells, Contender, sets

Array = NDArray[np.float32]
HARDER = (32, 128, 128, 128, 28)
"""Widths of the network of Harder et al. (2022) as the issue has it: three hidden layers."""
_SOURCE = Path(__file__).with_name("libtorch.cpp")
_CACHE = Path.home() / ".cache/m7emu"
_BUFFERS = 64
"""Calls after which ONNX Runtime is given the first inputs again."""


class Missing(Exception):  # noqa: N818  it tells of what is not there
    """A rival that is not installed, or that this machine cannot build."""


@dataclass(frozen=True, kw_only=True)
class Dense:
    """A network of dense layers, ReLU between them, with numbers drawn as torch draws them."""

    widths: tuple[int, ...]

    def layers(self) -> list[tuple[Array, Array]]:
        """Weights (outputs, inputs) and biases of layer after layer."""
        generator = np.random.default_rng(1)
        made = []
        for inputs, outputs in zip(self.widths, self.widths[1:], strict=False):
            size = 1.0 / np.sqrt(inputs)
            drawn = generator.uniform(-size, size, (outputs, inputs + 1)).astype(np.float32)
            made.append((np.ascontiguousarray(drawn[:, :-1]), drawn[:, -1].copy()))
        return made

    def inputs(self, count: int) -> Array:
        """Draw inputs of so many cells (count, inputs)."""
        drawn = np.random.default_rng(2).standard_normal((count, self.widths[0]))
        return drawn.astype(np.float32)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a cell."""
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))


def own(network: Dense, cells: int, block: int, set_name: str) -> tuple[Contender, Array]:
    """Run it in the dense layers of the native engine; also the outputs, filled when it has run."""
    numbers = np.concatenate([part.ravel() for layer in network.layers() for part in layer])
    widths = ffi.new("int32_t[]", network.widths)
    opened = lib.clock_network_open(
        sets().index(set_name), widths, len(network.widths) - 1, _floats(numbers)
    )
    if opened == ffi.NULL:
        raise Missing(f"the native engine has no layers of {max(network.widths)}")
    handle = ffi.gc(opened, lib.clock_network_close)
    rows = network.inputs(cells)
    given = np.ascontiguousarray(rows.reshape(-1, block, rows.shape[1]).transpose(0, 2, 1))
    result = np.zeros((cells // block, network.widths[-1], block), np.float32)

    def seconds() -> float:
        return float(
            lib.clock_network_run(handle, _floats(given), _floats(result), block, cells // block)
        )

    return Contender(
        name="native layers", how=set_name, block=block, cells=cells, seconds=seconds
    ), result.transpose(0, 2, 1)


def _floats(array: Array) -> Any:
    return ffi.cast("float *", array.ctypes.data)


def onnx(network: Dense, cells: int, block: int) -> tuple[Contender, Array]:
    """Run it in ONNX Runtime, called from Python with bound arrays."""
    rows = network.inputs(cells)
    session = _onnx_session(network.layers())
    given = rows.reshape(-1, block, rows.shape[1])
    result = np.zeros((cells // block, block, network.widths[-1]), np.float32)
    seconds = _onnx_seconds(session, given, result)
    return Contender(
        name="ONNX Runtime", how="from Python", block=block, cells=cells, seconds=seconds
    ), result


def onnx_call(cells: int, block: int) -> Contender:
    """Call ONNX Runtime with a network that does nothing: what a call costs."""
    given = np.ones((cells // block, 1, 1), np.float32)
    seconds = _onnx_seconds(_onnx_session([]), given, np.zeros_like(given))
    return Contender(
        name="ONNX Runtime's call", how="from Python", block=block, cells=cells, seconds=seconds
    )


def onnx_scaled(rows: Dense, cells: int, block: int) -> Contender:
    """Run it with float64 in and out and both scaled, as a host would use it."""
    given = rows.inputs(cells).astype(np.float64).reshape(-1, block, rows.widths[0])
    result = np.zeros((cells // block, block, rows.widths[-1]))
    seconds = _onnx_seconds(_onnx_session(rows.layers(), scaled=True), given, result)
    return Contender(
        name="Harder in ONNX Runtime",
        how="from Python",
        block=block,
        cells=cells,
        seconds=seconds,
    )


def _onnx_session(layers: Sequence[tuple[Array, Array]], scaled: bool = False) -> Any:
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise Missing(f"not installed: {error.name} (pip install m7emu[bench])") from None
    nodes: list[Any] = []
    numbers: list[Any] = []
    real = TensorProto.DOUBLE if scaled else TensorProto.FLOAT
    here = "x"

    def then(operation: str, *others: NDArray[Any], **how: Any) -> None:
        nonlocal here
        names = [f"c{len(numbers) + i}" for i in range(len(others))]
        numbers.extend(
            numpy_helper.from_array(one, name) for one, name in zip(others, names, strict=True)
        )
        nodes.append(helper.make_node(operation, [here, *names], [f"h{len(nodes)}"], **how))
        here = f"h{len(nodes) - 1}"

    if scaled:
        then("Sub", np.zeros(layers[0][0].shape[1]))
        then("Div", np.ones(layers[0][0].shape[1]))
        then("Cast", to=TensorProto.FLOAT)
    for place, (weight, bias) in enumerate(layers):
        then("Gemm", weight, bias, transB=1)
        if place + 1 < len(layers):
            then("Relu")
    if scaled:
        then("Cast", to=TensorProto.DOUBLE)
        then("Mul", np.ones(len(layers[-1][1])))
        then("Add", np.zeros(len(layers[-1][1])))
    then("Identity")
    ends = [helper.make_tensor_value_info(name, real, ["n", None]) for name in ("x", here)]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], numbers)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _onnx_seconds(session: Any, given: NDArray[Any], result: NDArray[Any]) -> Callable[[], float]:
    import time

    calls = []
    for place in range(min(len(given), _BUFFERS)):
        binding = session.io_binding()
        for bind, end, array in (
            (binding.bind_input, session.get_inputs()[0].name, given[place]),
            (binding.bind_output, session.get_outputs()[0].name, result[place]),
        ):
            bind(end, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        calls.append(binding)
    order = [calls[place % len(calls)] for place in range(len(given))]

    def seconds(_keep: tuple[NDArray[Any], ...] = (given, result)) -> float:  # ORT only points
        run = session.run_with_iobinding
        began = time.perf_counter()
        for binding in order:
            run(binding)
        return time.perf_counter() - began

    return seconds


class Libtorch:
    """The network in libtorch, in a C++ program of its own, as FTorch runs it in a host."""

    def __init__(self, network: Dense, cells: int) -> None:
        program = _libtorch()
        self.cells = cells
        self.shape = (cells, network.widths[-1])
        self.folder = TemporaryDirectory()
        home = Path(self.folder.name)
        _script(network, home / "network.pt")
        network.inputs(cells).tofile(home / "inputs")
        files = [str(home / name) for name in ("network.pt", "inputs", "outputs")]
        ends = [str(network.widths[0]), str(network.widths[-1])]
        self.process = subprocess.Popen(
            [str(program), *files, *ends], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End the program."""
        self.outputs()
        self.folder.cleanup()

    def contender(self, block: int) -> Contender:
        """Run it in calls of so many cells."""
        to, back = self.process.stdin, self.process.stdout
        assert to is not None
        assert back is not None

        def seconds() -> float:
            to.write(f"{block}\n")
            to.flush()
            said = back.readline()
            if not said:
                raise RuntimeError(f"libtorch ended with status {self.process.wait()}")
            return float(said)

        return Contender(
            name="libtorch",
            how="from C++",
            block=block,
            cells=self.cells,
            seconds=seconds,
            elsewhere=True,
        )

    def outputs(self) -> Array:
        """End the program; what it computed last (cells, outputs)."""
        if self.process.returncode is None:
            self.process.communicate()
        return np.fromfile(Path(self.folder.name) / "outputs", np.float32).reshape(self.shape)


def torch_module(network: Dense) -> Any:
    """Make the network in torch."""
    import torch

    parts: list[Any] = []
    for weight, bias in network.layers():
        layer = torch.nn.Linear(*reversed(weight.shape))
        layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
        parts += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*parts[:-1]).eval().requires_grad_(False)


def _script(network: Dense, path: Path) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is called old; FTorch reads nothing else
        torch.jit.script(torch_module(network)).save(str(path))


def libtorch_program() -> Path:
    """Say where libtorch.cpp is compiled to, one for each torch."""
    import torch

    told = f"{torch.__version__} {torch.__file__} {_SOURCE.read_text()}"
    return _CACHE / f"libtorch-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _libtorch() -> Path:
    """Compile libtorch.cpp into the user's cache, where it is not there yet."""
    import torch

    built = libtorch_program()
    if built.exists():
        return built
    compiler = shutil.which("c++")
    if compiler is None:
        raise Missing("not built: there is no C++ compiler")
    home = Path(torch.__file__).parent
    abi = int(torch.compiled_with_cxx11_abi())
    _CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=_CACHE) as folder:
        temporary = Path(folder) / built.name
        options = [
            *("-std=c++20", "-O2", "-w", f"-D_GLIBCXX_USE_CXX11_ABI={abi}"),
            *(f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}"),
            *(str(_SOURCE), "-o", str(temporary), f"-L{home / 'lib'}"),
            *("-ltorch", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{home / 'lib'}"),
        ]
        done = subprocess.run([compiler, *options], capture_output=True, text=True, check=False)
        if done.returncode:
            wrong = [line for line in done.stderr.splitlines() if "error" in line]
            raise Missing(f"not built: {(wrong or ['?'])[0]}")
        temporary.replace(built)
    return built


def harder_in_torch(cells: int, block: int) -> Contender:
    """Run the whole network of Harder et al. in torch: scaling, network, tendencies in float64."""
    import time

    import torch

    from pyemu.baselines import Baseline

    torch.set_num_threads(1)
    network = Baseline("z", HARDER[0], HARDER[-1]).eval()
    network.size = torch_module(Dense(widths=HARDER))
    rows = torch.from_numpy(Dense(widths=HARDER).inputs(cells).astype(np.float64)).split(block)

    def seconds() -> float:
        began = time.perf_counter()
        for part in rows:
            network(part)
        return time.perf_counter() - began

    return Contender(
        name="Harder in torch", how="from Python", block=block, cells=cells, seconds=seconds
    )


def torch_engine(model: str, block: int, turns: int) -> Contender:
    """Run a whole step in torch, one call of it."""
    import torch

    from pyemu.emulator import load

    torch.set_num_threads(1)
    emulator = load(model, engine="torch")
    environment, prognostic = Cells(block, block).matrices

    def seconds() -> float:
        return emulator.seconds(environment, prognostic, 1800.0, block)

    return Contender(
        name=Path(model).stem,
        how="torch engine",
        block=block,
        cells=block,
        seconds=seconds,
        turns=turns,
    )
