program test_split
  !! The process-split output: what the processes moved makes up all change of the state.
  use m7_config, only: m7_config_type, organic_activation, profile_ham2, profile_m7_2004
  use m7_kinds, only: wp
  use m7_modes, only: mass_name, mode_name, n_mass, n_mode, n_prognostic, n_soluble, ns
  use m7_split, only: n_split, split_name, water_uptake
  use m7_step, only: m7_ok
  use test_cells, only: cells_type, defaults, gas, mass_1, number_1, production, random_cells, &
    water_1
  use test_support, only: tests_type, word
  implicit none (type, external)

  ! A prognostic, what it gains, and what it loses
  character(200), parameter :: budget(n_prognostic) = [character(200) :: &
    'h2so4 -condensed_ns -condensed_ks -condensed_as -condensed_cs -condensed_ki -condensed_ai' &
    //' -condensed_ci -nucleated_so4', &
    'so4_ns condensed_ns nucleated_so4' &
    //' -coagulated_so4_ns_ks -coagulated_so4_ns_as -coagulated_so4_ns_cs -merged_so4_ns', &
    'so4_ks condensed_ks condensed_ki coagulated_so4_ns_ks merged_so4_ns' &
    //' -coagulated_so4_ks_as -coagulated_so4_ks_cs -merged_so4_ks', &
    'so4_as condensed_as condensed_ai coagulated_so4_ns_as coagulated_so4_ks_as merged_so4_ks' &
    //' -merged_so4_as', &
    'so4_cs condensed_cs condensed_ci coagulated_so4_ns_cs coagulated_so4_ks_cs merged_so4_as', &
    'bc_ks coagulated_bc_ki_ks aged_bc_ki' &
    //' -coagulated_bc_ks_as -coagulated_bc_ks_cs -merged_bc_ks', &
    'bc_as coagulated_bc_ks_as coagulated_bc_ki_as merged_bc_ks -merged_bc_as', &
    'bc_cs coagulated_bc_ks_cs merged_bc_as', &
    'bc_ki -coagulated_bc_ki_ks -coagulated_bc_ki_as -aged_bc_ki', &
    'oc_ks coagulated_oc_ki_ks aged_oc_ki' &
    //' -coagulated_oc_ks_as -coagulated_oc_ks_cs -merged_oc_ks', &
    'oc_as coagulated_oc_ks_as coagulated_oc_ki_as merged_oc_ks -merged_oc_as', &
    'oc_cs coagulated_oc_ks_cs merged_oc_as', &
    'oc_ki -coagulated_oc_ki_ks -coagulated_oc_ki_as -aged_oc_ki', &
    'ss_as -merged_ss_as', &
    'ss_cs merged_ss_as', &
    'du_as aged_du_ai -merged_du_as', &
    'du_cs aged_du_ci merged_du_as', &
    'du_ai -aged_du_ai', &
    'du_ci -aged_du_ci', &
    'num_ns nucleated_num -self_collided_ns -collided_ns_ks -collided_ns_as -collided_ns_cs' &
    //' -collided_ns_ki -collided_ns_ai -collided_ns_ci -merged_num_ns', &
    'num_ks aged_num_ki merged_num_ns -self_collided_ks -collided_ks_as -collided_ks_cs' &
    //' -collided_ks_ai -collided_ks_ci -merged_num_ks', &
    'num_as aged_num_ai merged_num_ks -self_collided_as -merged_num_as', &
    'num_cs aged_num_ci merged_num_as', &
    'num_ki -self_collided_ki -collided_ki_ks -collided_ki_as -aged_num_ki', &
    'num_ai -aged_num_ai', &
    'num_ci -aged_num_ci']

  integer, parameter :: n = 1000
  real(wp), parameter :: timestep = 1800.0_wp
  type(tests_type) :: tests
  type(m7_config_type) :: config
  type(cells_type) :: after, before
  integer :: k, profile, substeps

  call check_names()
  do profile = profile_m7_2004, profile_ham2
    do substeps = 1, 3
      config = defaults(profile)
      config%substeps = substeps
      if (substeps == 2) config%organic_nucleation = organic_activation
      before = random_cells(n)
      after = before
      call after%advance(config, timestep)
      call tests%that('the step is taken', after%status == m7_ok)
      do k = 1, n_prognostic
        call check_budget(k)
      end do
      call tests%that('nothing moves back', all(after%split(:, :, :water_uptake) >= 0.0_wp))
      call check_water()
    end do
  end do
  call tests%finish()

contains

  subroutine check_names()
    !! The table above is of all prognostics, in order, and no process is forgotten in it.
    integer :: i, k
    character(20) :: name(n_prognostic)
    logical :: used(n_split)

    name = [character(20) :: 'h2so4', mass_name, ('num_'//mode_name(i), i=1, n_mode)]
    used = .false.
    do k = 1, n_prognostic
      call tests%that('budget of '//name(k), word(budget(k), 1) == trim(name(k)))
      do i = 1, n_split
        if (index(' '//budget(k), ' '//trim(split_name(i))//' ') > 0) used(i) = .true.
        if (index(budget(k), ' -'//trim(split_name(i))//' ') > 0) used(i) = .true.
      end do
    end do
    do i = 1, n_split
      call tests%that(trim(split_name(i))//' is part of a budget', used(i) .neqv. i > water_uptake)
    end do
    call tests%that('masses follow the gas', mass_1 + n_mass == number_1)
  end subroutine check_names

  subroutine check_budget(k)
    integer, intent(in) :: k
    character(:), allocatable :: term
    integer :: i, place
    real(wp), dimension(n) :: scale, sum
    real(wp) :: sign

    sum = before%state(:, 1, k)
    if (k == gas) sum = sum + before%environment(:, 1, production)*timestep
    scale = sum
    i = 2
    do
      term = word(budget(k), i)
      if (term == '') exit
      sign = 1.0_wp
      if (term(1:1) == '-') sign = -1.0_wp
      if (term(1:1) == '-') term = term(2:)
      place = findloc(split_name == term, .true., 1)
      call tests%that(term//' is known', place > 0)
      if (place == 0) return
      sum = sum + sign*after%split(:, 1, place)
      scale = scale + after%split(:, 1, place)
      i = i + 1
    end do
    call tests%that('the budget of '//word(budget(k), 1)//' closes', &
      all(abs(after%state(:, 1, k) - sum) <= 1.0e-14_wp*scale))
  end subroutine check_budget

  subroutine check_water()
    !! Of one more step, whose first water is the last one of the step before: but m7_2004 may give
    !! an NS mode without number or mass another virtual size. Water may come and go within a step,
    !! hence the 1e-30 kg m-3.
    integer :: first
    real(wp), dimension(n, n_soluble) :: uptake, water

    first = merge(ns + 1, ns, config%profile == profile_m7_2004)
    water = after%diagnostic(:, 1, water_1:)
    call after%advance(config, timestep)
    uptake = after%split(:, 1, water_uptake + 1:water_uptake + n_soluble)
    associate (new => after%diagnostic(:, 1, water_1:))
      call tests%that('the water budget closes', &
        all(abs(new(:, first:) - water(:, first:) - uptake(:, first:)) &
        <= 1.0e-14_wp*(abs(water(:, first:)) + abs(new(:, first:))) + 1.0e-30_wp))
    end associate
  end subroutine check_water
end program test_split
