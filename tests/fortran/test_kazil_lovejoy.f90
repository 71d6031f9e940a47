program test_kazil_lovejoy
  !! Tables of nucleation rates: section 10.4 of the contract, and the layout that m7_kazil_lovejoy
  !! asks for. The table here is of an ln J that is linear in all its coordinates.
  use m7_config, only: m7_config_type, nucleation_kazil_lovejoy2007, profile_ham2
  use m7_kazil_lovejoy, only: kazil_lovejoy, load_table, nucleation_table_type, table_malformed, &
    table_missing, table_ok
  use m7_kinds, only: lanes, wp
  use m7_nucleation, only: nucleate
  use m7_split, only: n_split, nucleated_num, nucleated_so4
  use test_cells, only: defaults
  use test_support, only: tests_type
  implicit none (type, external)

  character(*), parameter :: path = 'test_kazil_lovejoy.txt'
  integer, parameter :: length(5) = [4, 3, 3, 2, 3]
  real(wp), parameter :: warm(4) = [200.0_wp, 230.0_wp, 245.0_wp, 300.0_wp]
  real(wp), parameter :: moist(3) = [5.0_wp, 40.0_wp, 100.0_wp]
  real(wp), parameter :: acid(3) = [1.0e5_wp, 1.0e7_wp, 5.0e8_wp]
  real(wp), parameter :: ion(2) = [1.0_wp, 50.0_wp]
  real(wp), parameter :: sinks(3) = [1.0e-4_wp, 1.0e-3_wp, 5.0e-2_wp]

  type(tests_type) :: tests
  type(nucleation_table_type) :: table
  character(:), allocatable :: message
  integer :: status

  call load_table('no_such_table.txt', table, status, message)
  call tests%that('a missing file', status == table_missing .and. .not. allocated(table%ln_rate))
  call tests%that('is named', index(message, 'no_such_table.txt') > 0)

  call write_table(real(moist, wp), '1.5')
  call load_table(path, table, status, message)
  call tests%that('a good table', status == table_ok .and. message == '')
  call tests%that('has its lengths', all(table%length == length))
  call check_inside()
  call check_edges()
  call check_nucleation()

  call write_table([40.0_wp, 5.0_wp, 100.0_wp], '1.5')
  call check_refused('the axis of relative humidity does not ascend')
  call write_table([5.0_wp, 5.0_wp, 100.0_wp], '1.5')
  call check_refused('the axis of relative humidity does not ascend')
  call write_table(moist, '')
  call check_refused('End of file')
  call write_table(moist, 'many')
  call check_refused('Bad real number')
  call write_table(moist, 'Infinity')
  call check_refused('not finite')
  call write_table(moist, 'NaN')
  call check_refused('not finite')
  call check_heading('2 2 2 2', 'five axis lengths')
  call check_heading('2 2 2 2 1', 'five axis lengths')
  call check_heading('2 2 2 2 -2', 'five axis lengths')
  call check_heading('2 2 2 2 20000', 'five axis lengths')
  call check_heading('two 2 2 2 2', 'five axis lengths')
  call check_heading('', 'five axis lengths')
  call check_heading('# nothing but a remark', 'five axis lengths')
  call check_heading('1000 1000 1000 2 2', '1e8 entries')
  call remove()
  deallocate (message) ! a main program's own would count as leaked
  call tests%finish()

