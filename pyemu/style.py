"""How figures look: one set of colours for modes and species, in all of them."""

MODE_COLOURS = {
    "ns": "#e0a100",
    "ks": "#d1495b",
    "as": "#7b2d8b",
    "cs": "#1f5fa8",
    "ki": "#6b6b6b",
    "ai": "#a97142",
    "ci": "#6f4518",
}
SPECIES_COLOURS = {
    "so4": "#d1495b",
    "bc": "#2b2b2b",
    "oc": "#4f9d69",
    "ss": "#3a86c8",
    "du": "#d9a441",
}
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
