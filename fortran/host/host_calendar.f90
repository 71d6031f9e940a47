module host_calendar
  !! Time, season and sun. The year has 365 days.
  use host_constants, only: day_length, degree, pi, wp
  implicit none (type, external)
  private
  public :: clock_type
  public :: sun

  type :: clock_type
    integer :: start_day = 80
    !! Day of the year on which the run starts, at midnight at longitude 0
    real(wp) :: timestep = 1800.0_wp
    !! [s]
    integer :: step = 0
    !! Steps done
  contains
    procedure :: days
    procedure :: season
    procedure :: declination
  end type clock_type

contains

  elemental real(wp) function days(this)
    !! Days since 1 January, 0 h, of the year of the start
    class(clock_type), intent(in) :: this

    days = this%start_day - 1 + this%step*this%timestep/day_length
  end function days

  elemental real(wp) function season(this, peak)
    !! Cosine of the year with its maximum at day `peak` [1]
    class(clock_type), intent(in) :: this
    real(wp), intent(in) :: peak

    season = cos(2.0_wp*pi*(this%days() - peak)/365.0_wp)
  end function season

  elemental real(wp) function declination(this)
    !! Of the sun [radians]
    class(clock_type), intent(in) :: this

    declination = 23.44_wp*degree*this%season(172.0_wp)
  end function declination

  elemental real(wp) function sun(clock, lon, lat, delay)
    !! Cosine of the sun's zenith angle, negative at night, as it was `delay` seconds ago [1]
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: lon, lat, delay
    !! Radians, radians, s
    real(wp) :: hour_angle

    hour_angle = lon - pi + 2.0_wp*pi*(clock%days() - delay/day_length)
    sun = sin(lat)*sin(clock%declination()) + cos(lat)*cos(clock%declination())*cos(hour_angle)
  end function sun
end module host_calendar
