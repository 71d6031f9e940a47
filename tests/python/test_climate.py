"""Climate of host output: means and differences of fields whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pyemu.climate import (
    BANDS,
    QUANTITIES,
    REGIONS,
    compare,
    drift,
    load,
    means,
    nearer,
    trend,
)

MONTHS, LEVELS, ROWS, COLUMNS = 12, 10, 12, 4


@pytest.fixture
def output() -> xr.Dataset:
    """Twelve months that are 1 in the south and 3 in the north, everywhere in height."""
    edges = np.linspace(90.0, -90.0, ROWS + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    interfaces = np.linspace(0.0, 1.0, LEVELS + 1)
    data: dict[str, tuple[str | tuple[str, ...], np.ndarray]] = {
        "surface_pressure": (("time", "lat", "lon"), np.full((MONTHS, ROWS, COLUMNS), 1e5)),
        "hyai": ("ilev", np.zeros(LEVELS + 1)),
        "hybi": ("ilev", interfaces),
        "lat_bounds": (("lat", "bounds"), np.stack([edges[:-1], edges[1:]], axis=1)),
    }
    field = np.where(middle > 0.0, 3.0, 1.0)[:, None] * np.ones((MONTHS, 1, 1, COLUMNS))
    for name in QUANTITIES:
        if name.startswith("burden"):
            data[name] = (("time", "lat", "lon"), field[:, 0])
        else:
            whole = np.repeat(field, LEVELS, axis=1)
            data[name] = (("time", "lev", "lat", "lon"), whole)
    level = 0.5 * (interfaces[1:] + interfaces[:-1])
    return xr.Dataset(data, coords={"lat": middle, "lev": level})


def test_means_weigh_area_and_air(output: xr.Dataset) -> None:
    found = means(output)
    for name in ("burden_so4", "num_ks"):
        south, north = (found[name][:, list(REGIONS).index(r)] for r in ("60-90S", "60-90N"))
        assert found[name][:, 0].ravel() == pytest.approx(2.0)
        assert south.ravel() == pytest.approx(1.0)
        assert north.ravel() == pytest.approx(3.0)
    assert found["burden_so4"].shape == (MONTHS, len(REGIONS), 1)
    assert found["num_ks"].shape == (MONTHS, len(REGIONS), len(BANDS))

    aloft = output["num_ks"] * (1.0 + 4.0 * (output["lev"] < 0.4))
    found = means(output.assign(num_ks=aloft))
    at = list(BANDS).index
    assert found["num_ks"][0, 0, at("upper troposphere")] == pytest.approx(10.0)
    assert found["num_ks"][0, 0, at("boundary layer")] == pytest.approx(2.0)
    assert found["num_ks"][0, 0, 0] == pytest.approx(2.0 * (0.4 * 5.0 + 0.6))


def test_differences_say_where_and_when(output: xr.Dataset) -> None:
    truth = means(output)
    other = {name: values.copy() for name, values in truth.items()}
    tropics, top = list(REGIONS).index("30S-30N"), list(BANDS).index("upper troposphere")
    other["num_ks"][5:8, tropics, top] *= 0.9
    other["burden_bc"][3] *= 1.02
    facts = compare(other, truth)
    assert facts["num_as"]["annual"] == 0.0
    assert facts["num_ks"]["annual"] == 0.0
    assert facts["num_ks"]["region"] == pytest.approx(-0.1)
    assert facts["num_ks"]["where"] == "JJA, 30S-30N, upper troposphere"
    assert facts["burden_bc"]["annual"] == pytest.approx(0.02 / 12)
    assert facts["burden_bc"]["month"] == pytest.approx(0.02)
    assert facts["burden_bc"]["where"].startswith("MAM")

    near = nearer(other, truth, truth)
    assert near["burden_bc"]["first"] == pytest.approx(0.02 / 12)
    assert near["burden_bc"]["second"] == 0.0
    # The second is as near as can be, and nearer where the first is not.
    assert near["burden_bc"]["share"] == pytest.approx(1 / 12)


def test_what_is_next_to_nothing_is_not_judged(output: xr.Dataset) -> None:
    truth = means(output)
    truth["num_ci"][:, 1] = 1e-9
    other = {name: values.copy() for name, values in truth.items()}
    other["num_ci"][:, 1] = 1e-3
    assert compare(other, truth)["num_ci"]["region"] == 0.0


def test_trend_and_drift(output: xr.Dataset) -> None:
    slope, doubt = trend(np.linspace(0.0, 1.1 / 12.0, 12), 12.0)
    assert slope == pytest.approx(0.1)
    assert doubt == pytest.approx(0.0, abs=1e-12)
    noise = np.array([1.0, -1.0] * 6)
    slope, doubt = trend(noise, 12.0)
    assert abs(slope) < doubt

    years = {name: np.tile(values, (4, 1, 1)) for name, values in means(output).items()}
    years["burden_du"] *= np.repeat([1.5, 1.0, 1.1, 1.2], 12)[:, None, None]
    found = drift(years)
    assert found["count"] == 4
    assert found["of"]["burden_du"]["trend"] == pytest.approx(0.1)
    assert found["of"]["burden_so4"]["trend"] == pytest.approx(0.0, abs=1e-12)


def test_months_are_read_in_order_until_one_is_missing(output: xr.Dataset, tmp_path: Path) -> None:
    assert load(tmp_path, "m7") is None
    (tmp_path / "m7").mkdir()
    for month in (1, 2, 4):
        one = output.isel(time=[0]).assign_coords(time=[float(month)])
        one.to_netcdf(tmp_path / f"m7/{month:03d}.nc")
    found = load(tmp_path, "m7")
    assert found is not None
    assert found["time"].values.tolist() == [1.0, 2.0]
