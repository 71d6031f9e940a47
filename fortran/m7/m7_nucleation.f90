module m7_nucleation
  !! Nucleation: section 10 of the physics contract. Binary H2SO4-H2O after Vehkamaki et al. (2002),
  !! organic activation and kinetic nucleation (Kulmala et al. 2006), tables of Kazil and Lovejoy
  !! (2007), and how each generation takes the gas over a timestep.
  use m7_config, only: m7_config_type, nucleation_kazil_lovejoy2007, nucleation_vehkamaki2002, &
    organic_activation, organic_kinetic, profile_m7_2004
  use m7_kazil_lovejoy, only: kazil_lovejoy
  use m7_kinds, only: lanes, wp
  use m7_split, only: n_split, nucleated_num, nucleated_so4
  implicit none (type, external)
  private
  public :: nucleate, vehkamaki

  integer, parameter :: n_term = 10
  ! Rows: 1, s, s2, s3, a, s a, s2 a, a2, s a2, a3 with s = ln S and a = ln N;
  ! columns: 1, T, T2, T3, 1/x.
  real(wp), parameter :: rate_term(5, n_term) = reshape([ &
    0.1430901615568665_wp, 2.219563673425199_wp, -0.02739106114964264_wp, &
    7.228107239317088e-5_wp, 5.91822263375044_wp, &
    0.1174886643003278_wp, 0.4625315047693772_wp, -0.01180591129059253_wp, &
    4.04196487152575e-5_wp, 15.79628615047088_wp, &
    -0.215553951893509_wp, -0.0810269192332194_wp, 0.001435808434184642_wp, &
    -4.775796947178588e-6_wp, -2.912974063702185_wp, &
    -3.588557942822751_wp, 0.04950795302831703_wp, -2.138195118737068e-4_wp, &
    3.108005107949533e-7_wp, -0.02933332747098296_wp, &
    1.145983818561277_wp, -0.6007956227856778_wp, 0.00864244733283759_wp, &
    -2.289467254710888e-5_wp, -8.44984513869014_wp, &
    2.158548369286559_wp, 0.0808121412840917_wp, -4.073815255395214e-4_wp, &
    -4.019572560156515e-7_wp, 0.7213255852557236_wp, &
    1.62409850488771_wp, -0.01601062035325362_wp, 3.771238979714162e-5_wp, &
    3.217942606371182e-8_wp, -0.01132550810022116_wp, &
    9.71681713056504_wp, -0.1150478558347306_wp, 1.570982486038294e-4_wp, &
    4.009144680125015e-7_wp, 0.7118597859976135_wp, &
    -1.056105824379897_wp, 0.00903377584628419_wp, -1.984167387090606e-5_wp, &
    2.460478196482179e-8_wp, -0.05790872906645181_wp, &
    -0.1487119673397459_wp, 0.002835082097822667_wp, -9.24618825471694e-6_wp, &
    5.004267665960894e-9_wp, -0.01270805101481648_wp], [5, n_term])
  !! ln of the nucleation rate [cm-3 s-1]
  real(wp), parameter :: cluster_term(5, n_term) = reshape([ &
    -0.002954125078716302_wp, -0.0976834264241286_wp, 0.001024847927067835_wp, &
    -2.186459697726116e-6_wp, -0.1017165718716887_wp, &
    -0.002050640345231486_wp, -0.007585041382707174_wp, 1.926539658089536e-4_wp, &
    -6.70429719683894e-7_wp, -0.2557744774673163_wp, &
    0.003223076552477191_wp, 8.52636632240633e-4_wp, -1.547571354871789e-5_wp, &
    5.666608424980593e-8_wp, 0.03384437400744206_wp, &
    0.04743226764572505_wp, -6.251042204583412e-4_wp, 2.650663328519478e-6_wp, &
    -3.674710848763778e-9_wp, -2.672510825259393e-4_wp, &
    -0.01252108546759328_wp, 0.005806550506277202_wp, -1.016735312443444e-4_wp, &
    2.881946187214505e-7_wp, 0.0942243379396279_wp, &
    -0.0385459592773097_wp, -6.723156277391984e-4_wp, 2.602884877659698e-6_wp, &
    1.194163699688297e-8_wp, -0.00851515345806281_wp, &
    -0.01837488495738111_wp, 1.720723574407498e-4_wp, -3.717657974086814e-7_wp, &
    -5.148746022615196e-10_wp, 2.686602132926594e-4_wp, &
    -0.06199739728812199_wp, 9.06958053583576e-4_wp, -9.11727926129757e-7_wp, &
    -5.367963396508457e-9_wp, -0.007742343393937707_wp, &
    0.0121827103101659_wp, -1.066499571188091e-4_wp, 2.534598655067518e-7_wp, &
    -3.635186504599571e-10_wp, 6.100650851863252e-4_wp, &
    3.201836700403512e-4_wp, -1.74761713262546e-5_wp, 6.065037668052182e-8_wp, &
    -1.421771723004557e-11_wp, 1.357509859501723e-4_wp], [5, n_term])
  !! ln of the number of molecules in the critical cluster [1]
  real(wp), parameter :: temperature_min = 190.15_wp, temperature_max = 300.15_wp
  !! [K]
  real(wp), parameter :: saturation_min = 1.0e-4_wp, gas_min = 1.0e4_wp, gas_max = 1.0e11_wp
  !! 1, cm-3
  real(wp), parameter :: rate_min = 1.0e-7_wp, rate_max = 1.0e10_wp
  !! [cm-3 s-1]
  real(wp), parameter :: cluster_min = 4.0_wp
  !! Molecules in a critical cluster below which M7 does not nucleate [1]

