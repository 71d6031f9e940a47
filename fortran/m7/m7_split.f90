module m7_split
  !! The process-split output: what each process moved during the step, in the units of the state
  !! (numbers cm-3, sulfate molecules cm-3, other masses ug m-3, water kg m-3), summed over
  !! sub-steps. Inside a step it is where processes leave what they move.
  implicit none (type, external)
  private

  integer, parameter, public :: n_split = 61
  integer, parameter, public :: condensed = 0
  !! condensed + mode: sulfate condensed on each of the seven modes
  integer, parameter, public :: nucleated_so4 = 8, nucleated_num = 9
  integer, parameter, public :: collided = 9
  !! collided + route: number lost by the first mode to particles of the second
  integer, parameter, public :: ns_ks = 1, ns_as = 2, ns_cs = 3, ns_ki = 4, ns_ai = 5, ns_ci = 6
  integer, parameter, public :: ks_as = 7, ks_cs = 8, ks_ai = 9, ks_ci = 10, ki_ks = 11, ki_as = 12
  integer, parameter, public :: n_route = 12
  integer, parameter, public :: self_collided_ns = 22, self_collided_ks = 23
  integer, parameter, public :: self_collided_as = 24, self_collided_ki = 25
  integer, parameter, public :: coagulated_so4_ns_ks = 26, coagulated_so4_ns_as = 27
  integer, parameter, public :: coagulated_so4_ns_cs = 28
  integer, parameter, public :: coagulated_so4_ks_as = 29, coagulated_bc_ks_as = 30
  integer, parameter, public :: coagulated_oc_ks_as = 31
  integer, parameter, public :: coagulated_so4_ks_cs = 32, coagulated_bc_ks_cs = 33
  integer, parameter, public :: coagulated_oc_ks_cs = 34
  integer, parameter, public :: coagulated_bc_ki_ks = 35, coagulated_oc_ki_ks = 36
  integer, parameter, public :: coagulated_bc_ki_as = 37, coagulated_oc_ki_as = 38
  integer, parameter, public :: aged_num_ki = 39, aged_num_ai = 40, aged_num_ci = 41
  integer, parameter, public :: aged_bc_ki = 42, aged_oc_ki = 43, aged_du_ai = 44, aged_du_ci = 45
  integer, parameter, public :: merged_num_ns = 46, merged_num_ks = 47, merged_num_as = 48
  integer, parameter, public :: merged_so4_ns = 49
  integer, parameter, public :: merged_so4_ks = 50, merged_bc_ks = 51, merged_oc_ks = 52
  integer, parameter, public :: merged_so4_as = 53, merged_bc_as = 54, merged_oc_as = 55
  integer, parameter, public :: merged_ss_as = 56, merged_du_as = 57
  integer, parameter, public :: water_uptake = 57
  !! water_uptake + soluble mode: change of the mode's water over the step

  character(20), parameter, public :: split_name(n_split) = [character(20) :: &
    'condensed_ns', 'condensed_ks', 'condensed_as', 'condensed_cs', 'condensed_ki', &
    'condensed_ai', 'condensed_ci', 'nucleated_so4', 'nucleated_num', 'collided_ns_ks', &
    'collided_ns_as', 'collided_ns_cs', 'collided_ns_ki', 'collided_ns_ai', 'collided_ns_ci', &
    'collided_ks_as', 'collided_ks_cs', 'collided_ks_ai', 'collided_ks_ci', 'collided_ki_ks', &
    'collided_ki_as', 'self_collided_ns', 'self_collided_ks', 'self_collided_as', &
    'self_collided_ki', 'coagulated_so4_ns_ks', 'coagulated_so4_ns_as', 'coagulated_so4_ns_cs', &
    'coagulated_so4_ks_as', 'coagulated_bc_ks_as', 'coagulated_oc_ks_as', &
    'coagulated_so4_ks_cs', 'coagulated_bc_ks_cs', 'coagulated_oc_ks_cs', 'coagulated_bc_ki_ks', &
    'coagulated_oc_ki_ks', 'coagulated_bc_ki_as', 'coagulated_oc_ki_as', 'aged_num_ki', &
    'aged_num_ai', 'aged_num_ci', 'aged_bc_ki', 'aged_oc_ki', 'aged_du_ai', 'aged_du_ci', &
    'merged_num_ns', 'merged_num_ks', 'merged_num_as', 'merged_so4_ns', 'merged_so4_ks', &
    'merged_bc_ks', 'merged_oc_ks', 'merged_so4_as', 'merged_bc_as', 'merged_oc_as', &
    'merged_ss_as', 'merged_du_as', 'water_uptake_ns', 'water_uptake_ks', 'water_uptake_as', &
    'water_uptake_cs']
end module m7_split
