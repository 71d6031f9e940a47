// Water uptake of sulfuric acid and of sea salt: sections 8.1 and 8.3 of the physics contract.
#pragma once

#include "kappa.h"
#include "math.h"
#include "parameters.h"
#include "program.h"

namespace m7emu {
namespace M7EMU_SET {

enum { nacl, na2so4, h2so4, n_salt };
constexpr double molar_mass_nacl = 58.443, molar_mass_na2so4 = 142.0376; // [g mol-1]
constexpr double density_na2so4 = 2.68;                                  // [g cm-3]
// Relative humidity below which sea salt particles are dry [1]
constexpr double deliquescence_rh = 0.45;

// Square root of the binary molality over powers of the water activity (Jacobson et al. 1996).
M7EMU_TABLE double molality_series[n_salt][8] = {{-1.918004e2, 2.001540e3, -8.557205e3, 1.987670e4,
                                                  -2.717192e4, 2.187103e4, -9.591577e3, 1.763672e3},
                                                 {-3.295311e3, 3.188349e4, -1.305168e5, 2.935608e5,
                                                  -3.920423e5, 3.109519e5, -1.356439e5, 2.510249e4},
                                                 {5.611895, -1.387446e1, 1.750682e1, 7.138146e1,
                                                  -3.109173e2, 4.662288e2, -3.128612e2, 7.76097e1}};
// Weight-% of H2SO4 and density of the solution (Wilson's regressions), numbered from 1.
M7EMU_TABLE double w[] = {0.0,         95.80188,      -28.5257,    -1.082153,   0.1466501,
                          -20627.51,   0.0461242,     -0.003935,   -3.36115,    -0.00024137,
                          0.067938345, 0.00000649899, 8616124.373, 1.168155578, -0.021317481,
                          0.000270358, -1353332314.0, -0.002403805};
M7EMU_TABLE double g[] = {0.0,         1.036391467, 0.00728531,  -0.011013887, -0.068887407,
                          0.001047842, 0.001049607, 0.000740534, -1.081202685, -0.0000029113};
// Both are polynomials of ln n, n the molecules in a particle. They are evaluated around this ln n,
// where the terms cancel less: float can then hold them.
constexpr double centre = 16.0;

// What the regressions need of temperature, pressure and humidity, as coefficients of ln n -
// centre, and the water held per salt; the same for every mode of a cell and every evaluation of a
// step.
template <class T> struct Solution {
  pack<T> percent[3], density[2];
  pack<T> water_per_salt[n_salt]; // [kg mol-1], 0 where sea salt is dry
  pack<double> exact_water_per_salt[n_salt];
  // Of the learned form: quartics of (ln n - ln_middle_size)/ln_size_step
  pack<T> learned_percent[n_size], learned_density[n_size];
  Moist<T> moist; // of kappa water, alone
};

// The coefficients are sums of polynomials of temperature t, humidity h and h/t, bounded as here.
// These, too, are evaluated around some values: those of cold and moist air, where solutions are so
// weak that the least rounding shows.
constexpr double temperature_floor = 240.0, humidity_floor = 0.05, humidity_ceiling = 0.90;
constexpr double corner_t = temperature_floor, corner_h = humidity_ceiling;
constexpr double corner_ratio = corner_h / corner_t;
struct Squares {
  double a, t, t2, h, h2; // a + t x + t2 x**2 + h y + h2 y**2, with x and y from the corner
};
constexpr Squares around_corner(double a, double t, double t2, double h, double h2) {
  return {a + corner_t * (t + corner_t * t2) + corner_h * (h + corner_h * h2),
          t + 2.0 * corner_t * t2, t2, h + 2.0 * corner_h * h2, h2};
}
M7EMU_TABLE double ratio_terms[] = {
    corner_ratio * (w[5] + corner_ratio * (w[12] + corner_ratio * w[16])),
    w[5] + corner_ratio * (2.0 * w[12] + 3.0 * corner_ratio * w[16]),
    w[12] + 3.0 * corner_ratio * w[16], w[16]};
M7EMU_TABLE Squares percent_terms[] = {
    around_corner(ratio_terms[0] + w[1] +
                      centre * (w[2] + centre * (w[13] + centre * (w[14] + centre * w[15]))),
                  (w[4] + centre * w[7]) * centre, (w[9] + centre * w[11]) * centre,
                  (w[3] + centre * w[6]) * centre, (w[8] + centre * w[10]) * centre),
    around_corner(w[2] + centre * (2.0 * w[13] + centre * (3.0 * w[14] + 4.0 * centre * w[15])),
                  w[4] + 2.0 * centre * w[7], w[9] + 2.0 * centre * w[11],
                  w[3] + 2.0 * centre * w[6], w[8] + 2.0 * centre * w[10]),
    around_corner(w[13] + centre * (3.0 * w[14] + 6.0 * centre * w[15]), w[7], w[11], w[6], w[10])};
M7EMU_TABLE Squares density_terms =
    around_corner(g[1] + centre * (g[3] / 3.0 + centre * g[6] / 9.0), g[5], g[9], g[4], 0.0);

// `pressure` [Pa], `temperature` [K], `relative_humidity` [1]
template <class T>
M7EMU_FUNCTION void solution_terms(pack<T> pressure, pack<T> temperature, pack<T> relative_humidity,
                                   Solution<T> &solution) {
  using R = pack<T>;
  const R t = max(temperature, R(T(temperature_floor)));
  const R h = min(max(relative_humidity, R(T(humidity_floor))), R(T(humidity_ceiling)));
  const R both = t * h, per_both = R(T(1)) / both, per_t = per_both * h, per_h = per_both * t;
  const R x = t - R(T(corner_t)), y = h - R(T(corner_h));
  const R z = (y - R(T(corner_ratio)) * x) * per_t; // h/t from the corner's, without cancellation
  // All but the rounded constant, which comes last: so only its sum is rounded as it is.
  const auto small = [&](const Squares &of) {
    const R rest = R(T(of.a - double(T(of.a))));
    return rest + x * (R(T(of.t)) + x * R(T(of.t2))) + y * (R(T(of.h)) + y * R(T(of.h2)));
  };
  const auto sum = [&](const Squares &of) { return R(T(of.a)) + small(of); };
  solution.percent[0] =
      R(T(percent_terms[0].a)) +
      (small(percent_terms[0]) + R(T(w[17])) * log_of<T>(both / pressure) +
       z * (R(T(ratio_terms[1])) + z * (R(T(ratio_terms[2])) + z * R(T(ratio_terms[3])))));
  solution.percent[1] = sum(percent_terms[1]);
  solution.percent[2] = sum(percent_terms[2]);
  const R inverse = R(T(g[7] / 3.0)) * per_h + R(T(g[8] / 3.0)) * per_t;
  solution.density[0] = sum(density_terms) + R(T(centre)) * inverse;
  solution.density[1] = inverse + R(T(g[3] / 3.0 + 2.0 * centre * g[6] / 9.0));
}

// Water held by salts by their binary molalities (section 8.3).
template <class T>
M7EMU_FUNCTION void salt_terms(pack<double> relative_humidity, Solution<T> &solution) {
  using R = pack<double>;
  const R activity = min(max(relative_humidity, R(deliquescence_rh)), R(1.0));
  // Water is 1/root**2; the three share a division.
  R square[n_salt];
  for (int salt = 0; salt < n_salt; ++salt) {
    const R root = polynomial(activity, molality_series[salt]);
    square[salt] = root * root;
  }
  const R per_all = select(relative_humidity < R(deliquescence_rh), R(0.0),
                           R(1.0) / (square[nacl] * square[na2so4] * square[h2so4]));
  solution.exact_water_per_salt[nacl] = per_all * (square[na2so4] * square[h2so4]);
  solution.exact_water_per_salt[na2so4] = per_all * (square[nacl] * square[h2so4]);
  solution.exact_water_per_salt[h2so4] = per_all * (square[nacl] * square[na2so4]);
  for (int salt = 0; salt < n_salt; ++salt)
    solution.water_per_salt[salt] = to<T>(solution.exact_water_per_salt[salt]);
}

// Strength [%] and density [g cm-3] of the droplet that a particle of `molecules` H2SO4 becomes.
template <class T>
M7EMU_FUNCTION void sulfuric_solution(const Parameters<T> &p, const Solution<T> &solution,
                                      pack<T> molecules, pack<T> &weight_percent,
                                      pack<T> &density) {
  using R = pack<T>;
  const R x = log_of<T>(molecules) - R(T(centre));
  const R fitted =
      solution.percent[0] +
      x * (solution.percent[1] +
           x * (solution.percent[2] + x * (R(T(w[14] + 4.0 * centre * w[15])) + x * R(T(w[15])))));
  weight_percent = max(fitted, R(p.floor_percent));
  density = solution.density[0] + R(T(g[2])) * weight_percent +
            x * (solution.density[1] + x * R(T(g[6] / 9.0)));
  density = min(max(density, R(T(1.0))), R(T(1.841)));
}

} // namespace M7EMU_SET
} // namespace m7emu
