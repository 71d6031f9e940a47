module host_grid
  !! Longitudes, latitudes (north to south) and hybrid sigma-pressure levels. A rank has a band of
  !! whole rows, cut into blocks of `nproma` columns. Fields are (nproma, nlev, nblocks); the last
  !! block may be partly filled.
  use host_constants, only: degree, pi, standard_pressure, wp
  use host_parallel, only: broadcast, gather, parallel_type
  implicit none (type, external)
  private
  public :: grid_type, set_up_grid

  type :: grid_type
    integer :: nlon, nlat, nlev
    !! Of the globe
    type(parallel_type) :: parallel
    integer :: nproma, nblocks, columns, rows
    !! Of this rank
    integer :: first, first_row
    !! Number of the first column and row here
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
    procedure :: global_means
    procedure :: to_globe
    procedure :: to_map
    procedure :: to_cube
    procedure :: everywhere
    procedure :: runs
  end type grid_type

contains

  pure subroutine set_up_grid(grid, nlon, nlat, nlev, nproma, parallel)
    type(grid_type), intent(out) :: grid
    integer, intent(in) :: nlon, nlat, nlev, nproma
    type(parallel_type), intent(in) :: parallel
    !! Each rank gets rows; there are enough
    integer :: b, i, j, k
    real(wp) :: eta

    grid%nlon = nlon
    grid%nlat = nlat
    grid%nlev = nlev
    grid%parallel = parallel
    grid%first_row = parallel%rank*nlat/parallel%ranks + 1
    grid%rows = (parallel%rank + 1)*nlat/parallel%ranks + 1 - grid%first_row
    grid%first = (grid%first_row - 1)*nlon + 1
    grid%columns = grid%rows*nlon
    grid%nproma = min(nproma, grid%columns)
    grid%nblocks = (grid%columns + grid%nproma - 1)/grid%nproma
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

    allocate (grid%lon(grid%nproma, grid%nblocks), grid%lat(grid%nproma, grid%nblocks))
    allocate (grid%weight(grid%nproma, grid%nblocks))
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

  real(wp) function global_mean(this, field)
    !! Area mean, on all ranks
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: field(:, :)
    !! (nproma, nblocks)
    real(wp) :: means(1)

    means = this%global_means(reshape(field, [size(field, 1), 1, size(field, 2)]))
    global_mean = means(1)
  end function global_mean

  function global_means(this, fields) result(means)
    !! Area means, on all ranks. Summed column by column over the globe, so that neither blocks nor
    !! threads nor ranks change their bits.
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: fields(:, :, :)
    !! (nproma, n, nblocks)
    integer :: i, j, n
    real(wp) :: means(size(fields, 2))
    real(wp), allocatable :: globe(:, :, :)

    allocate (globe(this%nlon, size(fields, 2), this%nlat))
    call this%to_globe(fields, globe)
    means = 0.0_wp
    if (this%parallel%rank == 0) then
      do j = 1, this%nlat
        do n = 1, size(means)
          do i = 1, this%nlon
            means(n) = means(n) + this%row_weight(j)*globe(i, n, j)
          end do
        end do
      end do
    end if
    call broadcast(this%parallel, means)
  end function global_means

  subroutine to_globe(this, fields, globe)
    !! Whole globe, on rank 0, in one message from each rank.
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: fields(:, :, :)
    !! (nproma, n, nblocks)
    real(wp), intent(inout), contiguous :: globe(:, :, :)
    !! (nlon, n, nlat)
    integer :: b, i, length, longitude, n, row
    real(wp), allocatable :: rows(:, :, :)

    allocate (rows(this%nlon, size(fields, 2), this%rows))
    do b = 1, this%nblocks
      i = 1
      do while (i <= this%kproma(b))
        call this%runs(b, i, longitude, row, length)
        do n = 1, size(fields, 2)
          rows(longitude:longitude + length - 1, n, row) = fields(i:i + length - 1, n, b)
        end do
        i = i + length
      end do
    end do
    call flat(size(rows), size(globe), rows, globe)

  contains

    subroutine flat(here, there, rows, globe)
      integer, intent(in) :: here, there
      real(wp), intent(in) :: rows(here)
      real(wp), intent(inout) :: globe(there)

      call gather(this%parallel, rows, globe)
    end subroutine flat
  end subroutine to_globe

  subroutine to_map(this, field, map)
    !! Whole globe of one field, on rank 0.
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: field(:, :)
    !! (nproma, nblocks)
    real(wp), intent(inout) :: map(:, :)
    !! (nlon, nlat)
    real(wp) :: globe(this%nlon, 1, this%nlat)

    call this%to_globe(reshape(field, [size(field, 1), 1, size(field, 2)]), globe)
    if (this%parallel%rank == 0) map = globe(:, 1, :)
  end subroutine to_map

  subroutine to_cube(this, fields, cube)
    !! Whole globe of levels, on rank 0.
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: fields(:, :, :)
    !! (nproma, n, nblocks)
    real(wp), intent(inout) :: cube(:, :, :)
    !! (nlon, nlat, n)
    integer :: n
    real(wp), allocatable :: globe(:, :, :)

    allocate (globe(this%nlon, size(fields, 2), this%nlat))
    call this%to_globe(fields, globe)
    if (this%parallel%rank /= 0) return
    do n = 1, size(fields, 2)
      cube(:, :, n) = globe(:, n, :)
    end do
  end subroutine to_cube

  subroutine everywhere(this, field, map)
    !! The whole globe, on all ranks.
    class(grid_type), intent(in) :: this
    real(wp), intent(in) :: field(:, :)
    !! (nproma, nblocks)
    real(wp), intent(inout), contiguous :: map(:, :)
    !! (nlon, nlat)
    integer :: j

    call this%to_map(field, map)
    do j = 1, this%nlat
      call broadcast(this%parallel, map(:, j))
    end do
  end subroutine everywhere

  elemental subroutine runs(this, block, i, longitude, row, length)
    !! Where column i of a block lies in the rank's rows, and how many columns from it on lie next
    !! to each other in both.
    class(grid_type), intent(in) :: this
    integer, intent(in) :: block, i
    integer, intent(out) :: longitude, row, length
    integer :: place

    place = (block - 1)*this%nproma + i - 1
    longitude = modulo(place, this%nlon) + 1
    row = place/this%nlon + 1
    length = min(this%kproma(block) - i, this%nlon - longitude) + 1
  end subroutine runs
end module host_grid
