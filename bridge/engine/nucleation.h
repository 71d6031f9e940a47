// Nucleation: section 10 of the physics contract. Binary H2SO4-H2O after Vehkamaki et al. (2002),
// organic activation and kinetic nucleation (Kulmala et al. 2006), and how each generation takes
// the gas over a timestep. In double: the fit's terms cancel.
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

// ln of the gas [cm-3] above which a lane may nucleate; it may only err by being too low.
M7EMU_FUNCTION pack<float> nucleation_bound(const Air &air) {
  using R = pack<float>;
  const R t =
      min(max(to<float>(air.temperature), R(float(temperature_min))), R(float(temperature_max)));
  const R s =
      log_of<float>(min(max(to<float>(air.relative_humidity), R(float(saturation_min))), R(1.0f)));
  const R x = (t - R(245.15f)) * R(1.0f / 55.0f);
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
  constant = R(0.7409967177282139) - R(0.002663785665140117) * t +
             s * (R(0.002010478847383187) - R(0.0001832894131464668) * t +
                  s * (R(0.001574072538464286) - R(0.00001790589121766952) * t +
                       s * (R(0.0001844027436573778) - R(1.503452308794887e-6) * t)));
  slope = R(0.0000504021689382576) * t - R(0.003499978417957668);
}

// M7's limits: where the rate or the cluster is too small nothing forms.
M7EMU_INLINE void limit(const Switches &switches, pack<double> temperature, pack<double> saturation,
                        pack<double> gas, pack<double> cluster, pack<double> &rate,
                        pack<double> &molecules) {
  using R = pack<double>;
  rate = min(rate, R(rate_max));
  auto inside = (rate >= R(rate_min)) & (cluster >= R(cluster_min));
  if (switches.older)
    inside = inside & (gas >= R(gas_min)) & (saturation >= R(saturation_min)) &
             (temperature >= R(temperature_min)) & (temperature <= R(temperature_max));
  rate = select(inside, rate, R(0.0));
  molecules = select(inside, molecules, R(0.0));
}

// Rate of binary homogeneous nucleation [cm-3 s-1] and H2SO4 molecules per new particle (section
// 10.1). Outside the fit's range the 2004 generation does not nucleate, ham2 evaluates at its edge.
M7EMU_FUNCTION void vehkamaki(const Switches &switches, pack<double> temperature,
                              pack<double> saturation, pack<double> gas, pack<double> &rate,
                              pack<double> &molecules) {
  using R = pack<double>;
  const R t = min(max(temperature, R(temperature_min)), R(temperature_max));
  const R s = rough_log(min(max(saturation, R(saturation_min)), R(1.0)));
  const R a = rough_log(min(max(gas, R(gas_min)), R(gas_max)));
  R x, slope;
  critical_fraction(t, s, x, slope);
  x = x + a * slope;
  const R per_x = R(1.0) / x;
  const R factor[n_term] = {R(1.0), s,         s * s, s * s * s, a,
                            s * a,  s * s * a, a * a, s * a * a, a * a * a};
  R ln_rate = R(0.0), ln_cluster = R(0.0);
  for (int k = 0; k < n_term; ++k) {
    const double (&r)[5] = rate_term[k], (&c)[5] = cluster_term[k];
    ln_rate = ln_rate +
              factor[k] * (R(r[0]) + t * (R(r[1]) + t * (R(r[2]) + t * R(r[3]))) + R(r[4]) * per_x);
    ln_cluster = ln_cluster + factor[k] * (R(c[0]) + t * (R(c[1]) + t * (R(c[2]) + t * R(c[3]))) +
                                           R(c[4]) * per_x);
  }
  rate = to<double>(exp_of<float>(to<float>(min(max(ln_rate, R(-80.0)), R(25.0)))));
  const pack<float> of_cluster = exp_of<float>(to<float>(min(max(ln_cluster, R(-80.0)), R(80.0))));
  const R cluster = to<double>(of_cluster);
  molecules = x * cluster;
  limit(switches, temperature, saturation, gas, cluster, rate, molecules);
}

