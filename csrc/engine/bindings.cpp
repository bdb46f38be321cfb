// Python sees addresses of numpy arrays; asnn_goose.infer checks and keeps them (docs/engine.md).
#include "engine/bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <stdexcept>
#include <tuple>

#include "engine/engine.h"
#include "engine/largest.h"
#include "engine/sampler.h"
#include "kernels/spikes/spikes.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace goose::engine {
namespace {

using TensorMap = std::map<std::string, std::tuple<std::uintptr_t, std::string, Shape>>;
using SpikingMap = std::map<std::string, std::tuple<int, std::string, bool>>;
using Tokens = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Source source_of(const TensorMap& tensors, const SpikingMap& matrices) {
  Source source;
  for (const auto& [name, entry] : tensors) {
    const auto& [address, dtype, shape] = entry;
    source.tensors[name] = {reinterpret_cast<const void*>(address), dtype, shape};
  }
  for (const auto& [name, entry] : matrices) {
    const auto& [steps, code, rotate] = entry;
    source.matrices[name] = {steps, code, rotate};
  }
  return source;
}

void forward(Engine& engine, const std::vector<State*>& states, const std::vector<Tokens>& tokens,
             std::uintptr_t logits, bool every, int threads, float missed,
             float temperature, std::uintptr_t spikes) {
  if (states.size() != tokens.size()) {
    throw std::invalid_argument(std::to_string(states.size()) + " states for " +
                                std::to_string(tokens.size()) + " token arrays: give one each");
  }
  if (threads < 1 || threads > 256) {
    throw std::invalid_argument("threads = " + std::to_string(threads) + ": must be 1 to 256");
  }
  std::vector<Engine::Sequence> sequences;
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i] == nullptr || states[i]->size() != engine.state_size()) {
      throw std::invalid_argument("a state belongs to another model");
    }
    auto* counted = reinterpret_cast<std::uint32_t*>(spikes);
    if (counted != nullptr) counted += static_cast<std::int64_t>(i) * engine.spiking_places();
    sequences.push_back(
        {states[i], tokens[i].data(), static_cast<std::int64_t>(tokens[i].size()), counted});
  }
  const nb::gil_scoped_release released;
  engine.forward(sequences, reinterpret_cast<float*>(logits), every, {missed, temperature},
                 threads);
}

nb::list usage(Engine& engine) {
  nb::list result;
  for (const Engine::Usage& use : engine.usage()) {
    result.append(nb::make_tuple(use.name, use.height, use.width, use.steps, use.vectors,
                                 use.active));
  }
  return result;
}

// Name -> (spikes that came, spikes that could have come) of every spiking matrix.
nb::dict counts(Engine& engine) {
  nb::dict result;
  for (const Engine::Usage& use : engine.usage()) {
    if (use.steps == 0) continue;
    result[use.name.c_str()] = nb::make_tuple(use.active, use.vectors * use.width * use.steps);
  }
  return result;
}

nb::dict limits_of_the_engine() {
  const Limits limits = goose::engine::limits();
  nb::dict result, steps;
  for (const CodeLimit& code : kCodes) steps[code.word] = code.steps;
  result["sizes"] = limits.sizes;
  result["numbers"] = limits.numbers;
  result["none"] = limits.none;
  result["by_layer"] = limits.by_layer;
  result["words"] = limits.words;
  result["switches"] = limits.switches;
  result["absent"] = limits.absent;
  result["inner"] = limits.inner;
  result["columns"] = kColumns;
  result["steps"] = steps;
  result["least_key"] = std::vector<float>{kLeastKey, kLeastSpikingKey};
  return result;
}

nb::bytes state_bytes(const State& state) {
  const std::string bytes = state.bytes();
  return nb::bytes(bytes.data(), bytes.size());
}

void load_state(State& state, const nb::bytes& data) { state.load(data.c_str(), data.size()); }

// One ternary matrix by itself, for benchmarks and tests.
class TernaryMatrix {
 public:
  TernaryMatrix(std::uintptr_t planes, std::int64_t P, std::int64_t M, std::int64_t K,
                std::int64_t groups, std::uintptr_t scale, bool sides)
      : M_(M), K_(K), table_(kernels::selected_table()), pool_(1), inputs_(table_),
        ternary_(reinterpret_cast<const std::uint64_t*>(planes),
                 reinterpret_cast<const float*>(scale), P, M, K, groups, sides, table_,
                 arena_) {
    if (M < 1 || K < 1 || K % 64 != 0 || groups < 1 || K % groups != 0 ||
        K / groups % 64 != 0) {
      throw std::invalid_argument("columns and groups of columns must be multiples of 64");
    }
  }

