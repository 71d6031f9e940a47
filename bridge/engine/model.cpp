#include "model.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <locale.h>
#include <map>
#include <new>
#include <set>

#define JSON_ASSERT(condition) static_cast<void>(0) // a library does not end its host
#include <nlohmann/json.hpp>

#include "water.h"

namespace m7emu {
namespace {

using json = nlohmann::json;

// While there is one, this thread reads and writes numbers with a point, whatever the host's
// locale.
class PlainNumbers {
  const locale_t plain = newlocale(LC_ALL_MASK, "C", locale_t(0)), before;

public:
  PlainNumbers() : before(plain ? uselocale(plain) : throw std::bad_alloc()) {}
  ~PlainNumbers() {
    uselocale(before);
    freelocale(plain);
  }
  PlainNumbers(const PlainNumbers &) = delete;
  PlainNumbers &operator=(const PlainNumbers &) = delete;
};

constexpr int format_version = 2;
constexpr std::uint64_t most_strides = 1000; // of a stage, and stages of a step
constexpr std::uint64_t longest_header = 16u << 20, longest_file = 1u << 30; // bytes
constexpr float largest_weight = 1.0e6f;

// Names and units of the state, which the file must share: pyemu/variables.py has the table.
struct Variable {
  const char *name, *unit;
};
constexpr Variable variables[] = {{"pressure", "Pa"},
                                  {"temperature", "K"},
                                  {"relative_humidity", "1"},
                                  {"cloud_fraction", "1"},
                                  {"h2so4_production", "cm-3 s-1"},
                                  {"ion_pair_production", "cm-3 s-1"},
                                  {"forest_fraction", "1"},
                                  {"boundary_layer", "1"},
                                  {"h2so4", "cm-3"},
                                  {"so4_ns", "cm-3"},
                                  {"so4_ks", "cm-3"},
                                  {"so4_as", "cm-3"},
                                  {"so4_cs", "cm-3"},
                                  {"bc_ks", "ug m-3"},
                                  {"bc_as", "ug m-3"},
                                  {"bc_cs", "ug m-3"},
                                  {"bc_ki", "ug m-3"},
                                  {"oc_ks", "ug m-3"},
                                  {"oc_as", "ug m-3"},
                                  {"oc_cs", "ug m-3"},
                                  {"oc_ki", "ug m-3"},
                                  {"ss_as", "ug m-3"},
                                  {"ss_cs", "ug m-3"},
                                  {"du_as", "ug m-3"},
                                  {"du_cs", "ug m-3"},
                                  {"du_ai", "ug m-3"},
                                  {"du_ci", "ug m-3"},
                                  {"num_ns", "cm-3"},
                                  {"num_ks", "cm-3"},
                                  {"num_as", "cm-3"},
                                  {"num_cs", "cm-3"},
                                  {"num_ki", "cm-3"},
                                  {"num_ai", "cm-3"},
                                  {"num_ci", "cm-3"}};
// Diagnostics of all modes, or of the soluble ones; a file may leave them out.
struct Diagnostic {
  const char *prefix, *unit;
  int modes;
};
constexpr Diagnostic diagnostics[] = {{"wet_radius_", "cm", n_mode},
                                      {"dry_radius_", "cm", n_soluble},
                                      {"density_", "g cm-3", n_mode},
                                      {"water_", "kg m-3", n_soluble}};
constexpr const char *mode_names[n_mode] = {"ns", "ks", "as", "cs", "ki", "ai", "ci"};
constexpr const char *blocks[] = {"properties", "water",       "condensation",
                                  "nucleation", "coagulation", "number",
                                  "transfer",   "ageing",      "merging"};

using Names = std::vector<std::string>;

Names with_modes(const char *prefix, int first, int last) {
  Names names;
  for (int k = first; k <= last; ++k)
    names.push_back(prefix + std::string(mode_names[k]));
  return names;
}
Names joined(Names names, const Names &more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

// A learned form: the block that may have it, features that its network may read, targets that it
// gives, and the number of the first of these among those of networks that it may share.
struct Form {
  const char *block, *key;
  Names features, targets;
  int first;
  const Network *Program::*slot;
};

std::vector<Form> learned_forms() {
  const Names particles =
      joined(joined(with_modes("ln_wet_radius_", ns, ci), with_modes("density_", ns, ci)),
             {"temperature", "ln_pressure"});
  Names kernels, solutions;
  for (int pair = 0; pair < n_pair; ++pair)
    kernels.push_back(std::string("ln_kernel_") + mode_names[pair_first[pair]] + "_" +
                      mode_names[pair_second[pair]]);
  for (const char *property : {"ln_weight_percent_", "solution_density_"})
    for (const char *size : {"1e1", "1e4", "1e7", "1e10", "1e13"})
      solutions.push_back(std::string(property) + size);
  return {{"water",
           "network",
           {"temperature", "relative_humidity", "ln_pressure"},
           solutions,
           0,
           &Program::water},
          {"water",
           "salt",
           {"water_activity", "ln_subsaturation"},
           {"ln_water_per_nacl", "ln_water_per_na2so4", "ln_water_per_h2so4"},
           0,
           &Program::salt},
          {"nucleation",
           "network",
           {"temperature", "ln_saturation", "ln_gas"},
           {"ln_nucleation_rate", "ln_cluster_molecules", "ln_cluster_h2so4"},
           0,
           &Program::nucleation},
          {"condensation", "network", particles, with_modes("ln_sink_", ns, ci), particle_ln_sink,
           &Program::condensation},
          {"coagulation", "network", particles, kernels, particle_ln_kernel, &Program::coagulation},
          {"ageing", "network", particles, with_modes("ln_coating_", ki, ci), particle_ln_coating,
           &Program::ageing}};
}

// The self-error head, which no block of the chain has.
const Form &self_error_head() {
  static const Form head = {
      "self_error",
      "network",
      joined(joined(with_modes("ln_number_", ns, ci), with_modes("ln_wet_radius_", ns, ci)),
             {"temperature", "ln_pressure", "relative_humidity", "cloud_fraction",
              "ln_h2so4_available", "ln_timestep"}),
      {"ln_error_bound"},
      0,
      &Program::self_error};
  return head;
}

// A value as it is told in a message: JSON, cut short. Never walks deep into a hostile file.
std::string told(const json &value) {
  if (value.is_object())
    return "an object";
  if (value.is_array())
    return "a list of " + std::to_string(value.size());
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 60) + "..." : text;
}

std::string told(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

template <class Names> std::string listed(const Names &names) {
  std::string text;
  for (const auto &name : names)
    text += (text.empty() ? "\"" : ", \"") + std::string(name) + "\"";
  return text;
}

// Reads one file; every refusal names it.
class Reader {
public:
  Reader(const char *path, Model &model) : path(path), model(model) {}

  void read() {
    load();
    parse_header();
    const json meta = parse_metadata();
    check_version(meta);
    check_variables(member(meta, "variables", "array", "m7emu"));
    const Settings settings = read_settings(member(meta, "settings", "object", "m7emu"));
    read_integration(member(meta, "integration", "object", "m7emu"));
    read_chain(meta, settings);
    set_program(settings);
  }

private:
  struct Tensor {
    std::vector<std::uint64_t> shape;
    std::uint64_t begin, end;
    std::string type;
    bool used;
  };

  std::string path;
  Model &model;
  std::vector<unsigned char> bytes;
  const unsigned char *data = nullptr; // where the tensors' offsets count from
  std::uint64_t data_size = 0;
  json header;
  std::map<std::string, Tensor> tensors;

  [[noreturn]] void refuse(std::int32_t status, const std::string &text) const {
    throw Refusal(status, path + ": " + text);
  }
  [[noreturn]] void malformed(const std::string &text) const { refuse(M7EMU_ERROR_FORMAT, text); }

  void load() {
    std::FILE *file = std::fopen(path.c_str(), "rb");
    if (!file)
      refuse(M7EMU_ERROR_FILE, std::string("cannot be opened: ") + std::strerror(errno));
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> closing(file, std::fclose);
    std::size_t size = 0;
    for (;;) {
      bytes.resize(size + (1u << 16));
      const std::size_t got = std::fread(bytes.data() + size, 1, bytes.size() - size, file);
      size += got;
      if (got == 0)
        break;
      if (size > longest_file)
        malformed("is larger than 1 GiB; not a model file");
    }
    if (std::ferror(file))
      refuse(M7EMU_ERROR_FILE, std::string("cannot be read: ") + std::strerror(errno));
    bytes.resize(size);
  }

  void parse_header() {
    if (bytes.size() < 8)
      malformed("has " + std::to_string(bytes.size()) +
                " bytes; a model file (safetensors) begins with 8 that tell its header's length");
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i)
      length = length << 8 | bytes[static_cast<std::size_t>(i)];
    const std::uint64_t room = bytes.size() - 8;
    if (length > longest_header || (room > 0 && bytes[8] != '{'))
      malformed("is not a model file (safetensors): header of " + std::to_string(length) +
                " bytes, at most " + std::to_string(longest_header) +
                " expected, beginning with '{'");
    if (length > room)
      malformed("is truncated: header of " + std::to_string(length) + " bytes, found " +
                std::to_string(room));
    const auto *text = bytes.data() + 8;
    try {
      header = json::parse(text, text + length);
    } catch (const json::exception &) {
      malformed("has a header that is not JSON");
    }
    if (!header.is_object())
      malformed("has a header that is not a JSON object");
    data = text + length;
    data_size = room - length;
    for (const auto &[name, entry] : header.items())
      if (name != "__metadata__")
        tensors[name] = parse_tensor("tensor " + name, entry);
    check_offsets();
  }

  std::uint64_t natural(const json &value, const std::string &what) const {
    if (!value.is_number_unsigned())
      malformed(what + " = " + told(value) + "; a whole number expected");
    return value.get<std::uint64_t>();
  }

  Tensor parse_tensor(const std::string &what, const json &entry) const {
    Tensor tensor;
    tensor.used = false;
    tensor.type = member(entry, "dtype", "string", what).get<std::string>();
    std::uint64_t count = 1;
    for (const json &size : member(entry, "shape", "array", what)) {
      tensor.shape.push_back(natural(size, what + ": shape"));
      if (tensor.shape.back() > longest_file)
        malformed(what + ": shape with " + told(size) + "; too large");
      count = std::min(count * tensor.shape.back(), longest_file);
    }
    const json &offsets = member(entry, "data_offsets", "array", what);
    if (offsets.size() != 2)
      malformed(what + ": data_offsets has " + std::to_string(offsets.size()) +
                " numbers, expected 2");
    tensor.begin = natural(offsets[0], what + ": data_offsets");
    tensor.end = natural(offsets[1], what + ": data_offsets");
    if (tensor.type != "F32")
      malformed(what + ": dtype " + told(json(tensor.type)) + ", expected \"F32\"");
    if (tensor.end < tensor.begin)
      malformed(what + ": data_offsets end before they begin");
    if (tensor.end > data_size)
      malformed(what + " ends at byte " + std::to_string(tensor.end) + " of " +
                std::to_string(data_size) + ": the file is truncated, or its offsets are wrong");
    if (tensor.end - tensor.begin != count * sizeof(float))
      malformed(what + ": data_offsets span " + std::to_string(tensor.end - tensor.begin) +
                " bytes, its shape needs " + std::to_string(count * sizeof(float)));
    return tensor;
  }

  // Tensors fill the file without gaps and overlaps.
  void check_offsets() const {
    std::vector<std::pair<const std::string *, const Tensor *>> order;
    for (const auto &[name, tensor] : tensors)
      order.emplace_back(&name, &tensor);
    std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
      return std::make_pair(a.second->begin, a.second->end) <
             std::make_pair(b.second->begin, b.second->end);
    });
    std::uint64_t at = 0;
    for (const auto &[name, tensor] : order) {
      if (tensor->begin != at)
        malformed("tensor " + *name + " begins at byte " + std::to_string(tensor->begin) + ", " +
                  std::to_string(at) + " expected: tensors overlap or leave a gap");
      at = tensor->end;
    }
    if (at != data_size)
      malformed("has " + std::to_string(data_size) + " bytes of tensors, " + std::to_string(at) +
                " expected");
  }