contains

  pure subroutine vehkamaki(config, temperature, saturation, gas, rate, molecules)
    !! Rate of binary homogeneous nucleation and H2SO4 molecules per new particle (section 10.1).
    !! Outside the fit's range m7_2004 does not nucleate, ham2 evaluates at its edge.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: temperature(lanes), saturation(lanes), gas(lanes)
    !! K, 1 (relative humidity), molecules of H2SO4 cm-3
    real(wp), intent(out) :: rate(lanes)
    !! [cm-3 s-1]
    real(wp), intent(out) :: molecules(lanes)
    !! [1]
    integer :: i, k
    logical :: inside
    real(wp) :: a, cluster(lanes), factor(lanes, n_term), inverse_x(lanes), s, t(lanes)

    do i = 1, lanes
      t(i) = min(max(temperature(i), temperature_min), temperature_max)
      s = log(min(max(saturation(i), saturation_min), 1.0_wp))
      a = log(min(max(gas(i), gas_min), gas_max))
      ! Mole fraction of H2SO4 in the critical cluster.
      molecules(i) = 0.7409967177282139_wp - 0.002663785665140117_wp*t(i) &
        + a*(-0.003499978417957668_wp + 0.0000504021689382576_wp*t(i)) &
        + s*(0.002010478847383187_wp - 0.0001832894131464668_wp*t(i) &
        + s*(0.001574072538464286_wp - 0.00001790589121766952_wp*t(i) &
        + s*(0.0001844027436573778_wp - 1.503452308794887e-6_wp*t(i))))
      inverse_x(i) = 1.0_wp/molecules(i)
      factor(i, :) = [1.0_wp, s, s*s, s*s*s, a, s*a, s*s*a, a*a, s*a*a, a*a*a]
      rate(i) = 0.0_wp
      cluster(i) = 0.0_wp
    end do
    do k = 1, n_term
      do i = 1, lanes
        rate(i) = rate(i) + factor(i, k)*(rate_term(1, k) + t(i)*(rate_term(2, k) &
          + t(i)*(rate_term(3, k) + t(i)*rate_term(4, k))) + rate_term(5, k)*inverse_x(i))
        cluster(i) = cluster(i) + factor(i, k)*(cluster_term(1, k) + t(i)*(cluster_term(2, k) &
          + t(i)*(cluster_term(3, k) + t(i)*cluster_term(4, k))) + cluster_term(5, k)*inverse_x(i))
      end do
    end do
    do i = 1, lanes
      rate(i) = min(exp(min(max(rate(i), -700.0_wp), 25.0_wp)), rate_max)
      cluster(i) = exp(min(max(cluster(i), -700.0_wp), 700.0_wp))
      inside = rate(i) >= rate_min .and. cluster(i) >= cluster_min
      if (config%profile == profile_m7_2004) inside = inside .and. gas(i) >= gas_min .and. &
        saturation(i) >= saturation_min .and. temperature(i) >= temperature_min .and. &
        temperature(i) <= temperature_max
      rate(i) = merge(rate(i), 0.0_wp, inside)
      molecules(i) = merge(molecules(i)*cluster(i), 0.0_wp, inside)
    end do
  end subroutine vehkamaki

  pure subroutine organic(config, forest_fraction, boundary_layer, gas, rate, molecules)
    !! Rate of organic nucleation in the boundary layer (section 10.3).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: forest_fraction(lanes), boundary_layer(lanes), gas(lanes)
    !! 1, 1, molecules cm-3
    real(wp), intent(out) :: rate(lanes)
    !! [cm-3 s-1]
    real(wp), intent(out) :: molecules
    !! H2SO4 per new particle [1]
    real(wp) :: inside(lanes)

    inside = merge(forest_fraction, 0.0_wp, boundary_layer > 0.5_wp)
    select case (config%organic_nucleation)
    case (organic_activation)
      molecules = 1.0_wp
      rate = 1.0e-6_wp*inside*gas
    case (organic_kinetic)
      molecules = 2.0_wp
      rate = 3.86e-13_wp*inside*gas*gas
    case default
      molecules = 0.0_wp
      rate = 0.0_wp
    end select
  end subroutine organic

  pure subroutine nucleate(config, timestep, temperature, relative_humidity, cloud_fraction, &
    ion_pair_production, forest_fraction, boundary_layer, sink, gas, moved)
    !! Form new NS particles from the gas that condensation has left (sections 10.2 and 10.3).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: temperature(lanes), relative_humidity(lanes), cloud_fraction(lanes)
    real(wp), intent(in) :: ion_pair_production(lanes), forest_fraction(lanes)
    real(wp), intent(in) :: boundary_layer(lanes)
    !! K, 1, 1, cm-3 s-1, 1, 1
    real(wp), intent(in) :: sink(lanes)
    !! Sum of the condensation sinks [s-1]
    real(wp), intent(inout) :: gas(lanes)
    !! [molecules cm-3]
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer :: i
    logical :: forms
    real(wp) :: clear, loss, molecules(lanes), organic_molecules, organic_rate(lanes), rate(lanes)
    real(wp) :: taken, within(lanes)

    do i = 1, lanes
      clear = 1.0_wp - cloud_fraction(i)
      if (config%profile == profile_m7_2004) clear = 1.0_wp
      within(i) = merge(gas(i)/merge(clear, 1.0_wp, clear > 0.0_wp), 0.0_wp, clear > 0.0_wp)
    end do
    select case (config%nucleation)
    case (nucleation_vehkamaki2002)
      call vehkamaki(config, temperature, relative_humidity, within, rate, molecules)
    case (nucleation_kazil_lovejoy2007)
      call kazil_lovejoy(config%table, temperature, relative_humidity, within, &
        ion_pair_production, sink, rate, molecules)
    case default
      rate = 0.0_wp
      molecules = 0.0_wp
    end select
    call organic(config, forest_fraction, boundary_layer, within, organic_rate, organic_molecules)
    if (config%profile == profile_m7_2004) then
      do i = 1, lanes
        forms = rate(i) > epsilon(1.0_wp) .and. molecules(i) > 0.0_wp
        taken = merge(min(max(rate(i)*molecules(i)*timestep, 0.0_wp), gas(i)), 0.0_wp, forms)
        moved(i, nucleated_so4) = taken
        moved(i, nucleated_num) = taken/merge(molecules(i), 1.0_wp, forms)
        gas(i) = gas(i) - taken
      end do
    else
      do i = 1, lanes
        loss = molecules(i)*rate(i) + organic_molecules*organic_rate(i)
        rate(i) = rate(i) + organic_rate(i)
        forms = rate(i) > epsilon(1.0_wp) .and. loss > 0.0_wp
        taken = min(timestep*loss/(1.0_wp + sink(i)*timestep), within(i))
        taken = merge(min(taken*(1.0_wp - cloud_fraction(i)), gas(i)), 0.0_wp, forms)
        moved(i, nucleated_so4) = taken
        moved(i, nucleated_num) = taken*rate(i)/merge(loss, 1.0_wp, forms)
        gas(i) = gas(i) - taken
      end do
    end if
  end subroutine nucleate
end module m7_nucleation
