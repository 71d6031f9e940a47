# The Fortran modules as f90wrap shows them; a test compares this with what was built.
# Arrays to be written must be float64 or int32 in Fortran order: written in place, never copied.

import numpy as np
from numpy.typing import NDArray

class m7_config:
    profile_m7_2004: int
    profile_ham2: int
    water_zsr: int
    water_kappa: int
    nucleation_none: int
    nucleation_vehkamaki2002: int
    nucleation_kazil_lovejoy2007: int
    organic_none: int
    organic_activation: int
    organic_kinetic: int
    thresholds_tm5: int
    thresholds_messy: int
    thresholds_ham2_2012: int
    thresholds_icon_ham: int

    class m7_config_type:
        profile: int
        water: int
        nucleation: int
        organic_nucleation: int
        condensation: bool
        coagulation: bool
        density: NDArray[np.float64]  # a view: valid while its configuration lives
        kappa: NDArray[np.float64]
        reset_seasalt_sums: bool
        small_insoluble_volume: bool
        limited_ageing: bool
        source_coagulation: bool
        clip_weight_percent: bool
        sulfate_free_radius: bool
        kappa_full_volume: bool
        production_in_gas: bool
        number_min: float
        mass_min: float
        insoluble_volume_min: float
        hygroscopic_volume_min: float
        kernel_number_min: float
        kernel_radius_min: float
        equation_number_min: float
        ageing_number_min: float
        merging_number_min: float
        merging_radius_min: float
        pi: float
        sqrt2: float
        avogadro: float
        substeps: int
        tolerance: float
        substeps_max: int

class m7_python:
    @staticmethod
    def describe(kind: int, index_bn: int) -> str: ...
    @staticmethod
    def compiler() -> str: ...
    @staticmethod
    def configure(config: m7_config.m7_config_type, profile: int, thresholds: int) -> int: ...
    @staticmethod
    def load_nucleation_table(
        config: m7_config.m7_config_type,
        path: bytes,  # str cannot be beyond ASCII
    ) -> tuple[int, str]: ...
    @staticmethod
    def benchmark(
        config: m7_config.m7_config_type,
        ncell: int,
        kbdim: int,
        timestep: float,
        threads: int,
        environment: NDArray[np.float64],
        prognostic: NDArray[np.float64],
        seconds: NDArray[np.float64],
    ) -> int: ...
    @staticmethod
    def run(
        config: m7_config.m7_config_type,
        ncell: int,
        nsplit: int,
        timestep: float,
        threads: int,
        environment: NDArray[np.float64],
        prognostic: NDArray[np.float64],
        diagnostic: NDArray[np.float64],
        split: NDArray[np.float64],
        substeps: NDArray[np.int32],
        negatives: NDArray[np.int32],
    ) -> int: ...  # releases the GIL
