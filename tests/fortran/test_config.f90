program test_config
  !! Profiles and thresholds: sections 1, 3 and 16 of the contract.
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004, set_profile, &
    thresholds_ham2_2012, thresholds_icon_ham, thresholds_messy, thresholds_tm5
  use m7_kinds, only: wp
  use test_support, only: tests_type
  implicit none (type, external)
  type(tests_type) :: tests
  type(m7_config_type) :: config
  integer :: i, profile, status
  integer, parameter :: generation(4) = &
    [profile_m7_2004, profile_m7_2004, profile_ham2, profile_ham2]
  character(9), parameter :: source(4) = ['TM5      ', 'MESSy    ', 'HAM2 2012', 'ICON-HAM ']
  ! Rows: number and mass of a mean particle, number equation, ageing; kappa-Koehler's volume and
  ! the radius of a kernel, of the later generation alone.
  real(wp), parameter :: threshold(6, 4) = reshape([ &
    1.0e-10_wp, 1.0e-15_wp, 1.0e-10_wp, 1.0e-5_wp, 5.0e-22_wp, 1.0e-10_wp, &
    1.0e-7_wp, 1.0e-12_wp, 1.0e-7_wp, 1.0e-5_wp, 5.0e-22_wp, 1.0e-10_wp, &
    1.0e-4_wp, 1.0e-23_wp, 1.0e-10_wp, 1.0e-5_wp, 5.0e-22_wp, 1.0e-10_wp, &
    1.0e-10_wp, 1.0e-15_wp, 1.0e-10_wp, 1.0e-10_wp, 1.0e-23_wp, 1.0e-8_wp], [6, 4])
  integer, parameter :: set(4) = &
    [thresholds_tm5, thresholds_messy, thresholds_ham2_2012, thresholds_icon_ham]

  do i = 1, 4
    call set_profile(config, generation(i), set(i), status)
    call tests%that(trim(source(i))//' is known', status == 0)
    call tests%that(trim(source(i))//' has its thresholds', all(abs( &
      [config%number_min, config%mass_min, config%equation_number_min, config%ageing_number_min, &
      config%hygroscopic_volume_min, config%kernel_radius_min] - threshold(:, i)) <= 0.0_wp))
  end do

  call set_profile(config, profile_ham2, 0, status)
  call tests%close('ham2 takes the thresholds of 2012', config%number_min, 1.0e-4_wp, 0.0_wp)
  call tests%close('pi', config%pi, acos(-1.0_wp), 0.0_wp)
  call tests%close('square root of 2', config%sqrt2, sqrt(2.0_wp), 0.0_wp)
  call tests%close('Avogadro', config%avogadro, 6.02214e23_wp, 0.0_wp)
  call tests%that('densities', all(abs(config%density &
    - [1.841_wp, 2.0_wp, 2.0_wp, 2.165_wp, 2.650_wp]) <= 0.0_wp))
  call tests%that('kappas', all(abs(config%kappa &
    - [0.60_wp, 0.0_wp, 0.06_wp, 1.12_wp, 0.0_wp]) <= 0.0_wp))
  call tests%that('three corrections are on, four off', config%reset_seasalt_sums .and. &
    config%small_insoluble_volume .and. config%limited_ageing .and. .not. ( &
    config%source_coagulation .or. config%clip_weight_percent .or. config%sulfate_free_radius &
    .or. config%kappa_full_volume))

  call set_profile(config, profile_m7_2004, 0, status)
  call tests%close('m7_2004 takes the thresholds of TM5', config%number_min, 1.0e-10_wp, 0.0_wp)
  call tests%close('pi of 2004', config%pi, 3.141592654_wp, 0.0_wp)
  call tests%close('square root of 2 of 2004', config%sqrt2, 1.4142136_wp, 0.0_wp)
  call tests%close('Avogadro of 2004', config%avogadro, 6.02217e23_wp, 0.0_wp)

  config%tolerance = 0.5_wp
  do profile = 0, 3, 3
    call set_profile(config, profile, 0, status)
    call tests%that('unknown profile', status == 1)
  end do
  call set_profile(config, profile_ham2, 5, status)
  call tests%that('unknown thresholds', status == 1)
  call set_profile(config, profile_ham2, -1, status)
  call tests%that('negative thresholds', status == 1)
  call tests%that('an error leaves what there was', config%profile == profile_m7_2004 .and. &
    abs(config%tolerance - 0.5_wp) <= 0.0_wp)
  call tests%finish()
end program test_config