  json parse_metadata() {
    const auto found = header.find("__metadata__");
    if (found == header.end() || !found->is_object() || !found->contains("m7emu") ||
        !(*found)["m7emu"].is_string())
      malformed("is a safetensors file, but not a model of m7emu: its metadata have no 'm7emu'");
    model.metadata = (*found)["m7emu"].get<std::string>();
    json meta;
    try {
      meta = json::parse(model.metadata);
    } catch (const json::exception &) {
      malformed("has metadata 'm7emu' that are not JSON");
    }
    if (!meta.is_object())
      malformed("has metadata 'm7emu' that are not a JSON object");
    return meta;
  }

  // A member of an object, of the kind asked for: "array", "object", "string", "number", "boolean".
  const json &member(const json &object, const char *key, const std::string &kind,
                     const std::string &where) const {
    if (!object.is_object())
      malformed(where + ": " + told(object) + ", an object expected");
    const auto found = object.find(key);
    if (found == object.end())
      malformed(where + ": '" + key + "' is missing");
    if (found->type_name() != kind)
      malformed(where + ": " + key + " = " + told(*found) + ", expected " +
                (kind == "array" || kind == "object" ? "an " : "a ") + kind);
    return *found;
  }

  void only(const json &object, const std::set<std::string> &known,
            const std::string &where) const {
    for (const auto &entry : object.items())
      if (!known.count(entry.key()))
        refuse(M7EMU_ERROR_UNSUPPORTED, where + ": '" + entry.key().substr(0, 60) +
                                            "' is not known to this library; it knows " +
                                            listed(known));
  }