  // y (rows, M) = W spikes(x), x (rows, K): encoder and product, `repeats` times.
  void multiply(std::uintptr_t x, std::uintptr_t y, std::int64_t rows, int steps,
                const std::string& code, float threshold, bool rotate, std::int64_t repeats) {
    const Encoding encoding = encoding_of(steps, code, threshold, rotate, 0, 0);
    for (std::int64_t i = 0; i < repeats; ++i) {
      inputs_.set(reinterpret_cast<const float*>(x), rows, K_);
      product(inputs_.spikes(encoding, pool_), encoding, reinterpret_cast<float*>(y), rows);
    }
  }

  // Integers and amplitude of x (rows, K); `fixed` is an amplitude for all rows, 0: each its own.
  void encode(std::uintptr_t x, std::uintptr_t codes, std::uintptr_t amplitude, std::int64_t rows,
              int steps, const std::string& code, float threshold, bool rotate, float fixed,
              float fires) {
    const Encoding encoding = encoding_of(steps, code, threshold, rotate, fixed, fires);
    inputs_.set(reinterpret_cast<const float*>(x), rows, K_);
    const kernels::Spikes* spikes = inputs_.spikes(encoding, pool_);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::memcpy(reinterpret_cast<std::int16_t*>(codes) + row * K_, spikes[row].codes,
                  sizeof(std::int16_t) * static_cast<std::size_t>(K_));
      reinterpret_cast<float*>(amplitude)[row] = spikes[row].amplitude;
    }
  }

  // Lists of given integers (rows, K), kept for `product`.
  void prepare(std::uintptr_t codes, std::int64_t rows, int steps, const std::string& code) {
    prepared_ = encoding_of(steps, code, 1, false, 0, 0);
    const kernels::Encoder& e = prepared_.encoder;
    const auto ranges =
        static_cast<std::size_t>(e.steps) * static_cast<std::size_t>(e.width / e.group);
    const auto capacity = static_cast<std::size_t>(kernels::list_capacity(e));
    const auto n = static_cast<std::size_t>(rows);
    spikes_.resize(n);
    spans_.at_least(n * ranges);
    lists_.at_least(n * capacity);
    codes_.at_least(n * static_cast<std::size_t>(K_));
    std::memcpy(codes_.data(), reinterpret_cast<const void*>(codes),
                n * static_cast<std::size_t>(K_) * sizeof(std::int16_t));
    for (std::size_t row = 0; row < n; ++row) {
      spikes_[row] = {1, 0, spans_.data() + row * ranges, lists_.data() + row * capacity,
                      codes_.data() + row * static_cast<std::size_t>(K_)};
      table_.list(e, spikes_[row]);
    }
  }

  // y (rows, M) of the prepared integers, `repeats` times: the product alone.
  void product(std::uintptr_t y, std::int64_t repeats) {
    const nb::gil_scoped_release released;
    for (std::int64_t i = 0; i < repeats; ++i) {
      product(spikes_.data(), prepared_, reinterpret_cast<float*>(y),
              static_cast<std::int64_t>(spikes_.size()));
    }
  }

 private:
  Encoding encoding_of(int steps, const std::string& code, float threshold, bool rotate,
                       float fixed, float fires) const {
    if (steps < 1 || steps > kernels::kMaxSteps) {
      throw std::invalid_argument("steps = " + std::to_string(steps) + ": must be 1 to 8");
    }
    Encoding result;
    result.rotate = rotate;
    const auto width = static_cast<std::int32_t>(K_);
    result.encoder = {width, width, static_cast<std::int32_t>(K_ / ternary_.groups()), steps,
                      code == "rate"     ? kernels::Code::rate
                      : code == "radix2" ? kernels::Code::radix2
                                         : kernels::Code::radix3,
                      threshold, fixed, fires};
    return result;
  }

  void product(const kernels::Spikes* spikes, const Encoding& encoding, float* y,
               std::int64_t rows) const {
    for (std::int64_t part = 0; part < ternary_.parts(); ++part) {
      for (std::int64_t row = 0; row < rows; ++row) {
        ternary_.multiply(part, encoding.encoder, spikes[row], y + row * M_, false);
      }
    }
  }

  std::int64_t M_, K_;
  const kernels::Table& table_;
  Pool pool_;
  Inputs inputs_;
  Arena arena_;
  Ternary ternary_;
  Encoding prepared_;
  std::vector<kernels::Spikes> spikes_;
  Buffer<kernels::Span> spans_;
  Buffer<std::uint32_t> lists_;
  Buffer<std::int16_t> codes_;
};

// One dense matrix by itself, likewise.
class DenseMatrix {
 public:
  DenseMatrix(const TensorMap& tensors, const std::string& name, std::int64_t M, std::int64_t K)
      : table_(kernels::selected_table()), pool_(1), inputs_(table_),
        matrix_(source_of(tensors, {}), name, M, K, table_, arena_) {}

