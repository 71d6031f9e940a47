"""The M7 step as a chain of differentiable blocks in torch, each exact or learned.

One module per process, named as in `fortran/m7` and `bridge/engine`. Tensors hold cells in their
first dimension; they run fastest with cells contiguous in memory (column-major), as `pyemu.state`
packs them and as `numerics.columns` makes them. Use `chain.Chain`; the blocks are plain functions.
"""
