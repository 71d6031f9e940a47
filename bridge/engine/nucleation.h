// Nucleation: section 10 of the physics contract. Binary H2SO4-H2O after Vehkamaki et al. (2002),
// organic activation and kinetic nucleation (Kulmala et al. 2006), and how each generation takes
// the gas over a timestep.
#pragma once

#include "cells.h"
#include "math.h"
#include "network.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

// Rows: 1, s, s2, s3, a, s a, s2 a, a2, s a2, a3 with s = ln S and a = ln N;
// columns: 1, T, T2, T3, 1/x.
constexpr int n_term = 10;
// ln of the nucleation rate [cm-3 s-1]
M7EMU_TABLE double rate_term[n_term][5] = {
    {0.1430901615568665, 2.219563673425199, -0.02739106114964264, 7.228107239317088e-5,
     5.91822263375044},
    {0.1174886643003278, 0.4625315047693772, -0.01180591129059253, 4.04196487152575e-5,
     15.79628615047088},
    {-0.215553951893509, -0.0810269192332194, 0.001435808434184642, -4.775796947178588e-6,
     -2.912974063702185},
    {-3.588557942822751, 0.04950795302831703, -2.138195118737068e-4, 3.108005107949533e-7,
     -0.02933332747098296},
    {1.145983818561277, -0.6007956227856778, 0.00864244733283759, -2.289467254710888e-5,
     -8.44984513869014},
    {2.158548369286559, 0.0808121412840917, -4.073815255395214e-4, -4.019572560156515e-7,
     0.7213255852557236},
    {1.62409850488771, -0.01601062035325362, 3.771238979714162e-5, 3.217942606371182e-8,
     -0.01132550810022116},
    {9.71681713056504, -0.1150478558347306, 1.570982486038294e-4, 4.009144680125015e-7,
     0.7118597859976135},
    {-1.056105824379897, 0.00903377584628419, -1.984167387090606e-5, 2.460478196482179e-8,
     -0.05790872906645181},
    {-0.1487119673397459, 0.002835082097822667, -9.24618825471694e-6, 5.004267665960894e-9,
     -0.01270805101481648}};
// ln of the number of molecules in the critical cluster [1]
M7EMU_TABLE double cluster_term[n_term][5] = {
    {-0.002954125078716302, -0.0976834264241286, 0.001024847927067835, -2.186459697726116e-6,
     -0.1017165718716887},
    {-0.002050640345231486, -0.007585041382707174, 1.926539658089536e-4, -6.70429719683894e-7,
     -0.2557744774673163},
    {0.003223076552477191, 8.52636632240633e-4, -1.547571354871789e-5, 5.666608424980593e-8,
     0.03384437400744206},
    {0.04743226764572505, -6.251042204583412e-4, 2.650663328519478e-6, -3.674710848763778e-9,
     -2.672510825259393e-4},
    {-0.01252108546759328, 0.005806550506277202, -1.016735312443444e-4, 2.881946187214505e-7,
     0.0942243379396279},
    {-0.0385459592773097, -6.723156277391984e-4, 2.602884877659698e-6, 1.194163699688297e-8,
     -0.00851515345806281},
    {-0.01837488495738111, 1.720723574407498e-4, -3.717657974086814e-7, -5.148746022615196e-10,
     2.686602132926594e-4},
    {-0.06199739728812199, 9.06958053583576e-4, -9.11727926129757e-7, -5.367963396508457e-9,
     -0.007742343393937707},
    {0.0121827103101659, -1.066499571188091e-4, 2.534598655067518e-7, -3.635186504599571e-10,
     6.100650851863252e-4},
    {3.201836700403512e-4, -1.74761713262546e-5, 6.065037668052182e-8, -1.421771723004557e-11,
     1.357509859501723e-4}};
// Mole fraction of H2SO4 in it, with as many of the rows and columns
M7EMU_TABLE double fraction_term[n_term][5] = {{0.7409967177282139, -0.002663785665140117},
                                               {0.002010478847383187, -0.0001832894131464668},
                                               {0.001574072538464286, -0.00001790589121766952},
                                               {0.0001844027436573778, -1.503452308794887e-6},
                                               {-0.003499978417957668, 0.0000504021689382576}};