  // Which of the known words a string is.
  template <class Words>
  int choice(const std::string &word, const Words &known, const std::string &where) const {
    int place = 0;
    for (const auto &candidate : known) {
      if (word == candidate)
        return place;
      ++place;
    }
    refuse(M7EMU_ERROR_UNSUPPORTED,
           where + " = " + told(json(word)) + "; this library knows " + listed(known));
  }

  void check_version(const json &meta) const {
    const json &found = member(meta, "format_version", "number", "m7emu");
    if (found != json(format_version))
      refuse(M7EMU_ERROR_VERSION, "has format_version " + told(found) + ", this library reads " +
                                      std::to_string(format_version));
  }

  void check_variables(const json &list) const {
    std::map<std::string, std::string> units;
    for (const json &entry : list) {
      const std::string name = member(entry, "name", "string", "variables").get<std::string>();
      units[name] = member(entry, "unit", "string", "variables." + name).get<std::string>();
    }
    for (const Variable &variable : variables)
      if (!take_unit(units, variable.name, variable.unit))
        malformed(std::string("variables: '") + variable.name + "' is missing");
    for (const Diagnostic &diagnostic : diagnostics)
      for (int k = 0; k < diagnostic.modes; ++k)
        take_unit(units, std::string(diagnostic.prefix) + mode_names[k], diagnostic.unit);
    if (!units.empty())
      refuse(M7EMU_ERROR_UNSUPPORTED, "variables: '" + units.begin()->first.substr(0, 60) +
                                          "' is not known to this library");
  }

