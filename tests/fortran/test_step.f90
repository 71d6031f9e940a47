program test_step
  !! What a cell becomes depends on nothing but the cell: not on the columns in use, the block, the
  !! order, the level, the neighbours, what lies beyond kproma, or what was computed before.
  use m7_config, only: m7_config_type, organic_kinetic, profile_ham2, profile_m7_2004, water_kappa
  use m7_kinds, only: wp
  use m7_step, only: m7_ok, step
  use test_cells, only: arranged, boundary_layer, cells_type, cloud, defaults, density_1, dry_1, &
    forest, gas, humidity, ions, mass_1, number_1, pressure, production, random_cells, same, &
    temperature, water_1, wet_1
  use test_support, only: same_bits, tests_type
  implicit none (type, external)

  integer, parameter :: n = 1000
  integer, parameter :: columns(8) = [1, 2, 7, 15, 16, 17, 64, n]
  real(wp), parameter :: timestep = 1800.0_wp
  type(tests_type) :: tests
  type(m7_config_type) :: config
  type(cells_type) :: after, before
  integer :: i, variant

  before = random_cells(n)
  do variant = 1, 4
    select case (variant)
    case (1)
      config = defaults(profile_m7_2004)
    case (2)
      config = defaults(profile_ham2)
    case (3)
      config = defaults(profile_ham2)
      config%water = water_kappa
      config%organic_nucleation = organic_kinetic
    case default
      ! Converged, cell by cell, within limits that keep this quick.
      config = defaults(profile_ham2)
      config%substeps = 0
      config%tolerance = 0.1_wp
      config%substeps_max = 16
    end select
    after = before
    call after%advance(config, timestep)
    call tests%that('the step is taken', after%status == m7_ok)
    call check_place('again', reshape([(i, i=1, n)], [n, 1]))
    do i = 1, size(columns)
      call check_columns(columns(i))
    end do
    call check_place('backwards', reshape([(i, i=n, 1, -1)], [n, 1]))
    call check_place('shuffled', reshape([(1 + modulo(617*i, n), i=1, n)], [n, 1]))
    call check_place('one after the other', reshape([(i, i=1, n)], [1, n]))
    call check_place('in levels', reshape([(1 + modulo(617*i, n), i=1, n)], [50, 20]))
    call check_place('a cell and its like', reshape([(413, i=1, 40)], [20, 2]))
    call check_optional()
  end do
  call tests%finish()

contains

  subroutine check_place(name, place, kproma)
    !! Cells in other places become what they became in theirs, and padding stays padding. In it
    !! are signalling NaN, which trap when computed with.
    character(*), intent(in) :: name
    integer, intent(in) :: place(:, :)
    integer, intent(in), optional :: kproma
    type(cells_type) :: other

    other = arranged(before, place)
    call other%advance(config, timestep, kproma)
    call tests%that(name//': status', other%status == m7_ok)
    call tests%that(name//': every bit', same(other, arranged(after, place)))
  end subroutine check_place

  subroutine check_columns(kproma)
    !! On two levels, with five columns beyond.
    integer, intent(in) :: kproma
    integer :: i, place(kproma + 5, 2)
    character(4) :: digits

    place = 0
    place(:kproma, 1) = [(i, i=1, kproma)]
    place(:kproma, 2) = [(n + 1 - i, i=1, kproma)]
    write (digits, '(i0)') kproma
    call check_place(trim(digits)//' columns', place, kproma)
  end subroutine check_columns

  subroutine check_optional()
    !! Absent arguments change nothing, absent fields are 0.
    type(cells_type) :: bare, full
    integer :: status

    bare = arranged(before, reshape([(i, i=1, 20)], [20, 1]))
    full = bare
    full%environment(:, :, ions:boundary_layer) = 0.0_wp
    call full%advance(config, timestep)
    associate (e => bare%environment, x => bare%state, d => bare%diagnostic)
      call step(config, 20, 20, 1, timestep, e(:, :, pressure), e(:, :, temperature), &
        e(:, :, humidity), e(:, :, cloud), e(:, :, production), x(:, :, gas), &
        x(:, :, mass_1:number_1 - 1), x(:, :, number_1:), d(:, :, wet_1:dry_1 - 1), &
        d(:, :, dry_1:density_1 - 1), d(:, :, density_1:water_1 - 1), d(:, :, water_1:), status)
      call tests%that('without optional arguments', status == m7_ok)
      call tests%that('the same state', all(same_bits(x, full%state)))
      call tests%that('the same diagnostics', all(same_bits(d, full%diagnostic)))
      e(:, :, ions:boundary_layer) = 0.0_wp
      e(:, :, forest) = 0.7_wp
      call step(config, 20, 20, 1, timestep, e(:, :, pressure), e(:, :, temperature), &
        e(:, :, humidity), e(:, :, cloud), e(:, :, production), x(:, :, gas), &
        x(:, :, mass_1:number_1 - 1), x(:, :, number_1:), d(:, :, wet_1:dry_1 - 1), &
        d(:, :, dry_1:density_1 - 1), d(:, :, density_1:water_1 - 1), d(:, :, water_1:), status, &
        forest_fraction=e(:, :, forest), substeps=bare%substeps)
      call tests%that('with some', status == m7_ok)
      call full%advance(config, timestep)
      call tests%that('the same again', all(same_bits(x, full%state)) &
        .and. all(bare%substeps == full%substeps))
    end associate
  end subroutine check_optional
end program test_step
