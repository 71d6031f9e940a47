"""Build step: write the golden vectors as a C header. Usage: golden.py GOLDEN.json OUTPUT.h"""

import json
import sys
from pathlib import Path
from typing import Any

SINGLE = ("pressure", "temperature", "relative_humidity", "h2so4", "h2so4_production", "timestep")
AFTER = ("mass", "number", "wet_radius", "dry_radius", "density", "water")
SHAPE = """struct after {
  double h2so4, mass[18], number[7], wet_radius[7], dry_radius[4], density[7], water[7];
};
struct golden {
  const char *name;
  double pressure, temperature, relative_humidity, h2so4, production, timestep;
  double mass[18], number[7];
  struct after after[2]; /* ham2, m7_2004 */
};
"""


def listed(values: list[float]) -> str:
    return "{" + ", ".join(f"{value!r}" for value in values) + "}"


def after(state: dict[str, Any]) -> str:
    return f"{{{state['h2so4']!r}, " + ", ".join(listed(state[name]) for name in AFTER) + "}"


def case(entry: dict[str, Any]) -> str:
    parts = [json.dumps(entry["name"]), *(repr(entry[name]) for name in SINGLE)]
    parts += [listed(entry["mass"]), listed(entry["number"])]
    parts.append("{" + ", ".join(after(entry["after"][p]) for p in ("ham2", "m7_2004")) + "}")
    return "{" + ", ".join(parts) + "}"


if __name__ == "__main__":
    cases = json.loads(Path(sys.argv[1]).read_text())["cases"]
    body = ",\n".join(case(entry) for entry in cases)
    text = f"{SHAPE}static const struct golden golden[] = {{\n{body}}};\n"
    Path(sys.argv[2]).write_text(text)