  bool take_unit(std::map<std::string, std::string> &units, const std::string &name,
                 const char *expected) const {
    const auto found = units.find(name);
    if (found == units.end())
      return false;
    if (found->second != expected)
      malformed("variables." + name + ": unit " + told(json(found->second)) + ", expected \"" +
                expected + "\"");
    units.erase(found);
    return true;
  }

  double number(const json &object, const char *key, double low, double high) const {
    return in_range(member(object, key, "number", "settings").get<double>(),
                    std::string("settings.") + key, low, high);
  }
  double in_range(double value, const std::string &what, double low, double high) const {
    if (!(value >= low && value <= high))
      refuse(M7EMU_ERROR_VALUE,
             what + " = " + told(value) + "; allowed is [" + told(low) + ", " + told(high) + "]");
    return value;
  }
  template <class Words> int choice(const json &object, const char *key, const Words &known) const {
    return choice(member(object, key, "string", "settings").get<std::string>(), known,
                  std::string("settings.") + key);
  }
  bool truth(const json &object, const char *key) const {
    return member(object, key, "boolean", "settings").get<bool>();
  }
  void per_species(const json &object, const char *key, double low, double high,
                   double (&values)[n_species]) const {
    const json &list = member(object, key, "array", "settings");
    const std::string what = std::string("settings.") + key;
    if (list.size() != n_species)
      malformed(what + " has " + std::to_string(list.size()) + " numbers, expected 5");
    for (std::size_t i = 0; i < n_species; ++i) {
      if (!list[i].is_number())
        malformed(what + " holds " + told(list[i]) + ", numbers expected");
      values[i] = in_range(list[i].get<double>(), what, low, high);
    }
  }

  Settings read_settings(const json &object) const {
    only(object,
         {"profile",
          "water",
          "nucleation",
          "organic_nucleation",
          "condensation",
          "coagulation",
          "density",
          "kappa",
          "reset_seasalt_sums",
          "small_insoluble_volume",
          "limited_ageing",
          "source_coagulation",
          "clip_weight_percent",
          "sulfate_free_radius",
          "kappa_full_volume",
          "production_in_gas",
          "number_min",
          "mass_min",
          "insoluble_volume_min",
          "hygroscopic_volume_min",
          "kernel_number_min",
          "kernel_radius_min",
          "equation_number_min",
          "ageing_number_min",
          "merging_number_min",
          "merging_radius_min",
          "pi",
          "sqrt2",
          "avogadro"},
         "settings");
    Settings s;
    const char *profiles[] = {"m7_2004", "ham2"}, *waters[] = {"zsr", "kappa"};
    const char *nucleations[] = {"none", "vehkamaki2002"};
    const char *organics[] = {"none", "activation", "kinetic"};
    s.profile = static_cast<Settings::Profile>(choice(object, "profile", profiles));
    s.water = static_cast<Settings::Water>(choice(object, "water", waters));
    s.nucleation = static_cast<Settings::Nucleation>(choice(object, "nucleation", nucleations));
    s.organic_nucleation =
        static_cast<Settings::Organic>(choice(object, "organic_nucleation", organics));
    s.condensation = truth(object, "condensation");
    s.coagulation = truth(object, "coagulation");
    per_species(object, "density", 0.1, 30.0, s.density);
    per_species(object, "kappa", 0.0, 10.0, s.kappa);
    s.reset_seasalt_sums = truth(object, "reset_seasalt_sums");
    s.small_insoluble_volume = truth(object, "small_insoluble_volume");
    s.limited_ageing = truth(object, "limited_ageing");
    s.source_coagulation = truth(object, "source_coagulation");
    s.clip_weight_percent = truth(object, "clip_weight_percent");
    s.sulfate_free_radius = truth(object, "sulfate_free_radius");
    s.kappa_full_volume = truth(object, "kappa_full_volume");
    // Files of former versions do not say it.
    s.production_in_gas =
        object.contains("production_in_gas") && truth(object, "production_in_gas");
    // The lower bounds keep float from overflowing where something is divided by a threshold.
    s.number_min = number(object, "number_min", 1.0e-15, 1.0e3);
    s.mass_min = number(object, "mass_min", 0.0, 1.0e3);
    s.insoluble_volume_min = number(object, "insoluble_volume_min", 1.0e-30, 1.0);
    s.hygroscopic_volume_min = number(object, "hygroscopic_volume_min", 0.0, 1.0);
    s.kernel_number_min = number(object, "kernel_number_min", 0.0, 1.0e3);
    s.kernel_radius_min = number(object, "kernel_radius_min", 1.0e-11, 1.0);
    s.equation_number_min = number(object, "equation_number_min", 0.0, 1.0e3);
    s.ageing_number_min = number(object, "ageing_number_min", 0.0, 1.0e3);
    s.merging_number_min = number(object, "merging_number_min", 1.0e-16, 1.0e3);
    s.merging_radius_min = number(object, "merging_radius_min", 0.0, 1.0);
    s.pi = number(object, "pi", 3.14, 3.15);
    s.sqrt2 = number(object, "sqrt2", 1.41, 1.42);
    s.avogadro = number(object, "avogadro", 6.0e23, 6.1e23);
    return s;
  }