contains

  pure real(wp) function ln_rate(t, h, n, q, s)
    !! Linear in T, RH [%], N, ion pairs and sink.
    real(wp), intent(in) :: t, h, n, q, s

    ln_rate = 12.0_wp - 0.07_wp*t + 0.05_wp*h + 1.0e-8_wp*n + 0.02_wp*q - 30.0_wp*s
  end function ln_rate

  subroutine write_table(humidities, last)
    !! With some remarks before, and some text instead of the last value.
    real(wp), intent(in) :: humidities(3)
    character(*), intent(in) :: last
    integer :: ih, in, iq, is, it, left, unit

    open (newunit=unit, file=path, status='replace', action='write')
    write (unit, '(a)') '# T, RH, H2SO4, ion pairs, sink', '# ln J'
    write (unit, '(5(i0, 1x))') length
    write (unit, '(3es24.16)') warm, humidities, acid, ion, sinks
    left = product(length)
    do is = 1, length(5)
      do iq = 1, length(4)
        do in = 1, length(3)
          do ih = 1, length(2)
            do it = 1, length(1)
              left = left - 1
              if (left == 0 .and. last /= '1.5') then
                write (unit, '(a)') last
              else
                write (unit, '(es24.16)') &
                  ln_rate(warm(it), humidities(ih), acid(in), ion(iq), sinks(is))
              end if
            end do
          end do
        end do
      end do
    end do
    close (unit)
  end subroutine write_table

  subroutine check_heading(heading, reason)
    !! A file of one line.
    character(*), intent(in) :: heading, reason
    integer :: unit

    open (newunit=unit, file=path, status='replace', action='write')
    write (unit, '(a)') heading
    close (unit)
    call check_refused(reason)
  end subroutine check_heading

  subroutine check_refused(reason)
    character(*), intent(in) :: reason

    call load_table(path, table, status, message)
    call tests%that('malformed: '//reason, status == table_malformed)
    call tests%that('leaves no table: '//reason, &
      .not. (allocated(table%ln_rate) .or. allocated(table%axis)))
    call tests%that('says why: '//reason//', not '//message, &
      index(message, reason) > 0 .and. index(message, path) > 0)
  end subroutine check_refused

  subroutine remove()
    integer :: unit

    open (newunit=unit, file=path, status='old')
    close (unit, status='delete')
  end subroutine remove

  subroutine check_point(name, t, h, n, q, s, expected)
    character(*), intent(in) :: name
    real(wp), intent(in) :: t, h, n, q, s, expected
    real(wp) :: molecules(lanes), rate(lanes)

    call kazil_lovejoy(table, spread(t, 1, lanes), spread(0.01_wp*h, 1, lanes), &
      spread(n, 1, lanes), spread(q, 1, lanes), spread(s, 1, lanes), rate, molecules)
    call tests%close(name, rate(lanes), expected, 1.0e-12_wp)
    call tests%close('15 molecules', molecules(lanes), 15.0_wp, 0.0_wp)
  end subroutine check_point

  subroutine check_inside()
    !! At nodes and between them.
    integer :: ih, in, iq, is, it
    real(wp) :: h, n, q, s, t

    do is = 0, 4
      do iq = 0, 4
        do in = 0, 4
          do ih = 0, 4
            do it = 0, 4
              t = 200.0_wp + 25.0_wp*it
              h = 5.0_wp + 23.75_wp*ih
              n = 1.0e5_wp + in*0.25_wp*(5.0e8_wp - 1.0e5_wp)
              q = 1.0_wp + 12.25_wp*iq
              s = 1.0e-4_wp + is*0.25_wp*(5.0e-2_wp - 1.0e-4_wp)
              ! Off the edges, where round-off would decide.
              if (it == 4) t = 299.99_wp
              if (ih == 0) h = 5.01_wp
              call check_point('inside', t, h, n, q, s, exp(ln_rate(t, h, n, q, s)))
            end do
          end do
        end do
      end do
    end do
  end subroutine check_inside

  subroutine check_edges()
    !! Too warm, too dry, too little gas: none. Beyond the other ends: as at the end.
    real(wp), parameter :: t = 240.0_wp, h = 50.0_wp, n = 1.0e8_wp, q = 10.0_wp, s = 1.0e-2_wp

    call check_point('too warm', 300.1_wp, h, n, q, s, 0.0_wp)
    call check_point('too dry', t, 4.9_wp, n, q, s, 0.0_wp)
    call check_point('too little gas', t, h, 0.9e5_wp, q, s, 0.0_wp)
    call check_point('cold', 150.0_wp, h, n, q, s, exp(ln_rate(200.0_wp, h, n, q, s)))
    call check_point('much gas', t, h, 1.0e12_wp, q, s, exp(ln_rate(t, h, 5.0e8_wp, q, s)))
    call check_point('no ions', t, h, n, 0.0_wp, s, exp(ln_rate(t, h, n, 1.0_wp, s)))
    call check_point('many ions', t, h, n, 99.0_wp, s, exp(ln_rate(t, h, n, 50.0_wp, s)))
    call check_point('no sink', t, h, n, q, 0.0_wp, exp(ln_rate(t, h, n, q, 1.0e-4_wp)))
    call check_point('a strong sink', t, h, n, q, 1.0_wp, exp(ln_rate(t, h, n, q, 5.0e-2_wp)))
    call check_point('all at once', 150.0_wp, 100.0_wp, 1.0e12_wp, 0.0_wp, 1.0_wp, &
      exp(ln_rate(200.0_wp, 100.0_wp, 5.0e8_wp, 1.0_wp, 5.0e-2_wp)))
  end subroutine check_edges

  subroutine check_nucleation()
    !! Section 10.3 with the rate of the table.
    real(wp), parameter :: t = 240.0_wp, h = 50.0_wp, n = 1.0e8_wp, q = 10.0_wp, s = 1.0e-2_wp
    real(wp), parameter :: timestep = 100.0_wp
    type(m7_config_type) :: config
    real(wp) :: gas(lanes), moved(lanes, n_split), none(lanes), rate

    config = defaults(profile_ham2)
    config%nucleation = nucleation_kazil_lovejoy2007
    config%table = table
    gas = n
    none = 0.0_wp
    moved = 0.0_wp
    call nucleate(config, timestep, spread(t, 1, lanes), spread(0.01_wp*h, 1, lanes), none, &
      spread(q, 1, lanes), none, none, spread(s, 1, lanes), gas, moved)
    rate = exp(ln_rate(t, h, n, q, s))
    call tests%close('new particles', moved(lanes, nucleated_num), &
      rate*timestep/(1.0_wp + s*timestep), 1.0e-12_wp)
    call tests%close('their sulfate', moved(lanes, nucleated_so4), &
      15.0_wp*rate*timestep/(1.0_wp + s*timestep), 1.0e-12_wp)
    call tests%close('gas that is left', gas(lanes), n - moved(lanes, nucleated_so4), 1.0e-15_wp)
  end subroutine check_nucleation
end program test_kazil_lovejoy
