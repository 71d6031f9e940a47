module host_surface
  !! Land, mountains, deserts and forests of an Earth drawn with ellipses.
  use host_constants, only: degree, standard_pressure, wp
  use host_grid, only: grid_type
  implicit none (type, external)
  private
  public :: surface_type, set_up_surface
  public :: spots

  real(wp), parameter :: scale_height = 8000.0_wp
  !! [m]

  ! Ellipses: longitude and latitude of the centre, half axes [degrees].
  real(wp), parameter :: continents(4, 17) = reshape([real(wp) :: &
    -100, 47, 27, 19, -108, 62, 45, 11, -102, 22, 9, 9, -42, 73, 14, 10, -59, -8, 19, 17, &
    -67, -35, 8, 19, 12, 19, 29, 15, 25, -14, 14, 21, 22, 53, 26, 13, 85, 50, 55, 19, &
    100, 66, 70, 9, 47, 23, 11, 10, 79, 20, 8, 13, 103, 17, 8, 11, 110, 31, 14, 12, &
    118, -2, 17, 5, 134, -25, 18, 11], [4, 17])
  real(wp), parameter :: mountains(5, 6) = reshape([real(wp) :: &
    88, 34, 14, 7, 4300, -69, -20, 5, 24, 2300, -110, 42, 10, 14, 1500, -42, 73, 12, 9, 2000, &
    37, 3, 8, 12, 1000, 0, -90, 400, 14, 2300], [5, 6])
  !! With height [m]
  real(wp), parameter :: deserts(4, 8) = reshape([real(wp) :: &
    10, 23, 24, 7, 47, 23, 9, 7, 95, 42, 17, 5, 132, -26, 12, 6, 20, -24, 5, 5, &
    -68, -42, 4, 7, 70, 28, 5, 4, -112, 34, 6, 4], [4, 8])
  real(wp), parameter :: forests(4, 8) = reshape([real(wp) :: &
    -62, -6, 14, 10, 20, 0, 12, 8, 110, 0, 20, 9, -82, 37, 10, 8, -100, 57, 35, 7, &
    90, 60, 55, 7, 20, 52, 18, 8, 112, 27, 12, 8], [4, 8])

  type :: surface_type
    real(wp), allocatable :: land(:, :), desert(:, :), forest(:, :)
    !! Cover [1] (nproma, nblocks)
    real(wp), allocatable :: pressure(:, :)
    !! Fixed in time, hence so is the mass of air in a layer [Pa] (nproma, nblocks)
  end type surface_type

contains

  pure subroutine set_up_surface(grid, surface)
    type(grid_type), intent(in) :: grid
    type(surface_type), intent(out) :: surface
    integer :: k
    real(wp) :: height(grid%nproma, grid%nblocks), latitude(grid%nproma, grid%nblocks)

    latitude = grid%lat/degree
    surface%land = 1.0_wp/(1.0_wp + exp((latitude + 70.0_wp)/1.5_wp))
    do k = 1, size(continents, 2)
      surface%land = max(surface%land, 1.0_wp &
        /(1.0_wp + exp(min(7.0_wp*(distance(grid%lon, grid%lat, continents(:, k)) - 1.0_wp), &
        100.0_wp))))
    end do
    surface%land = merge(surface%land, 0.0_wp, surface%land > 0.02_wp)
    surface%desert = min(spots(grid, deserts), 1.0_wp)*surface%land
    surface%forest = min(spots(grid, forests), 1.0_wp)*surface%land*(1.0_wp - surface%desert)
    height = 250.0_wp*surface%land
    do k = 1, size(mountains, 2)
      height = height + mountains(5, k)*surface%land &
        *exp(-distance(grid%lon, grid%lat, mountains(:, k)))
    end do
    surface%pressure = standard_pressure*exp(-height/scale_height)
  end subroutine set_up_surface

  pure function spots(grid, ellipses) result(field)
    !! Sum of Gaussians with the axes of the ellipses and, where a fifth value is there, its height
    type(grid_type), intent(in) :: grid
    real(wp), intent(in) :: ellipses(:, :)
    !! (4 or 5, n)
    real(wp) :: field(grid%nproma, grid%nblocks), peak
    integer :: k

    field = 0.0_wp
    do k = 1, size(ellipses, 2)
      peak = 1.0_wp
      if (size(ellipses, 1) > 4) peak = ellipses(5, k)
      field = field + peak*exp(-distance(grid%lon, grid%lat, ellipses(:, k)))
    end do
  end function spots

  pure function distance(lon, lat, ellipse) result(square)
    !! Square of the distance from the centre, 1 on the ellipse
    real(wp), intent(in) :: lon(:, :), lat(:, :)
    !! [radians]
    real(wp), intent(in) :: ellipse(:)
    real(wp) :: square(size(lon, 1), size(lon, 2))
    real(wp) :: east(size(lon, 1), size(lon, 2))

    east = modulo(lon/degree - ellipse(1) + 180.0_wp, 360.0_wp) - 180.0_wp
    square = min((east/ellipse(3))**2 + ((lat/degree - ellipse(2))/ellipse(4))**2, 600.0_wp)
  end function distance
end module host_surface
