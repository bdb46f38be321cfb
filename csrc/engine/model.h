// The weights of a student, ready for the instruction set.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/buffer.h"
#include "engine/config.h"
#include "engine/head.h"
#include "engine/matrix.h"
#include "engine/site.h"
#include "engine/state.h"
#include "engine/tensors.h"
#include "kernels/kernels.h"

namespace goose::engine {

struct LowRank {
  Matrix down, up;
  const float* bias;  // null where there is none
};

struct Norm {
  const float *weight, *bias;  // bias is null under an RMS norm
};

struct Mixer {
  Matrix receptance, key, value;
  Site k, v;
  std::optional<LowRank> value_mix;
  LowRank decay, rate;
  std::optional<LowRank> gate;
  Matrix output;
  const float *shift, *value_shift, *removal, *replacement, *bonus;  // null where switched off
  Norm norm;
  const float *query_norm, *key_norm;  // of a head or of all; null where switched off
};

struct MlpLayer {
  std::vector<Matrix> matrices;  // gate, up, down or up, down or key, value
  const float* shift;
};

struct Block {
  std::optional<Norm> mixer_norm, mixer_after, mlp_norm, mlp_after;
  Mixer mixer;
  MlpLayer mlp;
};

// A table of vectors that are looked up: fp16, int8 with a scale for each, or four bits in groups.
struct Lookup {
  const void* rows = nullptr;
  const float* scale = nullptr;  // null with fp16
  std::optional<GroupedRows> grouped;

  Lookup() = default;
  Lookup(const Source& source, const std::string& name, std::int64_t count, std::int64_t width);
  void row(std::int64_t number, std::int64_t width, float* x) const;
};

class Model {
 public:
  // Copies matrices; vectors and the embedding stay in the arrays behind `source`, which must
  // outlive the model. Throws std::invalid_argument.
  Model(const Settings& settings, const Source& source, Memory memory);

  State new_state() const;
  // The embedding of a token at a place of its text, `room` being as long as it.
  void embed(std::int32_t token, std::int64_t position, float* x, float* room) const;

  // Calls visit(matrix) for every matrix, in the order of their use.
  template <class Visit>
  void each_matrix(const Visit& visit) const {
    for (const Block& block : blocks) {
      const Mixer& m = block.mixer;
      for (const Matrix* matrix : {&m.receptance, &m.key, &m.value}) visit(*matrix);
      for (const LowRank* adapter : {m.value_mix ? &*m.value_mix : nullptr, &m.decay, &m.rate,
                                     m.gate ? &*m.gate : nullptr}) {
        if (adapter == nullptr) continue;
        visit(adapter->down);
        visit(adapter->up);
      }
      visit(m.output);
      for (const Matrix& matrix : block.mlp.matrices) visit(matrix);
    }
    visit(head->matrix());
  }

  // Calls visit(site) for every place that spikes without a matrix.
  template <class Visit>
  void each_site(const Visit& visit) const {
    for (const Block& block : blocks) {
      for (const Site* site : {&block.mixer.k, &block.mixer.v}) {
        if (site->encoding().spikes()) visit(*site);
      }
    }
  }

  Config config;
  Memory memory;
  const kernels::Table& table;
  std::optional<Norm> embedding_norm;
  Norm final_norm{};
  std::vector<Block> blocks;
  std::optional<Head> head;

 private:
  Arena weights_;
  Lookup embedding_, positions_;
};

}  // namespace goose::engine