// The same by a network.
M7EMU_FUNCTION void learned_nucleation(const Network &network, const Switches &switches,
                                       pack<double> temperature, pack<double> saturation,
                                       pack<double> gas, pack<double> &rate,
                                       pack<double> &molecules, Guard &guard) {
  using D = pack<double>;
  using R = pack<float>;
  R feature[n_nucleation_features], present[n_nucleation_features], target[n_nucleation_targets];
  feature[nucleation_temperature] =
      to<float>(min(max(temperature, D(temperature_min)), D(temperature_max)));
  feature[nucleation_ln_saturation] =
      log_of<float>(to<float>(min(max(saturation, D(saturation_min)), D(1.0))));
  feature[nucleation_ln_gas] = log_of<float>(to<float>(min(max(gas, D(gas_min)), D(gas_max))));
  for (int i = 0; i < n_nucleation_features; ++i)
    present[i] = to<float>(select(gas > D(0.0), D(1.0), D(0.0)));
  evaluate(network, feature, present, target, guard);
  for (int i = 0; i < n_nucleation_targets; ++i)
    target[i] = exp_of<float>(min(max(target[i], R(-30.0f)), R(25.0f)));
  rate = to<double>(target[nucleation_ln_rate]);
  molecules = to<double>(target[nucleation_ln_cluster_h2so4]);
  limit(switches, temperature, saturation, gas, to<double>(target[nucleation_ln_cluster_molecules]),
        rate, molecules);
}

// What nucleates of the `gas` [cm-3] that condensation has left: molecules and particles [cm-3].
// `sink` is the sum of the condensation sinks [s-1]; `network` gives the binary rate if there is
// one.
M7EMU_FUNCTION void nucleate(const Network *network, const Switches &switches, double timestep,
                             const Air &air, pack<double> sink, pack<double> gas,
                             pack<double> &taken, pack<double> &formed, Guard &guard) {
  using R = pack<double>;
  const R zero = R(0.0), one = R(1.0), dt = R(timestep);
  taken = formed = zero;
  const R clear = switches.older ? one : one - air.cloud_fraction;
  const R within = select(clear > zero, gas / select(clear > zero, clear, one), zero);
  const bool binary =
      switches.vehkamaki && (network ? cells_evaluate_together || any(within > zero)
                                     : any(ln_gas(to<float>(within)) > nucleation_bound(air)));
  if (!binary && switches.organic == Settings::no_organic)
    return;
  R rate = zero, molecules = zero;
  if (binary && network)
    learned_nucleation(*network, switches, air.temperature, air.relative_humidity, within, rate,
                       molecules, guard);
  else if (binary)
    vehkamaki(switches, air.temperature, air.relative_humidity, within, rate, molecules);
  const R epsilon = R(real_traits<double>::epsilon);
  if (switches.older) {
    const auto forms = (rate > epsilon) & (molecules > zero);
    taken = select(forms, min(max(rate * molecules * dt, zero), gas), zero);
    formed = taken / select(forms, molecules, one);
    return;
  }
  R loss = molecules * rate;
  if (switches.organic != Settings::no_organic) {
    const R inside = select(air.boundary_layer > R(0.5), air.forest_fraction, zero);
    R organic_rate, organic_molecules;
    if (switches.organic == Settings::activation) {
      organic_molecules = one;
      organic_rate = R(1.0e-6) * inside * within;
    } else {
      organic_molecules = R(2.0);
      organic_rate = R(3.86e-13) * inside * within * within;
    }
    loss = loss + organic_molecules * organic_rate;
    rate = rate + organic_rate;
  }
  const auto forms = (rate > epsilon) & (loss > zero);
  taken = min(dt * loss / (one + sink * dt), within);
  taken = select(forms, min(taken * clear, gas), zero);
  formed = taken * rate / select(forms, loss, one);
}

} // namespace M7EMU_SET
} // namespace m7emu
