module m7emu_abi
  !! The C interface of libm7emu as `m7emu.h` declares it, and nothing else; hosts use `m7emu`.
  use, intrinsic :: iso_c_binding, only: c_double, c_int32_t, c_null_ptr, c_ptr, c_size_t
  implicit none (type, external)
  private
  public :: m7emu_abi_version, m7emu_close, m7emu_message, m7emu_open, m7emu_pin, m7emu_step, &
    m7emu_step_float, m7emu_unpin
  public :: abi_version, device_cpu, device_space, host_space, m7emu_block, m7emu_options

  integer(c_int32_t), parameter :: abi_version = 1_c_int32_t
  !! M7EMU_ABI_VERSION
  integer(c_int32_t), parameter :: device_cpu = -1_c_int32_t, host_space = 0_c_int32_t
  integer(c_int32_t), parameter :: device_space = 1_c_int32_t
  !! M7EMU_DEVICE_CPU, M7EMU_HOST, M7EMU_DEVICE

  type, bind(C) :: m7emu_options
    integer(c_int32_t) :: struct_size = 0_c_int32_t
    integer(c_int32_t) :: device = device_cpu
    type(c_ptr) :: engine = c_null_ptr
  end type m7emu_options

  type, bind(C) :: m7emu_block
    !! m7emu_block and m7emu_block_float: their pointers differ only in what they point to.
    integer(c_int32_t) :: struct_size = 0_c_int32_t
    integer(c_int32_t) :: space = host_space
    type(c_ptr) :: stream = c_null_ptr
    integer(c_int32_t) :: kproma = 0_c_int32_t
    integer(c_int32_t) :: kbdim = 0_c_int32_t
    integer(c_int32_t) :: klev = 0_c_int32_t
    integer(c_int32_t) :: unused = 0_c_int32_t
    real(c_double) :: timestep = 0.0_c_double
    type(c_ptr) :: pressure = c_null_ptr
    type(c_ptr) :: temperature = c_null_ptr
    type(c_ptr) :: relative_humidity = c_null_ptr
    type(c_ptr) :: cloud_fraction = c_null_ptr
    type(c_ptr) :: h2so4_production = c_null_ptr
    type(c_ptr) :: ion_pair_production = c_null_ptr
    type(c_ptr) :: forest_fraction = c_null_ptr
    type(c_ptr) :: boundary_layer = c_null_ptr
    type(c_ptr) :: h2so4 = c_null_ptr
    type(c_ptr) :: mass = c_null_ptr
    type(c_ptr) :: number = c_null_ptr
    type(c_ptr) :: wet_radius = c_null_ptr
    type(c_ptr) :: dry_radius = c_null_ptr
    type(c_ptr) :: density = c_null_ptr
    type(c_ptr) :: water = c_null_ptr
    type(c_ptr) :: flag = c_null_ptr
    type(c_ptr) :: uncertainty = c_null_ptr
    type(c_ptr) :: negatives = c_null_ptr
  end type m7emu_block

  interface
    function m7emu_abi_version() bind(C) result(version)
      import :: c_int32_t
      implicit none (type, external)
      integer(c_int32_t) :: version
    end function m7emu_abi_version

    function m7emu_open(path, options, model) bind(C) result(status)
      import :: c_int32_t, c_ptr, m7emu_options
      implicit none (type, external)
      type(c_ptr), value :: path
      type(m7emu_options), intent(in) :: options
      type(c_ptr), intent(out) :: model
      integer(c_int32_t) :: status
    end function m7emu_open

    function m7emu_step(model, block) bind(C) result(status)
      import :: c_int32_t, c_ptr, m7emu_block
      implicit none (type, external)
      type(c_ptr), value :: model
      type(m7emu_block), intent(in) :: block
      integer(c_int32_t) :: status
    end function m7emu_step

    function m7emu_step_float(model, block) bind(C) result(status)
      import :: c_int32_t, c_ptr, m7emu_block
      implicit none (type, external)
      type(c_ptr), value :: model
      type(m7emu_block), intent(in) :: block
      integer(c_int32_t) :: status
    end function m7emu_step_float

    function m7emu_pin(model, memory, bytes) bind(C) result(status)
      import :: c_int32_t, c_ptr, c_size_t
      implicit none (type, external)
      type(c_ptr), value :: model, memory
      integer(c_size_t), value :: bytes
      integer(c_int32_t) :: status
    end function m7emu_pin

    function m7emu_unpin(model, memory) bind(C) result(status)
      import :: c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value :: model, memory
      integer(c_int32_t) :: status
    end function m7emu_unpin

    subroutine m7emu_close(model) bind(C)
      import :: c_ptr
      implicit none (type, external)
      type(c_ptr), value :: model
    end subroutine m7emu_close

    function m7emu_message(buffer, length) bind(C) result(needed)
      import :: c_ptr, c_size_t
      implicit none (type, external)
      type(c_ptr), value :: buffer
      integer(c_size_t), value :: length
      integer(c_size_t) :: needed
    end function m7emu_message
  end interface
end module m7emu_abi
