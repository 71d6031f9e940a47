module m7_coagulation
  !! Brownian coagulation kernels: section 11 of the physics contract (Fuchs 1964, par. 49).
  use m7_config, only: m7_config_type, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: ai, as, ci, cs, ki, ks, n_mode, ns
  implicit none (type, external)
  private
  public :: coagulation_kernels
  public :: n_pair, pair_first, pair_index, pair_second

  integer, parameter :: n_pair = 16
  integer, parameter :: pair_first(n_pair) = &
    [ns, ns, ns, ns, ns, ns, ns, ks, ks, ks, ks, ks, ks, as, as, ki]
  integer, parameter :: pair_second(n_pair) = &
    [ns, ks, as, cs, ki, ai, ci, ks, as, cs, ki, ai, ci, as, ki, ki]
  !! The pairs that M7 lets collide
  integer, parameter :: pair_index(n_mode, n_mode) = reshape([ &
    1, 2, 3, 4, 5, 6, 7, &
    2, 8, 9, 10, 11, 12, 13, &
    3, 9, 14, 0, 15, 0, 0, &
    4, 10, 0, 0, 0, 0, 0, &
    5, 11, 15, 0, 16, 0, 0, &
    6, 12, 0, 0, 0, 0, 0, &
    7, 13, 0, 0, 0, 0, 0], [n_mode, n_mode])
  !! Place of a pair among the kernels, 0 where its collisions are neglected

  real(wp), parameter :: boltzmann = 1.38e-16_wp
  !! [erg K-1]
  real(wp), parameter :: density_min = 1.0e-10_wp
  !! [g cm-3]

contains

  pure subroutine coagulation_kernels(config, pressure, temperature, radius, density, number, &
    kernel)
    !! Kernels of all pairs at the count median radii; 0 where either mode is empty.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: pressure(lanes), temperature(lanes)
    !! Pa, K
    real(wp), intent(in) :: radius(lanes, n_mode), density(lanes, n_mode), number(lanes, n_mode)
    !! Ambient: cm, g cm-3, cm-3
    real(wp), intent(out) :: kernel(lanes, n_pair)
    !! [cm3 s-1]
    integer :: i, j, k, pair
    real(wp) :: number_min, path_scale, pi, radius_min
    real(wp) :: free_path, gap, grain, knudsen, mass, mean, r, root, shrink, span, speed, spread
    real(wp), dimension(lanes) :: path, scale
    real(wp), dimension(lanes, n_mode) :: diffusivity, stop2, valid, velocity2

    pi = config%pi
    path_scale = 2.251e-3_wp
    if (config%profile == profile_m7_2004) path_scale = 6.6e-6_wp/293.15_wp*1.0e5_wp
    number_min = config%kernel_number_min
    radius_min = config%kernel_radius_min
    do i = 1, lanes
      path(i) = path_scale*temperature(i)/pressure(i)
      ! k_B T/(6 pi eta)
      scale(i) = boltzmann*temperature(i)/(6.0_wp*pi*1.827e-4_wp &
        *exp(0.74_wp*log(temperature(i)/291.15_wp)))
    end do
    do k = 1, n_mode
      do i = 1, lanes
        valid(i, k) = merge(1.0_wp, 0.0_wp, number(i, k) > number_min) &
          *merge(1.0_wp, 0.0_wp, radius(i, k) > radius_min) &
          *merge(1.0_wp, 0.0_wp, density(i, k) > density_min)
        r = merge(radius(i, k), 1.0e-5_wp, valid(i, k) > 0.0_wp)
        mass = 4.0_wp*pi/3.0_wp*r*r*r*merge(density(i, k), 1.0_wp, valid(i, k) > 0.0_wp)
        velocity2(i, k) = 8.0_wp*boltzmann/pi*temperature(i)/mass
        knudsen = path(i)/(2.0_wp*r)
        diffusivity(i, k) = scale(i)/r &
          *(1.0_wp + knudsen*(2.492_wp + 0.84_wp*exp(-0.43_wp/knudsen)))
        ! (2r+l)**3 - (4r**2+l**2)**1.5 factorises, as for condensation.
        free_path = 8.0_wp*diffusivity(i, k)/(pi*sqrt(velocity2(i, k)))
        root = sqrt(4.0_wp*r*r + free_path*free_path)
        span = 2.0_wp*r + free_path + root
        gap = config%sqrt2*((2.0_wp/3.0_wp)*((2.0_wp*r + free_path) + root*root/span) - 2.0_wp*r)
        stop2(i, k) = gap*gap
      end do
    end do
    shrink = 0.5_wp
    grain = epsilon(1.0_wp)
    if (config%profile == profile_m7_2004) then
      shrink = 0.5_wp/config%sqrt2
      grain = 0.0_wp
    end if
    do pair = 1, n_pair
      j = pair_first(pair)
      k = pair_second(pair)
      do i = 1, lanes
        r = 0.5_wp*(radius(i, j) + radius(i, k)) + grain
        mean = 0.5_wp*(diffusivity(i, j) + diffusivity(i, k))
        speed = sqrt(velocity2(i, j) + velocity2(i, k))
        spread = r + shrink*sqrt(stop2(i, j) + stop2(i, k))
        kernel(i, pair) = 16.0_wp*pi*mean*r*speed*r*spread*valid(i, j)*valid(i, k) &
          /(4.0_wp*mean*spread + speed*r*r + tiny(1.0_wp))
      end do
    end do
  end subroutine coagulation_kernels
end module m7_coagulation
