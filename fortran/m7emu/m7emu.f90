module m7emu
  !! The emulator of M7 for Fortran hosts: load a model file once, step blocks of columns with it.
  !!
  !!     type(m7emu_type) :: emulator
  !!     call emulator%load('model.safetensors', status)
  !!     if (status /= 0) print *, emulator%message()
  !!     call emulator%step(kproma, kbdim, klev, timestep, ..., status)
  !!
  !! A loaded emulator is read-only: any number of threads may step different blocks with it. It is
  !! closed when it goes out of scope, so do not copy it by assignment.
  use, intrinsic :: iso_c_binding, only: c_associated, c_char, c_double, c_int32_t, c_loc, &
    c_null_char, c_null_ptr, c_ptr, c_size_t, c_sizeof
  use, intrinsic :: iso_fortran_env, only: int32, real32, real64
  use m7emu_abi, only: abi_version, device_space, m7emu_abi_version, m7emu_block, m7emu_close, &
    m7emu_message, m7emu_open, m7emu_options, m7emu_pin, m7emu_step, m7emu_step_float, m7emu_unpin
  use microphysics, only: microphysics_type, n_mass, n_mode, n_soluble
  implicit none (type, external)
  private
  public :: m7emu_type
  public :: flag_extrapolating, flag_fine, flag_invalid, flag_outside
  public :: status_bad_device, status_other_version

  integer(int32), parameter :: flag_fine = 0_int32, flag_extrapolating = 1_int32
  integer(int32), parameter :: flag_outside = 2_int32, flag_invalid = 3_int32
  !! What became of a cell: stepped; near the edge of what the model knows; so far outside that M7
  !! should do it; an input not finite or out of its range, left unchanged
  integer(int32), parameter :: status_other_version = -1_int32, status_bad_device = -2_int32
  !! Besides those of m7emu.h: the library has another ABI version than this module; no such device

  type, extends(microphysics_type) :: m7emu_type
    private
    type(c_ptr) :: model = c_null_ptr
    character(:), allocatable :: refusal
    !! Why this module, not the library, has loaded no model
  contains
    procedure :: load
    procedure :: loaded
    procedure :: step
    procedure, private :: advance_double, advance_single
    generic :: advance => advance_double, advance_single
    procedure :: pin, unpin
    procedure :: close => close_model
    procedure :: message
    final :: finalise
  end type m7emu_type

