program test_m7emu
  !! The Fortran interface of the emulator: its structs are C's, its step is the reference's, HAM's
  !! argument lists lead to it, and what goes wrong is a status.
  !! Arguments: model files of exact blocks, ham2 and m7_2004; 'torch' for that engine alone,
  !! 'version' beside a library of another ABI version.
  use, intrinsic :: iso_c_binding, only: c_int32_t, c_intptr_t, c_loc, c_null_ptr, c_ptr, &
    c_size_t, c_sizeof
  use, intrinsic :: iso_fortran_env, only: int32, int64, real32, real64
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004, set_profile
  use m7_step, only: reference_step => step
  use m7emu, only: flag_fine, flag_invalid, m7emu_type, status_bad_device, status_other_version
  use m7emu_abi, only: abi_version, m7emu_block, m7emu_options
  use microphysics, only: microphysics_type, n_mass, n_mode, n_soluble
  use mo_ham_m7emu, only: invalid_cells, m7_echam5, m7_ham2, m7_messy, m7_tm5, m7emu_setup, &
    m7emu_shutdown, m7emu_text, negative_amounts, worst_status
  use test_support, only: tests_type
  implicit none (type, external)

  interface
    function layout_sizes(block, block_float) bind(C) result(options)
      import :: c_int32_t
      implicit none (type, external)
      integer(c_int32_t), intent(out) :: block, block_float
      integer(c_int32_t) :: options
    end function layout_sizes

    subroutine layout_fill(block) bind(C)
      import :: m7emu_block
      implicit none (type, external)
      type(m7emu_block), intent(inout) :: block
    end subroutine layout_fill
  end interface

  integer, parameter :: columns = 20, kbdim = 23, klev = 3
  real(real64), parameter :: dt = 900.0_real64

  type :: cells_type
    real(real64), dimension(kbdim, klev) :: pressure, temperature, humidity, cloud, production, gas
    real(real64) :: mass(kbdim, klev, n_mass), number(kbdim, klev, n_mode)
    real(real64) :: wet_radius(kbdim, klev, n_mode), dry_radius(kbdim, klev, n_soluble)
    real(real64) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)
  end type cells_type

  type(tests_type) :: tests
  character(1000) :: ham2_file, older_file, engine

  call get_command_argument(1, ham2_file)
  call get_command_argument(2, older_file)
  call get_command_argument(3, engine)
  if (engine == 'torch') then
    call test_against_reference('ham2 in torch', ham2_file, profile_ham2, 'torch')
    call tests%finish()
    stop
  end if
  if (engine == 'version') then
    call test_other_version()
    call tests%finish()
    stop
  end if
  call test_layout()
  call test_against_reference('ham2', ham2_file, profile_ham2)
  call test_against_reference('m7_2004', older_file, profile_m7_2004)
  call test_single_precision()
  call test_flags()
  call test_failures()
  call test_ham2_list()
  call test_older_lists()
  call tests%finish()

