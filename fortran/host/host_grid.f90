module host_grid
  !! Longitudes, latitudes (north to south) and hybrid sigma-pressure levels, cut into blocks of
  !! `nproma` columns. Fields are (nproma, nlev, nblocks); the last block may be partly filled.
  !!
  !! With MPI, `first` will be the first column of a rank; all else stays as it is.
  use host_constants, only: degree, pi, standard_pressure, wp
  implicit none (type, external)
  private
  public :: grid_type, set_up_grid

  type :: grid_type
    integer :: nlon, nlat, nlev, nproma, nblocks, columns
    integer :: first
    !! Number of the first column here
    real(wp), allocatable :: longitude(:), latitude(:)
    !! Of columns [degrees east, degrees north] (nlon), (nlat)
    real(wp), allocatable :: row_weight(:)
    !! Share of the Earth's surface in one column of a row [1] (nlat)
    real(wp), allocatable :: hyai(:), hybi(:)
    !! Pressure at interfaces is hyai + hybi*surface pressure [Pa], [1] (nlev + 1)
    real(wp), allocatable :: lon(:, :), lat(:, :), weight(:, :)
    !! Of columns [radians, radians, 1] (nproma, nblocks)
  contains
    procedure :: kproma
    procedure :: column
    procedure :: row
    procedure :: global_mean
    procedure :: to_map
  end type grid_type

contains

  pure subroutine set_up_grid(grid, nlon, nlat, nlev, nproma)
    type(grid_type), intent(out) :: grid
    integer, intent(in) :: nlon, nlat, nlev, nproma
    integer :: b, i, j, k
    real(wp) :: eta

    grid%nlon = nlon
    grid%nlat = nlat
    grid%nlev = nlev
    grid%nproma = nproma
    grid%columns = nlon*nlat
    grid%first = 1
    grid%nblocks = (grid%columns + nproma - 1)/nproma
    allocate (grid%longitude(nlon), grid%latitude(nlat), grid%row_weight(nlat))
    do i = 1, nlon
      grid%longitude(i) = 360.0_wp*(i - 1)/nlon
    end do
    do j = 1, nlat
      grid%latitude(j) = 90.0_wp - 180.0_wp*(j - 0.5_wp)/nlat
      grid%row_weight(j) = 0.5_wp*(cos(pi*(j - 1)/nlat) - cos(pi*j/nlat))/nlon
    end do

    ! Layers thin at the surface and at the top; from pure pressure above about 80 hPa to sigma.
    allocate (grid%hyai(nlev + 1), grid%hybi(nlev + 1))
    do k = 1, nlev + 1
      eta = real(k - 1, wp)/nlev
      eta = eta*(0.4_wp + eta*(1.9_wp - 1.3_wp*eta))
      grid%hybi(k) = (max(eta - 0.08_wp, 0.0_wp)/0.92_wp)**1.6_wp
      grid%hyai(k) = (eta - grid%hybi(k))*standard_pressure
    end do
    grid%hybi(nlev + 1) = 1.0_wp
    grid%hyai(nlev + 1) = 0.0_wp

    allocate (grid%lon(nproma, grid%nblocks), grid%lat(nproma, grid%nblocks))
    allocate (grid%weight(nproma, grid%nblocks))
    grid%lon = 0.0_wp
    grid%lat = 0.0_wp
    grid%weight = 0.0_wp
    do b = 1, grid%nblocks
      do i = 1, grid%kproma(b)
        j = grid%row(b, i)
        grid%lon(i, b) = degree*grid%longitude(modulo(grid%column(b, i) - 1, nlon) + 1)
        grid%lat(i, b) = degree*grid%latitude(j)
        grid%weight(i, b) = grid%row_weight(j)
      end do
    end do
  end subroutine set_up_grid

  elemental integer function kproma(this, block)
    !! Columns of a block
    class(grid_type), intent(in) :: this
    integer, intent(in) :: block

    kproma = min(this%nproma, this%columns - (block - 1)*this%nproma)
  end function kproma

  elemental integer function column(this, block, i)
    !! Number of a column on the globe, whatever nproma is
    class(grid_type), intent(in) :: this
    integer, intent(in) :: block, i

    column = this%first - 1 + (block - 1)*this%nproma + i
  end function column

  elemental integer function row(this, block, i)
    class(grid_type), intent(in) :: this
    integer, intent(in) :: block, i

    row = (this%column(block, i) - 1)/this%nlon + 1
  end function row

  pure real(wp) function global_mean(this, field)
    !! Area mean. Summed column by column, so that neither blocks nor threads change its bits.
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: field(:, :)
    !! (nproma, nblocks)
    integer :: b, i

    global_mean = 0.0_wp
    do b = 1, this%nblocks
      do i = 1, this%kproma(b)
        global_mean = global_mean + this%weight(i, b)*field(i, b)
      end do
    end do
  end function global_mean

  pure subroutine to_map(this, field, map)
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: field(:, :)
    !! (nproma, nblocks)
    real(wp), intent(out) :: map(:, :)
    !! (nlon, nlat)
    integer :: b, c, i

    do b = 1, this%nblocks
      do i = 1, this%kproma(b)
        c = this%column(b, i) - 1
        map(modulo(c, this%nlon) + 1, c/this%nlon + 1) = field(i, b)
      end do
    end do
  end subroutine to_map
end module host_grid
