"""Two small simulators to try `pyemu.dense` on; parameters are drawn from a seed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import voigt_profile

Array = NDArray[np.float64]
Range = tuple[float, float]

SPECTRUM: dict[str, Range] = {
    "temperature": (200.0, 310.0),  # K
    "ln_pressure": (-4.0, 0.0),  # ln of atm
    "ln_column_a": (-2.0, 1.5),  # ln of the column at which the strongest line has depth 1
    "ln_column_b": (-2.0, 1.5),
    "shift": (-0.04, 0.04),  # cm-1
    "resolution": (0.01, 0.08),  # standard deviation of the instrument's response, cm-1
}
IMAGE: dict[str, Range] = {
    "einstein_radius": (0.6, 1.4),  # arc seconds, as all that follow
    "shear_1": (-0.15, 0.15),
    "shear_2": (-0.15, 0.15),
    "source_x": (-0.6, 0.6),
    "source_y": (-0.6, 0.6),
    "source_size": (0.12, 0.4),
}
SIMULATED_POINTS, POINTS, WINDOW = 1536, 128, 3.0
SIDE, HALF_WIDTH, CORE = 32, 2.5, 0.05
SECOND_RADIATION, REFERENCE = 1.4388, 296.0  # cm K, K
DOPPLER = 2900.0 * 7.16e-7 / 2.0**0.5 / (2.0 * np.log(2.0)) ** 0.5  # cm-1 per sqrt(K / (g mol-1))


def lines() -> tuple[Array, ...]:
    """Give centre, relative strength, lower-state energy [cm-1], width, mass and gas of lines."""
    rng = np.random.default_rng(2001)
    count = 14
    centre = np.sort(rng.uniform(0.1, WINDOW - 0.1, count))
    strength = rng.uniform(0.15, 1.0, count) ** 2
    energy = rng.uniform(10.0, 1200.0, count)
    width = rng.uniform(0.05, 0.1, count)  # half width at 1 atm, cm-1
    gas = np.arange(count) % 2
    return centre, strength, energy, width, np.where(gas == 0, 16.0, 44.0), gas


def spectrum(parameters: Array) -> Array:
    """Transmission (n, 1, 128) of two gases in an infrared window of 3 cm-1.

    Voigt lines: thermal Doppler width, half width gamma p (296/T)^0.7, strength
    (296/T)^1.5 exp(-c2 E (1/T - 1/296)) (Rothman et al. 1998, JQSRT 60:665, without stimulated
    emission); Beer's law; a Gaussian instrument, and detector elements that average over 12 points.
    """
    step = WINDOW / SIMULATED_POINTS
    wavenumber = (np.arange(SIMULATED_POINTS) + 0.5) * step
    centre, strength, energy, width, mass, gas = lines()
    frequency = np.fft.rfftfreq(3 * SIMULATED_POINTS, step)
    out = np.empty((len(parameters), 1, POINTS))
    for place, (temperature, ln_p, ln_a, ln_b, shift, resolution) in enumerate(parameters):
        column = np.exp(np.where(gas == 0, ln_a, ln_b))
        boltzmann = np.exp(-SECOND_RADIATION * energy * (1.0 / temperature - 1.0 / REFERENCE))
        intensity = strength * boltzmann * (REFERENCE / temperature) ** 1.5
        doppler = DOPPLER * np.sqrt(temperature / mass)
        lorentz = width * np.exp(ln_p) * (REFERENCE / temperature) ** 0.7
        # a line of strength 1 at 1 atm has depth 1 at its centre for column 1
        away = wavenumber[:, None] - centre - shift
        depth = voigt_profile(away, doppler, lorentz) @ (np.pi * 0.07 * column * intensity)
        wide = np.pad(np.exp(-depth), SIMULATED_POINTS, mode="edge")
        response = np.exp(-2.0 * (np.pi * frequency * resolution) ** 2)
        seen = np.fft.irfft(np.fft.rfft(wide) * response, len(wide))
        seen = seen[SIMULATED_POINTS : 2 * SIMULATED_POINTS]
        out[place, 0] = seen.reshape(POINTS, -1).mean(axis=1)
    return out


def image(parameters: Array) -> Array:
    """Surface brightness (n, 1, 32, 32) of a Gaussian source behind an isothermal lens with shear.

    beta = theta - E theta / sqrt(theta^2 + core^2) - Gamma theta (Narayan & Bartelmann 1996,
    arXiv astro-ph/9606001, sections 3.1 and 3.3); pixels average over 4 x 4 rays.
    """
    rays = 4 * SIDE
    axis = ((np.arange(rays) + 0.5) / rays * 2.0 - 1.0) * HALF_WIDTH
    y, x = np.meshgrid(axis, axis, indexing="ij")
    out = np.empty((len(parameters), 1, SIDE, SIDE))
    for place, (radius, shear_1, shear_2, source_x, source_y, size) in enumerate(parameters):
        bend = radius / np.sqrt(x**2 + y**2 + CORE**2)
        from_x = x - bend * x - shear_1 * x - shear_2 * y - source_x
        from_y = y - bend * y - shear_2 * x + shear_1 * y - source_y
        brightness = np.exp(-0.5 * (from_x**2 + from_y**2) / size**2)
        out[place, 0] = brightness.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))
    return out


SIMULATORS: dict[str, tuple[dict[str, Range], Callable[[Array], Array]]] = {
    "spectrum": (SPECTRUM, spectrum),
    "image": (IMAGE, image),
}


def draw(name: str, count: int, seed: int) -> tuple[Array, Array]:
    """Give parameters (count, 6), uniform in their ranges, and what the simulator makes of them."""
    ranges, simulator = SIMULATORS[name]
    low, high = np.array(list(ranges.values())).T
    parameters = np.random.default_rng(seed).uniform(low, high, (count, len(ranges)))
    return parameters, simulator(parameters)
