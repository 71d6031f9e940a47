module m7_merging
  !! Merging of NS, KS and AS upward where their particles have outgrown the mode: section 15.
  use m7_config, only: m7_config_type, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: as, ks, ln_sigma, lower_radius, mass_index, mean_to_median, n_mass, n_mode, &
    n_soluble, n_species, ns, so4, so4_as, so4_ks, so4_ns, bc_as, bc_ks, oc_as, oc_ks, ss_as, du_as
  use m7_split, only: merged_bc_as, merged_bc_ks, merged_du_as, merged_num_ns, merged_oc_as, &
    merged_oc_ks, merged_so4_as, merged_so4_ks, merged_so4_ns, merged_ss_as, n_split
  use m7_water, only: molar_mass_h2so4
  implicit none (type, external)
  private
  public :: merge_modes

  integer, parameter :: n_merged = 9
  integer, parameter :: merged_from(n_merged) = &
    [so4_ns, so4_ks, bc_ks, oc_ks, so4_as, bc_as, oc_as, ss_as, du_as]
  integer, parameter :: merged_mode(n_merged) = [ns, ks, ks, ks, as, as, as, as, as]
  integer, parameter :: merged_species(n_merged) = [1, 1, 2, 3, 1, 2, 3, 4, 5]
  integer, parameter :: merged_split(n_merged) = [merged_so4_ns, merged_so4_ks, merged_bc_ks, &
    merged_oc_ks, merged_so4_as, merged_bc_as, merged_oc_as, merged_ss_as, merged_du_as]

contains

  pure subroutine merge_modes(config, dry_radius, mass, number, moved)
    !! What leaves each mode is found from the state before any of them has merged.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: dry_radius(lanes, n_soluble)
    !! [cm]
    real(wp), intent(inout) :: mass(lanes, n_mass), number(lanes, n_mode)
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer :: i, j, k, to
    real(wp) :: mass_kept(lanes, ns:as), number_kept(lanes, ns:as)

    do k = ns, as
      call kept_shares(config, k, dry_radius(:, k), mass, number(:, k), mass_kept(:, k), &
        number_kept(:, k))
      do i = 1, lanes
        moved(i, merged_num_ns + k - ns) = (1.0_wp - number_kept(i, k))*number(i, k)
      end do
    end do
    do j = 1, n_merged
      do i = 1, lanes
        moved(i, merged_split(j)) = (1.0_wp - mass_kept(i, merged_mode(j))) &
          *mass(i, merged_from(j))
      end do
    end do
    do k = ns, as
      do i = 1, lanes
        number(i, k) = number_kept(i, k)*number(i, k)
      end do
    end do
    do j = 1, n_merged
      do i = 1, lanes
        mass(i, merged_from(j)) = mass_kept(i, merged_mode(j))*mass(i, merged_from(j))
      end do
    end do
    do k = ns, as
      do i = 1, lanes
        number(i, k + 1) = number(i, k + 1) + moved(i, merged_num_ns + k - ns)
      end do
    end do
    do j = 1, n_merged
      to = mass_index(merged_species(j), merged_mode(j) + 1)
      do i = 1, lanes
        mass(i, to) = mass(i, to) + moved(i, merged_split(j))
      end do
    end do
  end subroutine merge_modes

  pure subroutine kept_shares(config, k, dry_radius, mass, number, mass_kept, number_kept)
    !! Shares of mass and number that stay in mode k: all until its mean particle outgrows that of
    !! the mode's middle radius; then the part below the upper edge, at the middle radius. Where
    !! what leaves would be smaller than the upper edge, fewer particles take the mass (ham2), or
    !! fewer and less of it (m7_2004). Shares that leave would cancel where little stays.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: k
    real(wp), intent(in) :: dry_radius(lanes), mass(lanes, n_mass), number(lanes)
    real(wp), intent(out) :: mass_kept(lanes), number_kept(lanes)
    integer :: i, index, species
    logical :: older, small
    real(wp) :: beyond, edge, kept, least, middle, number_min, radius_min, t
    real(wp), dimension(lanes) :: below, grown, mean, volume

    older = config%profile == profile_m7_2004
    least = merge(epsilon(1.0_wp), 0.0_wp, older)
    beyond = merge(huge(1.0_wp), 10.0_wp*lower_radius(k + 1), older)
    volume = mass(:, mass_index(so4, k)) &
      *(molar_mass_h2so4/config%avogadro/config%density(so4))
    do species = so4 + 1, n_species
      index = mass_index(species, k)
      if (index == 0) cycle
      volume = volume + mass(:, index)*(1.0e-12_wp/config%density(species))
    end do
    middle = 4.0_wp*config%pi/3.0_wp &
      *(sqrt(lower_radius(k)*lower_radius(k + 1))/mean_to_median(k))**3
    edge = 4.0_wp*config%pi/3.0_wp*lower_radius(k + 1)**3
    if (older) edge = edge/mean_to_median(k)**3
    number_min = config%merging_number_min
    radius_min = config%merging_radius_min
    do i = 1, lanes
      mean(i) = volume(i)/merge(number(i), 1.0_wp, number(i) > number_min)
      grown(i) = merge(1.0_wp, 0.0_wp, number(i) > number_min) &
        *merge(1.0_wp, 0.0_wp, dry_radius(i) > radius_min) &
        *merge(1.0_wp, 0.0_wp, mean(i) > middle)
      mass_kept(i) = 1.0_wp
      number_kept(i) = 1.0_wp
    end do
    if (.not. any(grown > 0.0_wp)) return
    do i = 1, lanes
      t = merge(dry_radius(i), lower_radius(k), grown(i) > 0.0_wp)
      t = log(lower_radius(k + 1)/t)/ln_sigma(k)
      below(i) = 0.5_wp*erfc(-t*sqrt(0.5_wp))
      below(i) = merge(0.0_wp, below(i), dry_radius(i) > beyond)
      below(i) = merge(0.0_wp, below(i), below(i) < epsilon(1.0_wp))
    end do
    do i = 1, lanes
      t = merge(mean(i), 2.0_wp*middle, grown(i) > 0.0_wp)
      small = t - below(i)*middle < edge*(1.0_wp - below(i))
      if (older) then
        kept = merge((edge - t)/(edge - middle), below(i), small)
        mass_kept(i) = kept*middle/t
      else
        kept = merge((edge - t + below(i)*middle)/edge, below(i), small)
        mass_kept(i) = below(i)*middle/t
      end if
      grown(i) = grown(i)*merge(1.0_wp, 0.0_wp, (1.0_wp - below(i))*number(i) > least)
      mass_kept(i) = merge(mass_kept(i), 1.0_wp, grown(i) > 0.0_wp)
      number_kept(i) = merge(kept, 1.0_wp, grown(i) > 0.0_wp)
    end do
  end subroutine kept_shares
end module m7_merging
