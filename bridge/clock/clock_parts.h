// The parts of a step, in the order that a table has them in; M7EMU_ENTRY is what they are for.
M7EMU_ENTRY(reading)
M7EMU_ENTRY(air)
M7EMU_ENTRY(properties)
M7EMU_ENTRY(networks)
M7EMU_ENTRY(kernels)
M7EMU_ENTRY(condensation)
M7EMU_ENTRY(nucleation)
M7EMU_ENTRY(coagulation)
M7EMU_ENTRY(stages)
M7EMU_ENTRY(merging)
M7EMU_ENTRY(diagnostics)
M7EMU_ENTRY(writing)
#undef M7EMU_ENTRY