  // y (rows, M) = W x, x (rows, K), `repeats` times.
  void multiply(std::uintptr_t x, std::uintptr_t y, std::int64_t rows, std::int64_t repeats) {
    const nb::gil_scoped_release released;
    for (std::int64_t i = 0; i < repeats; ++i) {
      inputs_.set(reinterpret_cast<const float*>(x), rows, matrix_.width());
      matrix_.multiply(inputs_, reinterpret_cast<float*>(y), pool_);
    }
  }

 private:
  const kernels::Table& table_;
  Pool pool_;
  Inputs inputs_;
  Arena arena_;
  Matrix matrix_;
};

std::int64_t draw(std::uintptr_t logits, std::int64_t vocab, float temperature, std::int64_t top_k,
                  float top_p, float min_p, double uniform) {
  const nb::gil_scoped_release released;
  const auto* all = reinterpret_cast<const float*>(logits);
  if (!all_numbers(all, vocab)) return -1;
  return sample(all, vocab, {temperature, top_k, top_p, min_p}, uniform);
}

double total(std::uintptr_t logits, std::int64_t vocab) {
  const nb::gil_scoped_release released;
  return log_total(reinterpret_cast<const float*>(logits), vocab);
}

std::int64_t kept(std::uintptr_t logits, std::int64_t vocab, float temperature, std::int64_t top_k,
                  float top_p, float min_p, std::uintptr_t tokens, std::uintptr_t probabilities) {
  const nb::gil_scoped_release released;
  return distribution(reinterpret_cast<const float*>(logits), vocab,
                      {temperature, top_k, top_p, min_p},
                      reinterpret_cast<std::int64_t*>(tokens),
                      reinterpret_cast<double*>(probabilities));
}

void assign(State& state, const State& other) {
  if (state.size() != other.size()) {
    throw std::invalid_argument("a state belongs to another model");
  }
  state.assign(other);
}

}  // namespace

void bind(nb::module_& m) {
  nb::class_<State>(m, "State")
      .def("copy", [](const State& state) { return State(state); })
      .def("assign", &assign, "other"_a)
      .def("to_bytes", &state_bytes)
      .def("load_bytes", &load_state, "data"_a)
      .def_prop_ro("nbytes", [](const State& s) { return s.size(); })
      .def_prop_ro("position", [](const State& s) { return s.position; });
  nb::class_<Engine>(m, "Engine")
      .def("__init__",
           [](Engine* self, const Settings& config, const TensorMap& tensors,
              const SpikingMap& matrices, bool bf16_states) {
             new (self) Engine(config, source_of(tensors, matrices),
                               bf16_states ? Memory::bf16 : Memory::f32);
           },
           "config"_a, "tensors"_a, "matrices"_a, "bf16_states"_a = false)
      .def("new_state", &Engine::new_state)
      .def("forward", &forward, "states"_a, "tokens"_a, "logits"_a, "every"_a, "threads"_a,
           "missed"_a = 0.0F, "temperature"_a = 1.0F, "spikes"_a = 0)
      .def("usage", &usage)
      .def("counts", &counts)
      .def("reset_counts", &Engine::reset_usage);
  nb::class_<TernaryMatrix>(m, "TernaryMatrix")
      .def(nb::init<std::uintptr_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                    std::uintptr_t, bool>(),
           "planes"_a, "P"_a, "M"_a, "K"_a, "groups"_a, "scale"_a, "sides"_a = false)
      .def("multiply", &TernaryMatrix::multiply, "x"_a, "y"_a, "rows"_a, "steps"_a, "code"_a,
           "threshold"_a, "rotate"_a, "repeats"_a = 1)
      .def("encode", &TernaryMatrix::encode, "x"_a, "codes"_a, "amplitude"_a, "rows"_a, "steps"_a,
           "code"_a, "threshold"_a, "rotate"_a, "fixed"_a = 0.0F, "fires"_a = 0.0F)
      .def("prepare", &TernaryMatrix::prepare, "codes"_a, "rows"_a, "steps"_a, "code"_a)
      .def("product", nb::overload_cast<std::uintptr_t, std::int64_t>(&TernaryMatrix::product),
           "y"_a, "repeats"_a = 1);
  nb::class_<DenseMatrix>(m, "DenseMatrix")
      .def(nb::init<const TensorMap&, const std::string&, std::int64_t, std::int64_t>(),
           "tensors"_a, "name"_a, "M"_a, "K"_a)
      .def("multiply", &DenseMatrix::multiply, "x"_a, "y"_a, "rows"_a, "repeats"_a = 1);
  m.def("limits", &limits_of_the_engine);
  m.def("sample", &draw, "logits"_a, "vocab"_a, nb::kw_only(), "temperature"_a, "top_k"_a,
        "top_p"_a, "min_p"_a, "uniform"_a);
  m.def("log_total", &total, "logits"_a, "vocab"_a);
  m.def("distribution", &kept, "logits"_a, "vocab"_a, nb::kw_only(), "temperature"_a, "top_k"_a,
        "top_p"_a, "min_p"_a, "tokens"_a, "probabilities"_a);
}

}  // namespace goose::engine