  void read_integration(const json &entry) {
    only(entry, {"form", "stages", "strides"}, "integration");
    const std::string form = member(entry, "form", "string", "integration").get<std::string>();
    const std::vector<const char *> forms = {"single", "stages"};
    model.program.stages = model.program.strides = 0;
    if (choice(form, forms, "integration.form") == 0)
      return;
    model.program.stages = count_of(entry, "stages");
    model.program.strides = count_of(entry, "strides");
  }

  int count_of(const json &entry, const char *key) const {
    const std::string what = std::string("integration.") + key;
    const std::uint64_t count = natural(member(entry, key, "number", "integration"), what);
    if (count < 1 || count > most_strides)
      malformed(what + " = " + std::to_string(count) + ", expected 1 to " +
                std::to_string(most_strides));
    return static_cast<int>(count);
  }

  void read_chain(const json &meta, const Settings &settings) {
    const json &chain = member(meta, "chain", "array", "m7emu");
    if (chain.size() != std::size(blocks))
      malformed("chain has " + std::to_string(chain.size()) + " blocks, expected " +
                std::to_string(std::size(blocks)));
    static const json nothing = json::object();
    const json &networks =
        meta.contains("networks") ? member(meta, "networks", "object", "m7emu") : nothing;
    const std::vector<Form> forms = learned_forms();
    std::map<std::string, std::vector<const Form *>> users; // of each network
    for (std::size_t i = 0; i < std::size(blocks); ++i) {
      const std::string where = "chain[" + std::to_string(i) + "]";
      const std::string block = member(chain[i], "block", "string", where).get<std::string>();
      choice(block, blocks, where + ".block");
      if (block != blocks[i])
        malformed(where + " is block \"" + block + "\", expected \"" + blocks[i] + "\"");
      only(chain[i], {"block", "form", "network", "salt"}, where + " (" + block + ")");
      std::vector<const Form *> of_block;
      for (const Form &form : forms)
        if (block == form.block)
          of_block.push_back(&form);
      std::vector<const char *> known = {"exact"};
      if (!of_block.empty())
        known.push_back("network");
      const std::string form = member(chain[i], "form", "string", where).get<std::string>();
      if (choice(form, known, where + " (" + block + ").form") == 0)
        continue;
      bool any = false;
      for (const Form *learned : of_block)
        if (chain[i].contains(learned->key)) {
          users[member(chain[i], learned->key, "string", where).get<std::string>()].push_back(
              learned);
          any = true;
        }
      if (!any)
        malformed(where + ": 'network' is missing");
    }
    if (meta.contains("self_error")) {
      const json &entry = member(meta, "self_error", "object", "m7emu");
      only(entry, {"network", "level", "scale"}, "self_error");
      users[member(entry, "network", "string", "self_error").get<std::string>()].push_back(
          &self_error_head());
    }
    Network *next = model.networks;
    for (const auto &[name, served] : users) {
      const std::string where = "network " + name;
      Names targets;
      std::vector<int> numbers;
      for (const Form *form : served) {
        if (form->features != served[0]->features)
          malformed(where + " cannot serve both " + served[0]->block + " and " + form->block);
        targets = joined(targets, form->targets);
        for (std::size_t i = 0; i < form->targets.size(); ++i)
          numbers.push_back(form->first + static_cast<int>(i));
        model.program.*form->slot = next;
      }
      const json &entry = member(networks, name.c_str(), "object", "networks");
      read_network(name, entry, served[0]->features, targets, *next);
      for (int i = 0; i < next->n_targets; ++i)
        next->target[i] = numbers[static_cast<std::size_t>(next->target[i])];
      ++next;
    }
    if (model.program.stages > 0 && model.program.nucleation)
      refuse(M7EMU_ERROR_UNSUPPORTED, "a step in stages nucleates exactly; it takes no network");
    if (settings.water == Settings::kappa_koehler && (model.program.water || model.program.salt))
      refuse(M7EMU_ERROR_UNSUPPORTED,
             "networks of water and salt are of ZSR water, not of kappa water");
    for (const auto &entry : networks.items())
      if (!users.count(entry.key()))
        malformed("networks: no block of the chain uses '" + entry.key().substr(0, 60) + "'");
    for (const auto &[name, tensor] : tensors)
      if (!tensor.used)
        malformed("tensor " + name.substr(0, 100) + " belongs to no network");
  }

