// A whole student: tokens in, logits out.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/config.h"
#include "engine/head.h"
#include "engine/matrix.h"
#include "engine/pool.h"
#include "engine/state.h"
#include "engine/tensors.h"

namespace goose::engine {

struct LowRank {
  Matrix down, up;
  const float* bias;  // null where there is none
};

struct Norm {
  const float *weight, *bias;  // bias is null under an RMS norm
};

struct Mixer {
  Matrix receptance, key, value, output;
  LowRank decay, rate;
  std::optional<LowRank> value_mix, gate;
  const float *shift, *removal, *replacement, *bonus;  // null where switched off
  Norm norm;
};

struct Mlp2 {
  std::vector<Matrix> matrices;  // gate, up, down or key, value
  const float* shift;
};

struct Block {
  Norm mixer_norm, mlp_norm;
  Mixer mixer;
  Mlp2 mlp;
};

// Part of a batch: tokens of one sequence, which are rows [row, row + count) of every buffer.
struct Piece {
  State* state;
  const std::int32_t* tokens;
  std::int64_t row, count;
};

class Engine {
 public:
  // Copies matrices; vectors and the embedding stay in the arrays behind `source`, which must
  // outlive the engine. Throws std::invalid_argument.
  Engine(const Settings& settings, const Source& source);

  State new_state() const;
  std::size_t state_size() const { return state_size_; }
  const Config& config() const { return config_; }

  struct Sequence {
    State* state;
    const std::int32_t* tokens;
    std::int64_t count;
  };
  // Advances every state over its tokens. Logits (rows, V) of each sequence's last token, or of
  // every token. `missed` is the probability that unlikely words with rough logits may hold
  // (head.h); 0 makes all exact. Throws std::invalid_argument for a token outside the vocabulary.
  void forward(const std::vector<Sequence>& sequences, float* logits, bool every, float missed,
               int threads);

  struct Usage {
    std::string name;
    std::int64_t height, width, steps, vectors, active;
  };
  std::vector<Usage> usage();
  void reset_usage();

 private:
  template <class Visit>
  void visit_matrices(const Visit& visit);

  void check(const std::vector<Sequence>& sequences) const;
  void run(const std::vector<Piece>& pieces, std::int64_t rows);
  void embed(const std::vector<Piece>& pieces, float* x) const;
  void norm(const Norm& norm, const float* x, std::int64_t rows, float* y);
  void mix(Block& block, std::size_t layer, const std::vector<Piece>& pieces, std::int64_t rows);
  void recur(Mixer& mixer, std::size_t layer, const std::vector<Piece>& pieces);
  void mlp(Block& block, std::size_t layer, const std::vector<Piece>& pieces, std::int64_t rows);
  const float* shifted(const float* x, const float* mix, const std::vector<Piece>& pieces,
                       std::size_t layer, bool channel, float* to);
  void low_rank(LowRank& adapter, const float* x, std::int64_t rows,
                void (*activation)(float*, std::int64_t), float* y);
  void multiply(Matrix& matrix, const float* x, std::int64_t rows, float* y);
  void each(std::int64_t rows, float* x, std::int64_t width,
            void (*function)(float*, std::int64_t));
  void head(const float* x, std::int64_t rows, float missed, float* logits);

  Config config_;
  const kernels::Table& table_;
  Arena weights_;
  std::optional<Norm> embedding_norm_;
  Norm final_norm_{};
  std::vector<Block> blocks_;
  std::optional<Head> head_;
  const void* embedding_ = nullptr;
  const float* embedding_scale_ = nullptr;  // with int8
  bool embedding_f16_ = false;
  std::size_t state_size_ = 0;

  std::mutex busy_;
  std::unique_ptr<Pool> pool_;
  Inputs inputs_;
  const float* inputs_of_ = nullptr;
  Buffer<float> x_, normed_, shifted_, r_, w_, k_, v_, a_, g_, y_, first_, low_, middle_, up_;
};

}  // namespace goose::engine
