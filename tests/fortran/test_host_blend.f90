program test_host_blend
  !! Cells that the emulator flags, or is least sure of, become what M7 makes of them; the others
  !! stay.
  use, intrinsic :: iso_fortran_env, only: int32
  use host_constants, only: wp
  use host_meteorology, only: meteorology_type, set_up_meteorology
  use host_microphysics, only: aerosol_type, bin_of, hand_back, n_bin, n_flag, n_tally, &
    set_threshold, set_up_aerosol, set_up_slot, slot_settings_type, slot_type
  use test_support, only: tests_type
  implicit none (type, external)

  integer, parameter :: nproma = 13, kproma = 11, nlev = 7
  type(tests_type) :: tests

  call cells_of_either_kind()
  call thresholds()
  call tests%finish()

contains

  subroutine cells_of_either_kind()
    real(wp), parameter :: timestep = 1800.0_wp
    character(:), allocatable :: message
    integer :: i, k, status, tally(n_tally)
    integer(int32) :: code
    logical :: by_flag(nproma, nlev), by_uncertainty(nproma, nlev), good, picked
    type(aerosol_type) :: aerosol, truth
    type(meteorology_type) :: air
    type(slot_type) :: slot

    call set_up_slot(slot_settings_type(), slot, status, message)
    call move_alloc(slot%scheme, slot%fallback)
    call set_up_meteorology(nproma, nlev, air)
    call set_up_aerosol(nproma, nlev, .false., .true., aerosol)
    do k = 1, nlev
      do i = 1, nproma
        air%pressure(i, k) = 2.0e4_wp + 1.0e4_wp*k
        air%temperature(i, k) = 220.0_wp + 8.0_wp*k + i
        air%cloud_fraction(i, k) = modulo(i*k, 5)/5.0_wp
        aerosol%relative_humidity(i, k) = modulo(3*i + k, 10)/10.0_wp
        aerosol%production(i, k) = 1.0e3_wp*i
        aerosol%gas(i, k) = 1.0e6_wp*k
        aerosol%mass(i, k, :) = 1.0e-2_wp*(i + k)
        aerosol%mass(i, k, :4) = 1.0e8_wp*i
        aerosol%number(i, k, :) = 100.0_wp*k
        aerosol%flag(i, k) = modulo(i + 3*k, 4)
        aerosol%uncertainty(i, k) = modulo(7*i + k, 11)*0.1_wp
      end do
    end do
    aerosol%gas_before = aerosol%gas
    aerosol%mass_before = aerosol%mass
    aerosol%number_before = aerosol%number
    truth = aerosol
    call slot%fallback%step(kproma, nproma, nlev, timestep, air%pressure, air%temperature, &
      truth%relative_humidity, air%cloud_fraction, truth%production, truth%gas, truth%mass, &
      truth%number, truth%wet_radius, truth%dry_radius, truth%density, truth%water, code)
    call tests%that('M7 takes the block', code == 0)

    ! What the emulator left.
    aerosol%gas = 1.0_wp
    aerosol%mass = 2.0_wp
    aerosol%number = 3.0_wp
    aerosol%wet_radius = 4.0_wp
    slot%threshold = 0.75_wp
    tally = 0
    call hand_back(slot, kproma, nlev, timestep, air, aerosol, tally, code)
    call tests%that('M7 takes the cells', code == 0)
    by_flag = aerosol%flag >= 2
    by_uncertainty = .not. by_flag .and. aerosol%uncertainty > 0.75_wp
    call tests%that('counted by their reason', tally(n_flag + 1) == count(by_flag(:kproma, :)) &
      .and. tally(n_flag + 2) == count(by_uncertainty(:kproma, :)))
    call tests%that('some of each', all(tally(n_flag + 1:) > 5))
    good = .true.
    do k = 1, nlev
      do i = 1, nproma
        picked = (by_flag(i, k) .or. by_uncertainty(i, k)) .and. i <= kproma
        if (picked) then
          good = good .and. same(aerosol%gas(i, k), truth%gas(i, k)) &
            .and. all(same(aerosol%mass(i, k, :), truth%mass(i, k, :))) &
            .and. all(same(aerosol%number(i, k, :), truth%number(i, k, :))) &
            .and. all(same(aerosol%wet_radius(i, k, :), truth%wet_radius(i, k, :))) &
            .and. all(same(aerosol%dry_radius(i, k, :), truth%dry_radius(i, k, :))) &
            .and. all(same(aerosol%density(i, k, :), truth%density(i, k, :))) &
            .and. all(same(aerosol%water(i, k, :), truth%water(i, k, :)))
        else
          good = good .and. same(aerosol%gas(i, k), 1.0_wp) &
            .and. all(same(aerosol%mass(i, k, :), 2.0_wp)) &
            .and. all(same(aerosol%number(i, k, :), 3.0_wp)) &
            .and. all(same(aerosol%wet_radius(i, k, :), 4.0_wp))
        end if
      end do
    end do
    call tests%that("picked cells are M7's to the bit, others untouched", good)
  end subroutine cells_of_either_kind

  subroutine thresholds()
    !! Of all shares, the cells above the threshold are at most that share, and nearly it.
    integer, parameter :: n = 4000
    integer :: histogram(n_bin), k, place
    logical :: few, near
    real(wp) :: above, share, uncertainty(n)
    type(slot_type) :: slot

    histogram = 0
    do k = 1, n
      uncertainty(k) = 10.0_wp**(-4.0_wp + 5.0_wp*modulo(k*0.6180339887_wp, 1.0_wp))
      place = bin_of(uncertainty(k))
      histogram(place) = histogram(place) + 1
    end do
    few = .true.
    near = .true.
    do k = 1, 19
      share = 0.05_wp*k
      call set_threshold(slot, share, histogram)
      above = count(uncertainty > slot%threshold)/real(n, wp)
      few = few .and. above <= share
      near = near .and. above > share - 0.03_wp
    end do
    call tests%that('never more than the share', few)
    call tests%that('nearly the share', near)
    histogram = 0
    histogram(1) = n
    call set_threshold(slot, 0.5_wp, histogram)
    call tests%that('certain cells stay', slot%threshold > 0.0_wp)
  end subroutine thresholds

  elemental logical function same(a, b)
    real(wp), intent(in) :: a, b

    same = abs(a - b) <= 0.0_wp
  end function same
end program test_host_blend
