// A whole student. What comes in: arrays of a packed file, settings, tokens; what goes out: logits and
// states; what never happens here: reading files, Python objects, and a result that depends on the
// number of threads or on which sequences share a call.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/pass.h"
#include "engine/pool.h"

namespace goose::engine {

class Engine {
 public:
  // As Model.
  Engine(const Settings& settings, const Source& source, Memory memory);

  State new_state() const { return model_.new_state(); }
  std::size_t state_size() const { return state_size_; }
  std::int64_t spiking_places() const { return places_; }  // in the order of usage()

  struct Sequence {
    State* state;
    const std::int32_t* tokens;
    std::int64_t count;
    std::uint32_t* spikes = nullptr;  // if given, each spiking place's spikes are added there
  };
  // Advances every state over its tokens. Logits (rows, V) of each sequence's last token, or of
  // every token, rough where head.h allows. Enough sequences are dealt out to the threads, which then do not
  // wait for each other; fewer are worked on by all together. Results do not depend on it.
  // Throws std::invalid_argument for a token outside the vocabulary, a state given twice, or more
  // tokens than there are learned positions.
  void forward(const std::vector<Sequence>& sequences, float* logits, bool every, Rough rough,
               int threads);

  // Of a matrix, or of a site without one, whose height is 0.
  struct Usage {
    std::string name;
    std::int64_t height, width, steps, vectors, active;
  };
  std::vector<Usage> usage() const;
  void reset_usage();

 private:
  struct Work;

  void check(const std::vector<Sequence>& sequences) const;
  void prepare(int threads);
  void number_places();
  void carry_out(std::vector<Work>& works, Pass& pass, Pool& pool, bool every, Rough rough) const;

  Model model_;
  std::size_t state_size_;
  std::int64_t places_ = 0;
  std::mutex busy_;
  std::unique_ptr<Pool> pool_;
  Pool alone_{1};
  std::vector<std::unique_ptr<Pass>> passes_;  // one for each thread
};

}  // namespace goose::engine