constexpr double temperature_min = 190.15, temperature_max = 300.15;         // [K]
constexpr double saturation_min = 1.0e-4, gas_min = 1.0e4, gas_max = 1.0e11; // 1, [cm-3]
constexpr double rate_min = 1.0e-7, rate_max = 1.0e10;                       // [cm-3 s-1]
constexpr double cluster_min =
    4.0; // molecules in a critical cluster below which M7 does not nucleate

// ln of the gas [cm-3] below which nothing nucleates, in powers of (T - 245.15)/55 (rows) and of ln
// S: a fit to where the rate and the cluster below reach their least values, lowered until it lies
// under all of them, and by 0.15 more.
M7EMU_TABLE float bound_term[4][3] = {{11.847412f, -1.122582f, -0.015028f},
                                      {8.373769f, -0.804739f, -0.082719f},
                                      {2.087418f, 0.586455f, 0.001657f},
                                      {-3.233893f, -0.246217f, 0.006743f}};

// Temperature [K], and ln of the saturation, within the range of the fit.
M7EMU_INLINE pack<float> temperature_within(const Air &air) {
  using R = pack<float>;
  return min(max(to<float>(air.seen_temperature), R(float(temperature_min))),
             R(float(temperature_max)));
}
M7EMU_INLINE pack<float> ln_saturation(const Air &air) {
  using R = pack<float>;
  return log_of<float>(min(max(to<float>(air.seen_humidity), R(float(saturation_min))), R(1.0f)));
}
// ln of the gas [cm-3] above which a lane may nucleate; it may only err by being too low. `s` is
// ln of the saturation.
M7EMU_FUNCTION pack<float> nucleation_bound(const Air &air, pack<float> s) {
  using R = pack<float>;
  const R x = (temperature_within(air) - R(245.15f)) * R(1.0f / 55.0f);
  R bound = R(0.0f);
  for (int i = 3; i >= 0; --i)
    bound = bound * x + polynomial(s, bound_term[i]);
  return bound;
}
M7EMU_INLINE pack<float> ln_gas(pack<float> gas) {
  using R = pack<float>;
  return log_of<float>(min(max(gas, R(float(gas_min))), R(float(gas_max))));
}

// Mole fraction of H2SO4 in the critical cluster, as a linear function of ln of the gas [cm-3]; `s`
// is ln of the saturation.
M7EMU_FUNCTION void critical_fraction(pack<double> t, pack<double> s, pack<double> &constant,
                                      pack<double> &slope) {
  using R = pack<double>;
  const auto row = [t](int k) { return R(fraction_term[k][0]) + R(fraction_term[k][1]) * t; };
  constant = row(0) + s * (row(1) + s * (row(2) + s * row(3)));
  slope = row(4);
}

// The same terms around a temperature, saturation, gas and 1/x in the middle, where they cancel
// less: float can then hold their sum. T = 245.15 + 55 t.
constexpr double middle_temperature = 245.15, temperature_span = 55.0; // [K]
constexpr double middle_ln_saturation = -1.0, middle_ln_gas = 18.0, middle_per_x = 3.0;
struct Centred {
  double term[n_term][5] = {};
};
constexpr double whole_power(double x, int n) {
  return n == 0 ? 1.0 : x * whole_power(x, n - 1);
}
constexpr double binomial(int n, int k) {
  return k == 0 || k == n ? 1.0 : binomial(n - 1, k - 1) + binomial(n - 1, k);
}
// What (x + middle)**n has of x**k
constexpr double part_of_power(double middle, int n, int k) {
  return n < k ? 0.0 : binomial(n, k) * whole_power(middle, n - k);
}
constexpr Centred centred(const double (&given)[n_term][5]) {
  constexpr int of_s[n_term] = {0, 1, 2, 3, 0, 1, 2, 0, 1, 0};
  constexpr int of_a[n_term] = {0, 0, 0, 0, 1, 1, 1, 2, 2, 3};
  Centred result;
  for (int row = 0; row < n_term; ++row)
    for (int column = 0; column < 5; ++column) {
      double sum = 0.0;
      for (int from = 0; from < n_term; ++from) {
        double term = given[from][4];
        if (column < 4) {
          term = 0.0;
          for (int n = 0; n < 4; ++n)
            term += given[from][n] * part_of_power(middle_temperature, n, column) *
                    whole_power(temperature_span, column);
        }
        sum += term * part_of_power(middle_ln_saturation, of_s[from], of_s[row]) *
               part_of_power(middle_ln_gas, of_a[from], of_a[row]);
      }
      result.term[row][column] = sum;
    }
  for (auto &row : result.term)
    row[0] += middle_per_x * row[4];
  return result;
}
M7EMU_TABLE Centred centred_rate = centred(rate_term), centred_cluster = centred(cluster_term),
                    centred_fraction = centred(fraction_term);

