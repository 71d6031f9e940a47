program test_modes
  !! The tables of m7_modes agree with each other.
  use m7_kinds, only: wp
  use m7_modes, only: ln_sigma, mass_index, mass_mode, mass_name, mass_species, mean_to_median, &
    mode_name, n_mass, n_mode, species_name
  use test_support, only: tests_type
  implicit none (type, external)
  type(tests_type) :: tests
  integer :: i

  do i = 1, n_mass
    call tests%that(mass_name(i)//' stands where its species and mode say', &
      mass_index(mass_species(i), mass_mode(i)) == i)
    call tests%that(mass_name(i)//' is named after its species and mode', &
      mass_name(i) == trim(species_name(mass_species(i)))//'_'//mode_name(mass_mode(i)))
  end do
  call tests%that('no mass but these', count(mass_index > 0) == n_mass)
  do i = 1, n_mode
    call tests%close('Hatch-Choate of '//mode_name(i), &
      mean_to_median(i), exp(ln_sigma(i)**2)**(-1.5_wp), 1.0e-14_wp)
  end do
  call tests%finish()
end program test_modes