contains

  subroutine test_layout()
    type(m7emu_block) :: block
    type(m7emu_options) :: options
    integer(c_int32_t) :: in_c, in_c_float
    type(c_ptr) :: pointers(18)
    integer :: i

    call tests%that('size of the options', &
      layout_sizes(in_c, in_c_float) == int(c_sizeof(options), c_int32_t))
    call tests%that('size of the block', in_c == int(c_sizeof(block), c_int32_t))
    call tests%that('size of the single precision block', in_c_float == in_c)
    call layout_fill(block)
    call tests%that('numbers of the block', block%struct_size == 1 .and. block%space == 2 .and. &
      block%kproma == 3 .and. block%kbdim == 4 .and. block%klev == 5 .and. block%unused == 6)
    call tests%close('timestep of the block', block%timestep, 0.5_real64, 0.0_real64)
    call tests%that('stream of the block', address(block%stream) == 4096 + 3)
    pointers = [block%pressure, block%temperature, block%relative_humidity, &
      block%cloud_fraction, block%h2so4_production, block%ion_pair_production, &
      block%forest_fraction, block%boundary_layer, block%h2so4, block%mass, block%number, &
      block%wet_radius, block%dry_radius, block%density, block%water, block%flag, &
      block%uncertainty, block%negatives]
    call tests%that('pointers of the block', &
      all([(address(pointers(i)) == 4096 + 6 + i, i=1, size(pointers))]))
  end subroutine test_layout

  pure integer(c_intptr_t) function address(pointer)
    type(c_ptr), intent(in) :: pointer

    address = transfer(pointer, address)
  end function address

  subroutine make(cells, cloudy)
    !! Plausible cells of all kinds; columns beyond hold a mark.
    type(cells_type), intent(out) :: cells
    logical, intent(in) :: cloudy
    real(real64), parameter :: amount(n_mass) = [1.0e5_real64, 1.0e8_real64, 1.0e9_real64, &
      1.0e9_real64, 0.01_real64, 0.1_real64, 0.01_real64, 0.01_real64, 0.01_real64, 1.0_real64, &
      0.1_real64, 0.01_real64, 1.0_real64, 5.0_real64, 1.0_real64, 5.0_real64, 1.0_real64, &
      5.0_real64]
    real(real64), parameter :: particles(n_mode) = [1.0e3_real64, 1.0e3_real64, 3.0e2_real64, &
      0.5_real64, 5.0e2_real64, 0.1_real64, 0.1_real64]
    integer :: i, k, level
    integer(int64) :: seed

    seed = 1
    cells%pressure = -77.0_real64
    cells%temperature = -77.0_real64
    cells%humidity = -77.0_real64
    cells%cloud = -77.0_real64
    cells%production = -77.0_real64
    cells%gas = -77.0_real64
    cells%mass = -77.0_real64
    cells%number = -77.0_real64
    cells%wet_radius = -77.0_real64
    cells%dry_radius = -77.0_real64
    cells%density = -77.0_real64
    cells%water = -77.0_real64
    do level = 1, klev
      do i = 1, columns
        cells%pressure(i, level) = 1.0e4_real64 + 9.0e4_real64*draw(seed)
        cells%temperature(i, level) = 210.0_real64 + 90.0_real64*draw(seed)
        cells%humidity(i, level) = draw(seed)
        cells%cloud(i, level) = merge(draw(seed), 0.0_real64, cloudy .and. modulo(i, 3) == 0)
        cells%production(i, level) = merge(1.0e4_real64*draw(seed), 0.0_real64, cloudy)
        cells%gas(i, level) = 1.0e7_real64*draw(seed)
        do k = 1, n_mass
          cells%mass(i, level, k) = 2.0_real64*amount(k)*draw(seed)
        end do
        do k = 1, n_mode
          cells%number(i, level, k) = particles(k)*max(2.0_real64*draw(seed) - 0.2_real64, &
            0.0_real64)
        end do
      end do
    end do
  end subroutine make

  real(real64) function draw(seed)
    !! The next number of a sequence, in [0, 1).
    integer(int64), intent(inout) :: seed

    seed = modulo(16807_int64*seed, 2147483647_int64)
    draw = real(seed, real64)/2147483647.0_real64
  end function draw

  subroutine step_slot(scheme, cells, status)
    !! As a host does it, whatever is in the slot.
    class(microphysics_type), intent(in) :: scheme
    type(cells_type), intent(inout) :: cells
    integer(int32), intent(out) :: status

    call scheme%step(columns, kbdim, klev, dt, cells%pressure, cells%temperature, cells%humidity, &
      cells%cloud, cells%production, cells%gas, cells%mass, cells%number, cells%wet_radius, &
      cells%dry_radius, cells%density, cells%water, status)
  end subroutine step_slot

  subroutine same(name, found, expected, scale)
    !! To the precision of the fractions; padding is untouched.
    character(*), intent(in) :: name
    real(real64), intent(in) :: found(:, :, :), expected(:, :, :), scale(:, :, :)
    logical :: near

    near = all(abs(found(:columns, :, :) - expected(:columns, :, :)) <= 1.0e-5_real64 &
      *(abs(expected(:columns, :, :)) + 0.01_real64*scale(:columns, :, :)))
    call tests%that(name, near)
    call tests%that(name//' beyond kproma', all(found(columns + 1:, :, :) < -76.0_real64))
  end subroutine same

  subroutine test_against_reference(name, file, profile, engine)
    character(*), intent(in) :: name, file
    integer, intent(in) :: profile
    character(*), intent(in), optional :: engine
    type(m7emu_type) :: emulator
    type(m7_config_type) :: config
    type(cells_type) :: ours, start, theirs
    integer :: bad
    integer(int32) :: status

    call tests%that(name//' is not loaded yet', .not. emulator%loaded())
    call emulator%load(file, status, device='cpu', engine=engine)
    call tests%that(name//' loads', status == 0 .and. emulator%loaded())
    if (status /= 0) print *, emulator%message()
    call make(start, cloudy=.true.)
    ours = start
    theirs = start
    call step_slot(emulator, ours, status)
    call tests%that(name//' steps', status == 0)
    call set_profile(config, profile, 0, bad)
    call reference_step(config, columns, kbdim, klev, dt, theirs%pressure, theirs%temperature, &
      theirs%humidity, theirs%cloud, theirs%production, theirs%gas, theirs%mass, theirs%number, &
      theirs%wet_radius, theirs%dry_radius, theirs%density, theirs%water, bad)
    call tests%that(name//' reference steps', bad == 0)
    call same(name//' gas', reshape(ours%gas, [kbdim, klev, 1]), &
      reshape(theirs%gas, [kbdim, klev, 1]), reshape(start%gas, [kbdim, klev, 1]))
    call same(name//' masses', ours%mass, theirs%mass, start%mass)
    call same(name//' numbers', ours%number, theirs%number, start%number)
    call same(name//' wet radii', ours%wet_radius, theirs%wet_radius, 0.0_real64*start%wet_radius)
    call same(name//' dry radii', ours%dry_radius, theirs%dry_radius, 0.0_real64*start%dry_radius)
    call same(name//' densities', ours%density, theirs%density, 0.0_real64*start%density)
    call same(name//' water', ours%water, theirs%water, 0.0_real64*start%water)
  end subroutine test_against_reference

  subroutine test_single_precision()
    type(m7emu_type) :: emulator
    type(cells_type) :: cells
    integer(int32) :: status
    real(real32), dimension(kbdim, klev) :: pressure, temperature, humidity, cloud, production, gas
    real(real32) :: mass(kbdim, klev, n_mass), number(kbdim, klev, n_mode)
    real(real32) :: wet_radius(kbdim, klev, n_mode), dry_radius(kbdim, klev, n_soluble)
    real(real32) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)

    call make(cells, cloudy=.true.)
    pressure = real(cells%pressure, real32)
    temperature = real(cells%temperature, real32)
    humidity = real(cells%humidity, real32)
    cloud = real(cells%cloud, real32)
    production = real(cells%production, real32)
    gas = real(cells%gas, real32)
    mass = real(cells%mass, real32)
    number = real(cells%number, real32)
    wet_radius = 0.0_real32
    dry_radius = 0.0_real32
    density = 0.0_real32
    water = 0.0_real32
    call emulator%load(ham2_file, status)
    call emulator%advance(columns, kbdim, klev, dt, pressure, temperature, humidity, cloud, &
      production, gas, mass, number, wet_radius, dry_radius, density, water, status)
    call tests%that('single precision steps', status == 0)
    call step_slot(emulator, cells, status)
    call tests%that('single precision is near double', &
      all(abs(wet_radius(:columns, :, :) - cells%wet_radius(:columns, :, :)) &
      <= 1.0e-4_real64*cells%wet_radius(:columns, :, :)))
  end subroutine test_single_precision

  subroutine test_flags()
    type(m7emu_type) :: emulator
    type(cells_type) :: cells, start
    integer(int32) :: flag(kbdim, klev), negatives(kbdim, klev), status
    real(real64) :: uncertainty(kbdim, klev)

    call make(cells, cloudy=.true.)
    cells%temperature(2, 1) = -5.0_real64
    cells%mass(3, 2, 5) = -1.0_real64
    start = cells
    flag = -1_int32
    negatives = -1_int32
    call emulator%load(ham2_file, status)
    call emulator%advance(columns, kbdim, klev, dt, cells%pressure, cells%temperature, &
      cells%humidity, cells%cloud, cells%production, cells%gas, cells%mass, cells%number, &
      cells%wet_radius, cells%dry_radius, cells%density, cells%water, status, flag=flag, &
      uncertainty=uncertainty, negatives=negatives)
    call tests%that('flagged step', status == 0)
    call tests%that('a bad cell is flagged', flag(2, 1) == flag_invalid)
    call tests%that('a bad cell is unchanged', &
      all(abs(cells%mass(2, 1, :) - start%mass(2, 1, :)) <= 0.0_real64))
    call tests%that('only that one', count(flag(:columns, :) /= flag_fine) == 1)
    call tests%that('negatives are counted', &
      negatives(3, 2) == 1 .and. sum(negatives(:columns, :)) == 1)
    call tests%that('flags beyond kproma', all(flag(columns + 1:, :) == -1))
  end subroutine test_flags

  subroutine test_failures()
    type(m7emu_type) :: emulator
    type(cells_type), target :: cells
    integer(int32) :: status
    integer :: i
    character(16), parameter :: devices(7) = &
      [character(16) :: 'gpu', 'cuda:', 'cuda:x', 'CPU', '', 'cuda:-', 'cuda:9999999999']
    character(16) :: padded
    character(:), allocatable :: text

    call make(cells, cloudy=.true.)
    call step_slot(emulator, cells, status)
    call tests%that('stepping before loading', status /= 0)
    call emulator%load('/no/such/file', status)
    call tests%that('no such file', status /= 0 .and. .not. emulator%loaded())
    call tests%that('its message', index(emulator%message(), '/no/such/file') == 1)
    do i = 1, size(devices)
      call emulator%load(ham2_file, status, device=trim(devices(i)))
      call tests%that('no such device: '//devices(i), status == status_bad_device)
      call tests%that('its name: '//devices(i), &
        index(emulator%message(), "device '"//trim(devices(i))//"'") == 1)
    end do
    call step_slot(emulator, cells, status)
    call tests%that('why it was not loaded', index(emulator%message(), "device 'cuda:9") == 1)
    call emulator%load(ham2_file, status, device='cuda:1')
    text = emulator%message()
    call tests%that('no GPU', status > 0 .and. index(text, 'is unknown') == 0)
    padded = 'cuda:1'
    call emulator%load(ham2_file, status, device=padded)
    call tests%that('no GPU by a padded name', status > 0)
    padded = 'cuda'
    call emulator%load(ham2_file, status, device=padded)
    call tests%that('a GPU by a padded name', status >= 0)
    padded = 'cpu'
    call emulator%load(ham2_file, status, device=padded)
    call tests%that('the CPU by a padded name', status == 0 .and. emulator%loaded())
    call emulator%load(ham2_file, status, engine='magic')
    call tests%that('no such engine', index(emulator%message(), "'magic'") > 0 .and. status > 0)
    call emulator%load(ham2_file, status)
    call emulator%load(older_file, status)
    call tests%that('loading again', status == 0)
    call emulator%advance(columns, kbdim, klev, dt, cells%pressure, cells%temperature, &
      cells%humidity, cells%cloud, cells%production, cells%gas, cells%mass, cells%number, &
      cells%wet_radius, cells%dry_radius, cells%density, cells%water, status, on_device=.true., &
      stream=c_null_ptr)
    call tests%that('no arrays on a device', index(emulator%message(), 'space is 1') > 0)
    call emulator%pin(c_loc(cells%mass), c_sizeof(cells%mass), status)
    call tests%that('a CPU pins nothing', status == 0)
    call emulator%unpin(c_loc(cells%mass), status)
    call tests%that('a CPU unpins nothing', status == 0)
    call emulator%pin(c_null_ptr, 8_c_size_t, status)
    call tests%that('null is not pinned', index(emulator%message(), 'memory is null') > 0)
    call emulator%close()
    call emulator%close()
    call tests%that('closed', .not. emulator%loaded())
  end subroutine test_failures

  subroutine test_other_version()
    !! The library says that it is not of this module's version.
    type(m7emu_type) :: emulator
    integer(int32) :: status
    character(:), allocatable :: text
    character(80) :: start

    call emulator%load(ham2_file, status)
    call tests%that('another version', status == status_other_version .and. .not. emulator%loaded())
    text = emulator%message()
    write (start, '(2(a, i0))') 'libm7emu has ABI version ', abi_version + 1, &
      ', the Fortran modules are of version ', abi_version
    call tests%that('both versions are told', index(text, trim(start)//':') == 1)
  end subroutine test_other_version

  subroutine test_ham2_list()
    type(m7emu_type) :: emulator
    type(cells_type) :: direct, listed, start
    integer(int32) :: status
    real(real64) :: ion(kbdim, klev), ppbl(kbdim), pww(kbdim, klev, n_mode)
    character(:), allocatable :: text

    call make(direct, cloudy=.true.)
    listed = direct
    ion = 0.0_real64
    ppbl = 2.0_real64
    pww = -77.0_real64
    call emulator%load(ham2_file, status)
    call step_slot(emulator, direct, status)
    call m7emu_setup(ham2_file, status, time_step_len=dt)
    call tests%that('HAM set-up', status == 0)
    call m7_ham2(columns, kbdim, klev, 1, listed%pressure, listed%temperature, listed%humidity, &
      listed%gas, listed%production, listed%mass, listed%number, listed%wet_radius, &
      listed%dry_radius, listed%density, pww, ion, listed%cloud, ppbl, ppbl, status)
    call tests%that('HAM2 list steps', status == 0 .and. worst_status == 0)
    call tests%that('HAM2 list is the step', &
      all(abs(listed%mass - direct%mass) <= 0.0_real64) .and. &
      all(abs(listed%number - direct%number) <= 0.0_real64) .and. &
      all(abs(listed%gas - direct%gas) <= 0.0_real64))
    call tests%that('water of the insoluble modes', &
      all(abs(pww(:columns, :, n_soluble + 1:)) <= 0.0_real64) .and. &
      all(abs(pww(:columns, :, :n_soluble) - direct%water(:columns, :, :)) <= 0.0_real64) .and. &
      all(pww(columns + 1:, :, :) < -76.0_real64))
    start = listed
    call m7_ham2(10**7, kbdim, klev, 1, listed%pressure, listed%temperature, listed%humidity, &
      listed%gas, listed%production, listed%mass, listed%number, listed%wet_radius, &
      listed%dry_radius, listed%density, pww, ion, listed%cloud, ppbl, ppbl, status)
    call tests%that('more columns than there are', status > 0 .and. worst_status == status)
    call tests%that('nothing is written', all(abs(listed%mass - start%mass) <= 0.0_real64))
    call m7emu_setup(ham2_file, status, device='gpu')
    text = m7emu_text()
    call tests%that('HAM set-up on no device', status == status_bad_device .and. &
      index(text, "device 'gpu'") == 1 .and. worst_status == 0)
    call m7emu_setup(ham2_file, status, device='cpu             ')
    call tests%that('HAM set-up on a padded device', status == 0)
    call m7_ham2(kbdim + 1, kbdim, klev, 1, listed%pressure, listed%temperature, listed%humidity, &
      listed%gas, listed%production, listed%mass, listed%number, listed%wet_radius, &
      listed%dry_radius, listed%density, pww, ion, listed%cloud, ppbl)
    call emulator%load('/another/file', status)
    text = m7emu_text()
    call tests%that('the text of the worst status', index(text, 'kproma is 24') > 0)
    call m7emu_setup('/no/such/file', status)
    text = m7emu_text()
    call tests%that('HAM set-up without a file', status /= 0 .and. index(text, '/no') == 1)
    call m7_ham2(columns, kbdim, klev, 1, listed%pressure, listed%temperature, listed%humidity, &
      listed%gas, listed%production, listed%mass, listed%number, listed%wet_radius, &
      listed%dry_radius, listed%density, pww, ion, listed%cloud, ppbl)
    call tests%that('a list without a model', worst_status /= 0)
  end subroutine test_ham2_list

  subroutine test_older_lists()
    type(m7emu_type) :: emulator
    type(cells_type) :: direct, echam, messy, start, tm5
    integer(int32) :: status
    real(real64), dimension(kbdim, klev, n_mode) :: pww

    call make(start, cloudy=.false.)
    direct = start
    echam = start
    messy = start
    tm5 = start
    call emulator%load(older_file, status)
    call step_slot_clear(emulator, direct, status)
    call m7emu_setup(older_file, status, dt)
    call m7_echam5(columns, kbdim, klev, echam%pressure, echam%humidity, echam%temperature, &
      echam%gas, echam%mass, echam%number, echam%wet_radius, echam%dry_radius, echam%density, pww)
    call tests%that('ECHAM5 list is the step', all(abs(echam%mass - direct%mass) <= 0.0_real64) &
      .and. all(abs(echam%wet_radius - direct%wet_radius) <= 0.0_real64))
    call m7_messy(columns, kbdim, klev, dt, messy%pressure, messy%humidity, messy%temperature, &
      messy%gas, messy%mass, messy%number, messy%wet_radius, messy%dry_radius, messy%density, pww)
    call tests%that('MESSy list is the step', all(abs(messy%mass - direct%mass) <= 0.0_real64) &
      .and. all(abs(messy%density - direct%density) <= 0.0_real64))
    call m7_tm5(columns, kbdim, klev, tm5%pressure, tm5%humidity, tm5%temperature, tm5%gas, &
      tm5%mass, tm5%number, tm5%density, pww, tm5%wet_radius, tm5%dry_radius, dt, status)
    call tests%that('TM5 list is the step', all(abs(tm5%mass - direct%mass) <= 0.0_real64) &
      .and. all(abs(tm5%density - direct%density) <= 0.0_real64) .and. status == 0)
    call tests%that('no list failed', worst_status == 0)
    call tests%that('all cells were good', invalid_cells == 0 .and. negative_amounts == 0)
    echam%temperature(2, 1) = -1.0_real64
    echam%mass(3, 2, 1:2) = -5.0_real64
    call m7_echam5(columns, kbdim, klev, echam%pressure, echam%humidity, echam%temperature, &
      echam%gas, echam%mass, echam%number, echam%wet_radius, echam%dry_radius, echam%density, pww)
    call tests%that('bad cells are counted', worst_status == 0 .and. invalid_cells == 1 .and. &
      negative_amounts == 2)
    call m7emu_shutdown()
  end subroutine test_older_lists

  subroutine step_slot_clear(emulator, cells, status)
    !! Without clouds and production, whatever their padding holds.
    type(m7emu_type), intent(in) :: emulator
    type(cells_type), intent(inout) :: cells
    integer(int32), intent(out) :: status
    real(real64) :: nothing(kbdim, klev)

    nothing = 0.0_real64
    call emulator%advance(columns, kbdim, klev, dt, cells%pressure, cells%temperature, &
      cells%humidity, nothing, nothing, cells%gas, cells%mass, cells%number, cells%wet_radius, &
      cells%dry_radius, cells%density, cells%water, status)
  end subroutine step_slot_clear
end program test_m7emu
