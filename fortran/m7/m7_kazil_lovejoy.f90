module m7_kazil_lovejoy
  !! Neutral and charged nucleation from a table of ln J that the user brings (Kazil and Lovejoy
  !! 2007; section 10.4 of the physics contract).
  !!
  !! The table is a text file. After any number of lines that begin with `#` come the five lengths,
  !! then the five axes, each ascending: temperature [K], relative humidity [%], H2SO4 [cm-3], ion
  !! pair production [cm-3 s-1], condensation sink [s-1]; then ln J [cm-3 s-1] of particles of 15
  !! H2SO4 molecules, the temperature index running fastest. Numbers are separated by blanks or
  !! line ends.
  use m7_kinds, only: lanes, wp
  use m7_math, only: is_finite
  implicit none (type, external)
  private
  public :: kazil_lovejoy, load_table, nucleation_table_type
  public :: table_ok, table_missing, table_malformed

  integer, parameter :: table_ok = 0, table_missing = 1, table_malformed = 2
  integer, parameter :: n_axis = 5
  integer, parameter :: axis_temperature = 1, axis_humidity = 2, axis_gas = 3
  character(24), parameter :: axis_name(n_axis) = [character(24) :: 'temperature', &
    'relative humidity', 'H2SO4', 'ion pair production', 'condensation sink']
  real(wp), parameter :: cluster_molecules = 15.0_wp

  type :: nucleation_table_type
    !! Empty until load_table has filled it.
    integer :: length(n_axis) = 0
    real(wp), allocatable :: axis(:)
    !! The five axes, one after the other
    real(wp), allocatable :: ln_rate(:)
    !! Temperature fastest [ln(cm-3 s-1)]
  end type nucleation_table_type

contains

  subroutine load_table(path, table, status, message)
    !! Read a table; an unreadable one leaves `table` empty.
    character(*), intent(in) :: path
    type(nucleation_table_type), intent(out) :: table
    integer, intent(out) :: status
    !! table_ok, table_missing or table_malformed
    character(:), allocatable, intent(out) :: message
    !! What was expected and what was found, blank when all is well
    integer :: count_axis, first, i, k, length(n_axis), skip, unit
    character(256) :: line, reason
    real(wp), allocatable :: axis(:), ln_rate(:)

    message = ''
    status = table_missing
    open (newunit=unit, file=path, status='old', action='read', iostat=i, iomsg=reason)
    if (i /= 0) then
      message = 'nucleation table '//trim(path)//': '//trim(reason)
      return
    end if
    status = table_malformed
    skip = -1
    do
      skip = skip + 1
      read (unit, '(a)', iostat=i) line
      if (i /= 0) exit
      if (adjustl(line(1:1)) /= '#') exit
    end do
    rewind (unit)
    do k = 1, skip
      read (unit, '(a)') line
    end do
    read (unit, *, iostat=i, iomsg=reason) length
    if (i /= 0 .or. any(length < 2) .or. any(length > 10000)) then
      message = 'nucleation table '//trim(path)//': expected five axis lengths of 2 to 10000'
    else if (product(real(length)) > 1.0e8) then
      message = 'nucleation table '//trim(path)//': larger than 1e8 entries'
    else
      count_axis = sum(length)
      allocate (axis(count_axis), ln_rate(product(length)))
      read (unit, *, iostat=i, iomsg=reason) axis, ln_rate
      if (i /= 0) message = 'nucleation table '//trim(path)//': '//trim(reason)
      if (i == 0) then
        if (.not. (all(is_finite(axis)) .and. all(is_finite(ln_rate)))) then
          message = 'nucleation table '//trim(path)//': a number is not finite'
        end if
      end if
      first = 1
      do k = 1, n_axis
        if (message /= '') exit
        if (any(axis(first + 1:first + length(k) - 1) <= axis(first:first + length(k) - 2))) then
          message = 'nucleation table '//trim(path)//': the axis of '//trim(axis_name(k)) &
            //' does not ascend'
        end if
        first = first + length(k)
      end do
    end if
    close (unit)
    if (message /= '') return
    status = table_ok
    table%length = length
    call move_alloc(axis, table%axis)
    call move_alloc(ln_rate, table%ln_rate)
  end subroutine load_table

  pure subroutine kazil_lovejoy(table, temperature, relative_humidity, gas, ion_pair_production, &
    sink, rate, molecules)
    !! Nucleation rate by linear interpolation of ln J along the five axes. Where the air is too
    !! warm, too dry or holds too little gas for the table J is 0; at its other ends it is clipped.
    type(nucleation_table_type), intent(in) :: table
    !! Loaded
    real(wp), intent(in) :: temperature(lanes), relative_humidity(lanes), gas(lanes)
    real(wp), intent(in) :: ion_pair_production(lanes), sink(lanes)
    !! K, 1, molecules cm-3, cm-3 s-1, s-1
    real(wp), intent(out) :: rate(lanes), molecules(lanes)
    !! cm-3 s-1, 1
    integer :: corner, first, i, k, lower(n_axis), place, stride
    logical :: outside
    real(wp) :: ln_rate, point(n_axis), share, weight(n_axis), x

    molecules = cluster_molecules
    do i = 1, lanes
      point = [temperature(i), 100.0_wp*relative_humidity(i), gas(i), ion_pair_production(i), &
        sink(i)]
      outside = .false.
      first = 0
      do k = 1, n_axis
        associate (axis => table%axis(first + 1:first + table%length(k)))
          if (k == axis_temperature) outside = outside .or. point(k) > axis(table%length(k))
          if (k == axis_humidity .or. k == axis_gas) outside = outside .or. point(k) < axis(1)
          x = min(max(point(k), axis(1)), axis(table%length(k)))
          lower(k) = interval(axis, x)
          weight(k) = (x - axis(lower(k)))/(axis(lower(k) + 1) - axis(lower(k)))
        end associate
        first = first + table%length(k)
      end do
      ln_rate = 0.0_wp
      do corner = 0, 2**n_axis - 1
        share = 1.0_wp
        place = 1
        stride = 1
        do k = 1, n_axis
          share = share*merge(weight(k), 1.0_wp - weight(k), btest(corner, k - 1))
          place = place + stride*(lower(k) - 1 + merge(1, 0, btest(corner, k - 1)))
          stride = stride*table%length(k)
        end do
        ln_rate = ln_rate + share*table%ln_rate(place)
      end do
      rate(i) = merge(0.0_wp, exp(min(max(ln_rate, -700.0_wp), 700.0_wp)), outside)
    end do
  end subroutine kazil_lovejoy

  pure integer function interval(axis, x)
    !! Index of the last node not above x, at most the last but one.
    real(wp), intent(in) :: axis(:), x
    integer :: high, middle

    interval = 1
    high = size(axis)
    do while (high - interval > 1)
      middle = (interval + high)/2
      if (axis(middle) <= x) then
        interval = middle
      else
        high = middle
      end if
    end do
  end function interval
end module m7_kazil_lovejoy