  // The numbers of the named features or targets among those known.
  int read_names(const json &entry, const char *key, const std::string &where,
                 const std::vector<std::string> &known, int (&numbers)[max_features]) const {
    const json &list = member(entry, key, "array", where);
    std::set<int> seen;
    if (list.empty() || list.size() > known.size())
      malformed(where + ": " + std::to_string(list.size()) + " " + key + ", expected 1 to " +
                std::to_string(known.size()));
    for (const json &name : list) {
      if (!name.is_string())
        malformed(where + ": " + key + " holds " + told(name) + ", strings expected");
      const int number = choice(name.get<std::string>(), known, where + ": one of " + key);
      if (!seen.insert(number).second)
        malformed(where + ": " + key + " has " + told(name) + " twice");
      numbers[seen.size() - 1] = number;
    }
    return static_cast<int>(list.size());
  }

  void read_network(const std::string &name, const json &entry,
                    const std::vector<std::string> &features,
                    const std::vector<std::string> &targets, Network &network) {
    const std::string where = "network " + name;
    only(entry, {"features", "targets", "layers", "bypass"}, where);
    static_assert(max_features == max_targets);
    network.n_features = read_names(entry, "features", where, features, network.feature);
    network.n_targets = read_names(entry, "targets", where, targets, network.target);
    if (network.n_targets != static_cast<int>(targets.size()))
      malformed(where + ": " + std::to_string(network.n_targets) + " targets, expected " +
                std::to_string(targets.size()));
    const auto f = static_cast<std::uint64_t>(network.n_features);
    const auto t = static_cast<std::uint64_t>(network.n_targets);
    const float *mean = tensor(name + ".feature_mean", {f});
    const float *scale = tensor(name + ".feature_scale", {f});
    const float *low = tensor(name + ".feature_low", {f});
    const float *high = tensor(name + ".feature_high", {f});
    for (int i = 0; i < network.n_features; ++i) {
      const std::string feature = " of " + features[static_cast<std::size_t>(network.feature[i])];
      if (!(scale[i] >= 1.0e-12f))
        refuse(M7EMU_ERROR_VALUE, "tensor " + name + ".feature_scale" + feature + " = " +
                                      told(scale[i]) + "; allowed is above 0");
      if (!(high[i] >= low[i]))
        refuse(M7EMU_ERROR_VALUE, "tensor " + name + ".feature_high" + feature + " = " +
                                      told(high[i]) + ", below feature_low = " + told(low[i]));
      network.feature_mean[i] = mean[i];
      network.feature_per_scale[i] = 1.0f / scale[i];
      network.feature_low[i] = low[i];
      network.feature_high[i] = high[i];
      network.feature_per_range[i] = 1.0f / std::max(high[i] - low[i], 1.0e-6f);
    }
    const float *target_mean = tensor(name + ".target_mean", {t});
    const float *target_scale = tensor(name + ".target_scale", {t});
    std::copy(target_mean, target_mean + t, network.target_mean);
    std::copy(target_scale, target_scale + t, network.target_scale);
    const bool straight =
        !entry.contains("bypass") || member(entry, "bypass", "boolean", where).get<bool>();
    network.bypass = straight ? linear(name + ".bypass", "", t, f) : Linear{};

    const json &layers = member(entry, "layers", "array", where);
    if (layers.empty())
      malformed(where + " has no layers");
    if (layers.size() > max_layers)
      refuse(M7EMU_ERROR_UNSUPPORTED, where + " has " + std::to_string(layers.size()) +
                                          " layers; this library runs at most " +
                                          std::to_string(max_layers));
    network.n_layers = static_cast<int>(layers.size());
    std::uint64_t width = f;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string layer = name + "." + std::to_string(i);
      const std::string here = where + ", layer " + std::to_string(i);
      const char *operations[] = {"dense", "residual", "gated", "low_rank"};
      const char *activations[] = {"none", "relu", "silu", "tanh"};
      const auto operation = static_cast<Operation>(
          choice(member(layers[i], "operation", "string", here).get<std::string>(), operations,
                 here + ": operation"));
      only(layers[i], {"operation", "activation", "inputs", "outputs", "rank"}, here);
      const int activation =
          choice(member(layers[i], "activation", "string", here).get<std::string>(), activations,
                 here + ": activation");
      const std::uint64_t inputs =
          natural(member(layers[i], "inputs", "number", here), here + ": inputs");
      const std::uint64_t outputs =
          natural(member(layers[i], "outputs", "number", here), here + ": outputs");
      if (inputs != width)
        malformed(here + ": " + std::to_string(inputs) + " inputs, expected " +
                  std::to_string(width));
      if (outputs == 0 || outputs > max_width)
        refuse(M7EMU_ERROR_UNSUPPORTED, here + ": " + std::to_string(outputs) +
                                            " outputs; this library runs 1 to " +
                                            std::to_string(max_width));
      const std::uint64_t rank =
          operation == operation_low_rank
              ? natural(member(layers[i], "rank", "number", here), here + ": rank")
              : inputs;
      if (rank == 0 || rank > max_width)
        refuse(M7EMU_ERROR_UNSUPPORTED, here + ": rank " + std::to_string(rank) +
                                            "; this library runs 1 to " +
                                            std::to_string(max_width));
      if (operation == operation_residual && inputs != outputs)
        malformed(here + ": residual with " + std::to_string(inputs) + " inputs and " +
                  std::to_string(outputs) + " outputs");
      network.layer[i] = {operation, static_cast<Activation>(activation),
                          linear(layer + ".weight", layer + ".bias", outputs, rank), Linear{}};
      if (operation == operation_gated)
        network.layer[i].second =
            linear(layer + ".gate_weight", layer + ".gate_bias", outputs, inputs);
      if (operation == operation_low_rank)
        network.layer[i].second = linear(layer + ".factor", "", rank, inputs);
      width = outputs;
    }
    if (width != t)
      malformed(where + ": the last layer has " + std::to_string(width) + " outputs, expected " +
                std::to_string(t));
  }

  // A linear map from its tensors; `bias` may be "".
  Linear linear(const std::string &weight, const std::string &bias, std::uint64_t outputs,
                std::uint64_t inputs) {
    const float *weights = tensor(weight, {outputs, inputs});
    return model.linear(weights, bias.empty() ? nullptr : tensor(bias, {outputs}),
                        static_cast<int>(outputs), static_cast<int>(inputs));
  }

  static std::string told_shape(const std::vector<std::uint64_t> &shape) {
    std::string text;
    for (std::uint64_t size : shape)
      text += (text.empty() ? "" : ", ") + std::to_string(size);
    return "[" + text + "]";
  }

  // A tensor of the shape asked for, aligned, all its values finite and of a sane size.
  const float *tensor(const std::string &name, const std::vector<std::uint64_t> &shape) {
    const auto found = tensors.find(name);
    if (found == tensors.end())
      malformed("tensor " + name + " is missing");
    Tensor &entry = found->second;
    entry.used = true;
    if (entry.shape != shape)
      malformed("tensor " + name + ": shape " + told_shape(entry.shape) + ", expected " +
                told_shape(shape));
    const std::size_t count = (entry.end - entry.begin) / sizeof(float);
    float *values = model.floats(count);
    std::memcpy(values, data + entry.begin, count * sizeof(float));
    for (std::size_t i = 0; i < count; ++i)
      if (!(std::fabs(values[i]) <= largest_weight))
        refuse(M7EMU_ERROR_VALUE, "tensor " + name + " holds " + told(values[i]) + " at " +
                                      std::to_string(i) + "; allowed is finite and up to " +
                                      told(largest_weight));
    return values;
  }

  void set_program(const Settings &s) {
    const bool older = s.profile == Settings::m7_2004;
    model.program.switches = {older,
                              s.water == Settings::kappa_koehler,
                              s.kappa_full_volume,
                              s.condensation,
                              s.coagulation,
                              s.nucleation == Settings::vehkamaki2002,
                              s.organic_nucleation,
                              s.reset_seasalt_sums,
                              s.limited_ageing,
                              s.source_coagulation,
                              s.production_in_gas};
    model.program.single_precision = derive<float>(s);
    model.program.double_precision = derive<double>(s);
  }

  // Parameters of the formulas from the settings; the sections are those of the physics contract.
  template <class T> static Parameters<T> derive(const Settings &s) {
    const bool older = s.profile == Settings::m7_2004;
    const double epsilon = std::numeric_limits<double>::epsilon();
    const double um3 = 1.0e12, pg = 1.0e12;       // per cm3, per g
    const double pi = s.pi, boltzmann = 1.38e-16; // [erg K-1]
    double mean_to_median[n_mode];
    for (int k = 0; k < n_mode; ++k)
      mean_to_median[k] = std::exp(-1.5 * ln_sigma[k] * ln_sigma[k]);
    Parameters<T> p;

    // Sections 7 and 8
    p.number_min = T(s.number_min);
    p.mass_min = T(s.mass_min);
    for (int species = 0; species < n_species; ++species)
      p.per_density[species] = T(1.0 / s.density[species]);
    p.molecule_volume = T(molar_mass_h2so4 / s.avogadro / s.density[so4] * um3);
    p.molecule_mass = T(molar_mass_h2so4 / s.avogadro * pg);
    const bool by_kappa = s.water == Settings::kappa_koehler;
    const double in_particle = by_kappa ? molar_mass_so4_kappa : molar_mass_h2so4;
    p.dry_volume = T(in_particle / s.avogadro / s.density[so4] * um3);
    p.dry_mass = T(in_particle / s.avogadro * pg);
    // Above 0, as no volume is no particle, and float holds no less.
    p.hygroscopic_volume_min = T(std::max(s.hygroscopic_volume_min * um3, 1.0e-30));
    for (int species = 0; species < n_species; ++species) {
      p.kappa[species] = T(s.kappa[species]);
      p.takes_up[species] = T(s.kappa[species] > 0.0 ? 1.0 / s.density[species] : 0.0);
    }
    p.virtual_molecules = T(older ? 100.0
                                  : std::pow(lower_radius[ns], 3) * (4.0 * pi / 3.0) *
                                        s.density[so4] * s.avogadro / molar_mass_h2so4);
    p.least_acid = T(s.sulfate_free_radius || by_kappa ? -1.0 : 0.0);
    p.least_core = T(by_kappa ? -1.0 : 1.0e-9);
    for (int k = 0; k < n_insoluble; ++k) {
      // Dust per particle below which the 2004 generation gives AI and CI no radius [g]; volume
      // below which the old code took an insoluble particle for none [cm3].
      double least = older && k > 0 ? 1.0e-32 / s.density[du] : s.insoluble_volume_min;
      if (!s.small_insoluble_volume)
        least = 2.2e-16;
      p.insoluble_volume_min[k] = T(least * um3);
    }
    for (int k = 0; k < n_mode; ++k)
      p.radius_factor[k] = T(std::cbrt(0.75 / pi) * mean_to_median[k] * 1.0e-4);
    namespace fit = M7EMU_SET;
    p.salt_volume[fit::nacl] = T(fit::molar_mass_nacl / s.density[ss]);
    p.salt_volume[fit::na2so4] = T(fit::molar_mass_na2so4 / fit::density_na2so4);
    p.salt_volume[fit::h2so4] = T(molar_mass_h2so4 / s.density[so4]);
    p.pmol_per_molecule = T(1.0e12 / s.avogadro);
    p.floor_percent = T(s.clip_weight_percent ? 5.0 : 1.0e-3);

    // Section 9
    p.pi = T(pi);
    p.speed2_per_kelvin = T(8.0 * 8.314e7 / (pi * molar_mass_h2so4));

    // Section 11
    p.path_per_kelvin = T(older ? 6.6e-6 / 293.15 * 1.0e5 : 2.251e-3);
    p.stokes = T(boltzmann / (6.0 * pi * 1.827e-4));
    p.energy = T(8.0 * boltzmann / pi);
    p.shrink = T(older ? 0.5 / s.sqrt2 : 0.5);
    p.grain = T(older ? 0.0 : epsilon);
    p.sqrt2 = T(s.sqrt2);
    p.kernel_number_min = T(s.kernel_number_min);
    p.kernel_radius_min = T(s.kernel_radius_min);

    // Sections 12 to 14: molecules of a monolayer, each of 2.39e-15 cm2
    p.equation_number_min = T(s.equation_number_min);
    p.few_insoluble = T(older ? 0.0 : epsilon);
    p.ageing_number_min = T(s.ageing_number_min);
    for (int k = 0; k < n_insoluble; ++k)
      p.coat_factor[k] =
          T(4.0 * pi * std::exp(2.0 * ln_sigma[ki + k] * ln_sigma[ki + k]) / 2.39e-15);

    // Section 15
    p.merging_number_min = T(s.merging_number_min);
    p.merging_radius_min = T(s.merging_radius_min);
    p.least_merged = T(older ? epsilon : 0.0);
    for (int k = 0; k <= as; ++k) {
      const double upper = lower_radius[k + 1];
      const double middle = std::sqrt(lower_radius[k] * upper) / mean_to_median[k];
      const double edge = older ? upper / mean_to_median[k] : upper;
      p.middle[k] = T(4.0 * pi / 3.0 * std::pow(middle, 3) * um3);
      p.edge[k] = T(4.0 * pi / 3.0 * std::pow(edge, 3) * um3);
      p.per_edge[k] = T(1) / p.edge[k];
      p.upper_radius[k] = T(upper);
      p.per_ln_sigma[k] = T(1.0 / ln_sigma[k]);
      p.per_upper_volume[k] = T(std::pow(p.radius_factor[k] / upper, 3));
      p.least_size[k] = T(std::pow(s.merging_radius_min / upper, 3));
    }
    return p;
  }
};

} // namespace