// M7's limits: where the rate or the cluster is too small nothing forms.
M7EMU_INLINE void limit(const Switches &switches, const Air &air, pack<float> gas,
                        pack<float> cluster, pack<float> &rate, pack<float> &molecules) {
  using R = pack<float>;
  const R temperature = to<float>(air.seen_temperature);
  const R saturation = to<float>(air.seen_humidity);
  rate = min(rate, R(float(rate_max)));
  auto inside = (rate >= R(float(rate_min))) & (cluster >= R(float(cluster_min)));
  if (switches.older)
    inside = inside & (gas >= R(float(gas_min))) & (saturation >= R(float(saturation_min))) &
             (temperature >= R(float(temperature_min))) &
             (temperature <= R(float(temperature_max)));
  rate = only(inside, rate);
  molecules = only(inside, molecules);
}

// Ln of the gas less that in the middle: more digits than ln of the gas has.
M7EMU_INLINE pack<float> ln_gas_from_middle(pack<float> gas) {
  using R = pack<float>;
  constexpr float per_middle_gas = 1.522997974471263e-08f; // exp(-middle_ln_gas)
  return log_of<float>(min(max(gas, R(float(gas_min))), R(float(gas_max))) * R(per_middle_gas));
}

// Whether so much gas may nucleate, by the bound above.
M7EMU_INLINE mask<float> may_nucleate(const Air &air, pack<float> ln_saturation, pack<float> a) {
  return a > nucleation_bound(air, ln_saturation) - pack<float>(float(middle_ln_gas));
}

// Rate of binary homogeneous nucleation [cm-3 s-1] and H2SO4 molecules per new particle (section
// 10.1), at ln of the saturation and `a` of the gas from the middle. Outside the fit's range the
// 2004 generation does not nucleate, ham2 evaluates at its edge. The rate goes with high powers of
// the temperature and of the mole fraction: these in double.
M7EMU_FUNCTION void vehkamaki(const Switches &switches, const Air &air, pack<float> ln_saturation,
                              pack<float> a, pack<float> gas, pack<float> &rate,
                              pack<float> &molecules) {
  using R = pack<float>;
  using D = pack<double>;
  const D exact_t =
      (min(max(air.temperature, D(temperature_min)), D(temperature_max)) - D(middle_temperature)) *
      D(1.0 / temperature_span);
  const R t = to<float>(exact_t), s = ln_saturation - R(float(middle_ln_saturation));
  const D of_s = to<double>(s);
  const auto row = [exact_t](int k) {
    return D(centred_fraction.term[k][0]) + exact_t * D(centred_fraction.term[k][1]);
  };
  const D exact_x =
      row(0) + of_s * (row(1) + of_s * (row(2) + of_s * row(3))) + to<double>(a) * row(4);
  const R x = to<float>(exact_x), per_x = to<float>(D(1.0) / exact_x - D(middle_per_x));
  const auto sum = [&](const Centred &centred) {
    const auto row = [&](int k) {
      const auto &of = centred.term[k];
      return R(float(of[0])) + t * (R(float(of[1])) + t * (R(float(of[2])) + t * R(float(of[3])))) +
             R(float(of[4])) * per_x;
    };
    R all = row(9);
    all = all * a + (row(7) + s * row(8));
    all = all * a + (row(4) + s * (row(5) + s * row(6)));
    return all * a + (row(0) + s * (row(1) + s * (row(2) + s * row(3))));
  };
  rate = exp_of<float>(min(max(sum(centred_rate), R(-80.0f)), R(25.0f)));
  const R cluster = exp_of<float>(min(max(sum(centred_cluster), R(-80.0f)), R(50.0f)));
  molecules = x * cluster;
  limit(switches, air, gas, cluster, rate, molecules);
}

