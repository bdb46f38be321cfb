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
};

struct MlpLayer {
  std::vector<Matrix> matrices;  // gate, up, down or key, value
  const float* shift;
};

struct Block {
  Norm mixer_norm, mlp_norm;
  Mixer mixer;
  MlpLayer mlp;
};

class Model {
 public:
  // Copies matrices; vectors and the embedding stay in the arrays behind `source`, which must
  // outlive the model. Throws std::invalid_argument.
  Model(const Settings& settings, const Source& source);

  State new_state() const;
  void embed(std::int32_t token, float* x) const;

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
  const kernels::Table& table;
  std::optional<Norm> embedding_norm;
  Norm final_norm{};
  std::vector<Block> blocks;
  std::optional<Head> head;

 private:
  Arena weights_;
  const void* embedding_ = nullptr;
  const float* embedding_scale_ = nullptr;  // null with fp16
};

}  // namespace goose::engine