float *Model::floats(std::size_t count) {
  const std::size_t whole = (count + 15) / 16 * 16;
  std::unique_ptr<float[], Free> block(
      static_cast<float *>(::operator new[](whole * sizeof(float), std::align_val_t(64))));
  std::fill_n(block.get(), whole, 0.0f);
  storage.push_back(std::move(block));
  return storage.back().get();
}

// In tiles, in the order that network.h reads them in.
Linear Model::linear(const float *weight, const float *bias, int outputs, int inputs) {
  const int tiled = (outputs + outputs_stored - 1) / outputs_stored * outputs_stored;
  float *weights = floats(static_cast<std::size_t>(tiled) * static_cast<std::size_t>(inputs));
  for (int o = 0; o < outputs; ++o)
    for (int i = 0; i < inputs; ++i)
      weights[(o / outputs_per_tile * inputs + i) * outputs_per_tile + o % outputs_per_tile] =
          weight[o * inputs + i];
  float *biases = nullptr;
  if (bias) {
    biases = floats(static_cast<std::size_t>(tiled));
    std::copy(bias, bias + outputs, biases);
  }
  return {weights, biases, inputs, outputs};
}

void read_model(const char *path, Model &model) {
  const PlainNumbers plain;
  Reader(path, model).read();
}

} // namespace m7emu