// The same by a network; `here`: 1 where there is any gas, else 0.
M7EMU_FUNCTION void learned_nucleation(const Network &network, const Switches &switches,
                                       const Air &air, pack<float> gas, pack<float> here,
                                       pack<float> &rate, pack<float> &molecules, Guard &guard) {
  using R = pack<float>;
  R feature[n_nucleation_features], present[n_nucleation_features], target[n_nucleation_targets];
  feature[nucleation_temperature] = temperature_within(air);
  feature[nucleation_ln_saturation] = ln_saturation(air);
  feature[nucleation_ln_gas] = ln_gas(gas);
  for (int i = 0; i < n_nucleation_features; ++i)
    present[i] = here;
  evaluate(network, feature, present, target, guard);
  for (int i = 0; i < n_nucleation_targets; ++i)
    target[i] = exp_of<float>(min(max(target[i], R(-30.0f)), R(25.0f)));
  rate = target[nucleation_ln_rate];
  molecules = target[nucleation_ln_cluster_h2so4];
  limit(switches, air, gas, target[nucleation_ln_cluster_molecules], rate, molecules);
}

// What nucleates of the `gas` [cm-3] that condensation has left: molecules and particles [cm-3].
// `sink` is the sum of the condensation sinks [s-1]; `network` gives the binary rate if there is
// one.
M7EMU_FUNCTION void nucleate(const Network *network, const Switches &switches, double timestep,
                             const Air &air, pack<double> sink, pack<double> gas,
                             pack<double> &taken, pack<double> &formed, Guard &guard) {
  using R = pack<float>;
  using D = pack<double>;
  const R zero = R(0.0f), one = R(1.0f), dt = R(static_cast<float>(timestep));
  taken = formed = D(0.0);
  const R clear = switches.older ? one : to<float>(D(1.0) - air.cloud_fraction);
  const R within = quotient(clear > zero, to<float>(gas), clear);
  R rate = zero, molecules = zero;
  bool binary = switches.vehkamaki;
  if (binary && network) {
    binary = cells_evaluate_together || any(within > zero);
    if (binary)
      learned_nucleation(*network, switches, air, within, to<float>(only(gas > D(0.0), D(1.0))),
                         rate, molecules, guard);
  } else if (binary) {
    const R s = ln_saturation(air), a = ln_gas_from_middle(within);
    binary = any(may_nucleate(air, s, a));
    if (binary)
      vehkamaki(switches, air, s, a, within, rate, molecules);
  }
  if (!binary && switches.organic == Settings::no_organic)
    return;
  R loss = molecules * rate;
  if (!switches.older && switches.organic != Settings::no_organic) {
    const R inside = only(to<float>(air.boundary_layer) > R(0.5f), to<float>(air.forest_fraction));
    const bool kinetic = switches.organic == Settings::kinetic;
    const R some =
        min(within, R(1.0e20f)); // beyond all gas there can be: its square fits into float
    const R more = kinetic ? R(3.86e-13f) * inside * some * some : R(1.0e-6f) * inside * some;
    loss = loss + (kinetic ? R(2.0f) : one) * more;
    rate = rate + more;
  }
  // The 2004 generation takes what forms at the start's rate.
  const R slowed = switches.older ? one : one + to<float>(sink) * dt;
  const auto forms =
      (rate > R(float(real_traits<double>::epsilon))) & (loss > zero) & (within > zero);
  const R wanted = dt * loss / slowed;
  // All of the gas to its last digit, where there is not as much as wanted.
  const R most = select(wanted < within, wanted * clear, R(1.01f) * to<float>(gas));
  taken = min(to<double>(only(forms, most)), gas);
  formed = to<double>(to<float>(taken) * quotient(forms, rate, loss));
}

} // namespace M7EMU_SET
} // namespace m7emu