contains

  subroutine load(this, path, status, device, engine)
    !! Open a model file; one that is open already is closed.
    class(m7emu_type), intent(inout) :: this
    character(*), intent(in) :: path
    integer(int32), intent(out) :: status
    !! 0 when all is well, a status of m7emu.h, or one of this module's
    character(*), intent(in), optional :: device
    !! 'cpu' (default), 'cuda', 'cuda:<index>'
    character(*), intent(in), optional :: engine
    !! 'native' (default); 'torch' runs the model in torch, in a Python inside the process: see
    !! m7emu.h. Then call this after MPI_Init, and do not fork afterwards. 'native-tf32',
    !! 'native-3xtf32' and 'native-bf16' use tensor cores of a GPU
    type(m7emu_options) :: options
    logical :: known
    integer(int32) :: version
    character(12) :: number(2)
    character(kind=c_char), allocatable, target :: c_path(:), c_engine(:)

    call this%close()
    version = m7emu_abi_version()
    if (version /= abi_version) then
      status = status_other_version
      write (number, '(i0)') version, abi_version
      this%refusal = 'libm7emu has ABI version ' // trim(number(1)) // &
        ', the Fortran modules are of version ' // trim(number(2)) // &
        ': compile those that were installed with it'
      return
    end if
    options%struct_size = int(c_sizeof(options), c_int32_t)
    if (present(device)) then
      call device_index(trim(device), options%device, known)
      if (.not. known) then
        status = status_bad_device
        this%refusal = "device '" // trim(device) // &
          "' is unknown; it is 'cpu', 'cuda' or 'cuda:<index>'"
        return
      end if
    end if
    if (present(engine)) then
      c_engine = c_string(engine)
      options%engine = c_loc(c_engine)
    end if
    c_path = c_string(path)
    status = m7emu_open(c_loc(c_path), options, this%model)
  end subroutine load

  pure subroutine device_index(device, place, known)
    !! The number of a device by its name; unchanged for 'cpu'.
    character(*), intent(in) :: device
    integer(c_int32_t), intent(inout) :: place
    logical, intent(out) :: known
    integer :: bad

    known = .true.
    select case (device)
    case ('cpu')
    case ('cuda')
      place = 0_c_int32_t
    case default
      known = .false.
      if (index(device, 'cuda:') /= 1) return
      if (len(device) == 5 .or. verify(device(6:), '0123456789') /= 0) return
      read (device(6:), *, iostat=bad) place
      known = bad == 0
    end select
  end subroutine device_index

  elemental logical function loaded(this)
    !! Is there a model to step with?
    class(m7emu_type), intent(in) :: this

    loaded = c_associated(this%model)
  end function loaded

  subroutine step(this, kproma, kbdim, klev, timestep, pressure, temperature, relative_humidity, &
    cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, dry_radius, density, water, &
    status)
    !! Advance columns 1 to kproma of all levels by one timestep (see `microphysics`).
    class(m7emu_type), intent(in) :: this
    integer, intent(in) :: kproma, kbdim, klev
    real(real64), intent(in) :: timestep
    real(real64), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
    real(real64), intent(in) :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    real(real64), intent(in) :: h2so4_production(kbdim, klev)
    real(real64), intent(inout) :: h2so4(kbdim, klev)
    real(real64), intent(inout) :: mass(kbdim, klev, n_mass)
    real(real64), intent(inout) :: number(kbdim, klev, n_mode)
    real(real64), intent(inout) :: wet_radius(kbdim, klev, n_mode)
    real(real64), intent(inout) :: dry_radius(kbdim, klev, n_soluble)
    real(real64), intent(inout) :: density(kbdim, klev, n_mode)
    real(real64), intent(inout) :: water(kbdim, klev, n_soluble)
    integer(int32), intent(out) :: status

    call this%advance(kproma, kbdim, klev, timestep, pressure, temperature, relative_humidity, &
      cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, dry_radius, density, &
      water, status)
  end subroutine step

  subroutine advance_double(this, kproma, kbdim, klev, timestep, pressure, temperature, &
    relative_humidity, cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, &
    dry_radius, density, water, status, flag, uncertainty, negatives, ion_pair_production, &
    forest_fraction, boundary_layer, on_device, stream)
    !! `step`, with all that the emulator can tell, in double precision.
    class(m7emu_type), intent(in) :: this
    integer, intent(in) :: kproma, kbdim, klev
    !! Columns in use, leading dimension, levels
    real(real64), intent(in) :: timestep
    !! [s]
    real(real64), intent(in), target :: pressure(kbdim, klev), temperature(kbdim, klev)
    !! Pa, K
    real(real64), intent(in), target :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    !! Over liquid water, of the clear part [1], and 1
    real(real64), intent(in), target :: h2so4_production(kbdim, klev)
    !! [molecules cm-3 s-1]
    real(real64), intent(inout), target :: h2so4(kbdim, klev)
    !! At the start of the step, before production [molecules cm-3]
    real(real64), intent(inout), target :: mass(kbdim, klev, n_mass), number(kbdim, klev, n_mode)
    !! Sulfate: molecules cm-3, other species: ug m-3; cm-3
    real(real64), intent(inout), target :: wet_radius(kbdim, klev, n_mode)
    real(real64), intent(inout), target :: dry_radius(kbdim, klev, n_soluble)
    !! Count median radii after the step [cm]
    real(real64), intent(inout), target :: density(kbdim, klev, n_mode)
    !! Ambient, after the step [g cm-3]
    real(real64), intent(inout), target :: water(kbdim, klev, n_soluble)
    !! After the step [kg m-3]
    integer(int32), intent(out) :: status
    !! 0 when all is well; otherwise nothing was written and `message` tells why
    integer(int32), intent(inout), optional, target :: flag(kbdim, klev)
    !! flag_fine, flag_extrapolating, flag_outside or flag_invalid
    real(real64), intent(inout), optional, target :: uncertainty(kbdim, klev)
    !! Expected error of the step [1]
    integer(int32), intent(inout), optional, target :: negatives(kbdim, klev)
    !! Negative inputs taken as 0, per cell
    real(real64), intent(in), optional, target :: ion_pair_production(kbdim, klev)
    !! [cm-3 s-1]
    real(real64), intent(in), optional, target :: forest_fraction(kbdim, klev)
    real(real64), intent(in), optional, target :: boundary_layer(kbdim, klev)
    !! For organic nucleation; absent: 0 [1, 1 inside and 0 above the boundary layer]
    logical, intent(in), optional :: on_device
    !! The arrays are those in the GPU's memory, as within OpenACC's `host_data use_device`; default
    !! .false.: the host's
    type(c_ptr), intent(in), optional :: stream
    !! That steps them, which is not waited for; absent: the default stream, which is
    type(m7emu_block) :: block

    call describe(block, kproma, kbdim, klev, timestep, on_device, stream)
    block%pressure = c_loc(pressure)
    block%temperature = c_loc(temperature)
    block%relative_humidity = c_loc(relative_humidity)
    block%cloud_fraction = c_loc(cloud_fraction)
    block%h2so4_production = c_loc(h2so4_production)
    if (present(ion_pair_production)) block%ion_pair_production = c_loc(ion_pair_production)
    if (present(forest_fraction)) block%forest_fraction = c_loc(forest_fraction)
    if (present(boundary_layer)) block%boundary_layer = c_loc(boundary_layer)
    block%h2so4 = c_loc(h2so4)
    block%mass = c_loc(mass)
    block%number = c_loc(number)
    block%wet_radius = c_loc(wet_radius)
    block%dry_radius = c_loc(dry_radius)
    block%density = c_loc(density)
    block%water = c_loc(water)
    if (present(flag)) block%flag = c_loc(flag)
    if (present(uncertainty)) block%uncertainty = c_loc(uncertainty)
    if (present(negatives)) block%negatives = c_loc(negatives)
    status = m7emu_step(this%model, block)
  end subroutine advance_double

  subroutine advance_single(this, kproma, kbdim, klev, timestep, pressure, temperature, &
    relative_humidity, cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, &
    dry_radius, density, water, status, flag, uncertainty, negatives, ion_pair_production, &
    forest_fraction, boundary_layer, on_device, stream)
    !! `step`, with all that the emulator can tell, in single precision.
    class(m7emu_type), intent(in) :: this
    integer, intent(in) :: kproma, kbdim, klev
    !! Columns in use, leading dimension, levels
    real(real64), intent(in) :: timestep
    !! [s]
    real(real32), intent(in), target :: pressure(kbdim, klev), temperature(kbdim, klev)
    !! Pa, K
    real(real32), intent(in), target :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    !! Over liquid water, of the clear part [1], and 1
    real(real32), intent(in), target :: h2so4_production(kbdim, klev)
    !! [molecules cm-3 s-1]
    real(real32), intent(inout), target :: h2so4(kbdim, klev)
    !! At the start of the step, before production [molecules cm-3]
    real(real32), intent(inout), target :: mass(kbdim, klev, n_mass), number(kbdim, klev, n_mode)
    !! Sulfate: molecules cm-3, other species: ug m-3; cm-3
    real(real32), intent(inout), target :: wet_radius(kbdim, klev, n_mode)
    real(real32), intent(inout), target :: dry_radius(kbdim, klev, n_soluble)
    !! Count median radii after the step [cm]
    real(real32), intent(inout), target :: density(kbdim, klev, n_mode)
    !! Ambient, after the step [g cm-3]
    real(real32), intent(inout), target :: water(kbdim, klev, n_soluble)
    !! After the step [kg m-3]
    integer(int32), intent(out) :: status
    !! 0 when all is well; otherwise nothing was written and `message` tells why
    integer(int32), intent(inout), optional, target :: flag(kbdim, klev)
    !! flag_fine, flag_extrapolating, flag_outside or flag_invalid
    real(real32), intent(inout), optional, target :: uncertainty(kbdim, klev)
    !! Expected error of the step [1]
    integer(int32), intent(inout), optional, target :: negatives(kbdim, klev)
    !! Negative inputs taken as 0, per cell
    real(real32), intent(in), optional, target :: ion_pair_production(kbdim, klev)
    !! [cm-3 s-1]
    real(real32), intent(in), optional, target :: forest_fraction(kbdim, klev)
    real(real32), intent(in), optional, target :: boundary_layer(kbdim, klev)
    !! For organic nucleation; absent: 0 [1, 1 inside and 0 above the boundary layer]
    logical, intent(in), optional :: on_device
    !! The arrays are those in the GPU's memory, as within OpenACC's `host_data use_device`; default
    !! .false.: the host's
    type(c_ptr), intent(in), optional :: stream
    !! That steps them, which is not waited for; absent: the default stream, which is
    type(m7emu_block) :: block

    call describe(block, kproma, kbdim, klev, timestep, on_device, stream)
    block%pressure = c_loc(pressure)
    block%temperature = c_loc(temperature)
    block%relative_humidity = c_loc(relative_humidity)
    block%cloud_fraction = c_loc(cloud_fraction)
    block%h2so4_production = c_loc(h2so4_production)
    if (present(ion_pair_production)) block%ion_pair_production = c_loc(ion_pair_production)
    if (present(forest_fraction)) block%forest_fraction = c_loc(forest_fraction)
    if (present(boundary_layer)) block%boundary_layer = c_loc(boundary_layer)
    block%h2so4 = c_loc(h2so4)
    block%mass = c_loc(mass)
    block%number = c_loc(number)
    block%wet_radius = c_loc(wet_radius)
    block%dry_radius = c_loc(dry_radius)
    block%density = c_loc(density)
    block%water = c_loc(water)
    if (present(flag)) block%flag = c_loc(flag)
    if (present(uncertainty)) block%uncertainty = c_loc(uncertainty)
    if (present(negatives)) block%negatives = c_loc(negatives)
    status = m7emu_step_float(this%model, block)
  end subroutine advance_single

  pure subroutine describe(block, kproma, kbdim, klev, timestep, on_device, stream)
    !! What blocks of both precisions begin with.
    type(m7emu_block), intent(out) :: block
    integer, intent(in) :: kproma, kbdim, klev
    real(real64), intent(in) :: timestep
    logical, intent(in), optional :: on_device
    type(c_ptr), intent(in), optional :: stream

    block%struct_size = int(c_sizeof(block), c_int32_t)
    if (present(on_device)) then
      if (on_device) block%space = device_space
    end if
    if (present(stream)) block%stream = stream
    block%kproma = int(kproma, c_int32_t)
    block%kbdim = int(kbdim, c_int32_t)
    block%klev = int(klev, c_int32_t)
    block%timestep = real(timestep, c_double)
  end subroutine describe

  subroutine pin(this, memory, bytes, status)
    !! Let the GPU copy blocks in this memory itself, which is much faster: once for arrays that are
    !! stepped often, `call emulator%pin(c_loc(mass), c_sizeof(mass), status)`. `unpin` it before it
    !! is deallocated. Does nothing on a CPU.
    class(m7emu_type), intent(in) :: this
    type(c_ptr), intent(in) :: memory
    integer(c_size_t), intent(in) :: bytes
    integer(int32), intent(out) :: status

    status = m7emu_pin(this%model, memory, bytes)
  end subroutine pin

  subroutine unpin(this, memory, status)
    !! Undo `pin`.
    class(m7emu_type), intent(in) :: this
    type(c_ptr), intent(in) :: memory
    integer(int32), intent(out) :: status

    status = m7emu_unpin(this%model, memory)
  end subroutine unpin

  subroutine close_model(this)
    !! Release the model; no block may be under way.
    class(m7emu_type), intent(inout) :: this

    call m7emu_close(this%model)
    this%model = c_null_ptr
    if (allocated(this%refusal)) deallocate (this%refusal)
  end subroutine close_model

  subroutine finalise(this)
    type(m7emu_type), intent(inout) :: this

    call this%close()
  end subroutine finalise

  function message(this) result(text)
    !! Text of the calling thread's last error; of an emulator that was not loaded for a status of
    !! this module, that.
    class(m7emu_type), intent(in) :: this
    character(:), allocatable :: text
    character(kind=c_char), target :: buffer(1024)
    integer :: i, length

    if (allocated(this%refusal)) then
      text = this%refusal
      return
    end if
    length = int(m7emu_message(c_loc(buffer), size(buffer, kind=c_size_t)))
    length = min(length, size(buffer) - 1)
    allocate (character(length) :: text)
    do i = 1, length
      text(i:i) = buffer(i)
    end do
  end function message

  pure function c_string(text) result(string)
    !! As C has it; trailing blanks are dropped.
    character(*), intent(in) :: text
    character(kind=c_char) :: string(len_trim(text) + 1)
    integer :: i

    do i = 1, len_trim(text)
      string(i) = text(i:i)
    end do
    string(len_trim(text) + 1) = c_null_char
  end function c_string
end module m7emu
