#include "engine/engine.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace goose::engine {

// A sequence on its way, and where its logits go.
struct Engine::Work {
  Sequence sequence;
  float* logits;
  std::int64_t done = 0;

  std::int64_t left() const { return sequence.count - done; }
};

Engine::Engine(const Settings& settings, const Source& source, Memory memory)
    : model_(settings, source, memory), state_size_(model_.new_state().size()) {
  prepare(1);
  number_places();
}

void Engine::number_places() {
  model_.each_matrix([&](const Matrix& m) {
    if (m.encoding().spikes()) m.counts().set_column(places_++);
  });
  model_.each_site([&](const Site& s) { s.counts().set_column(places_++); });
}

void Engine::prepare(int threads) {
  if (pool_ == nullptr || threads != pool_->threads()) pool_ = std::make_unique<Pool>(threads);
  while (static_cast<int>(passes_.size()) < pool_->threads()) {
    passes_.push_back(std::make_unique<Pass>(model_));
  }
}

void Engine::check(const std::vector<Sequence>& sequences) const {
  const std::int64_t words = model_.config.vocab;
  for (const Sequence& s : sequences) {
    if (s.count < 1) throw std::invalid_argument("a sequence has no tokens: give at least one");
    const std::int64_t length = s.state->position + s.count, most = model_.config.positions;
    if (most > 0 && length > most) {
      throw std::invalid_argument("a context of " + std::to_string(length) +
                                  " tokens: this student has learned positions for n_positions = " +
                                  std::to_string(most) + ", and can read no more than that at once");
    }
    for (std::int64_t i = 0; i < s.count; ++i) {
      if (s.tokens[i] >= 0 && s.tokens[i] < words) continue;
      throw std::invalid_argument("token " + std::to_string(s.tokens[i]) +
                                  ": the vocabulary holds 0 to " + std::to_string(words - 1));
    }
  }
  std::vector<const State*> states;
  states.reserve(sequences.size());
  for (const Sequence& s : sequences) states.push_back(s.state);
  std::sort(states.begin(), states.end());
  if (std::adjacent_find(states.begin(), states.end()) != states.end()) {
    throw std::invalid_argument("a state is given twice: fork it first");
  }
}

void Engine::forward(const std::vector<Sequence>& sequences, float* logits, bool every,
                     Rough rough, int threads) {
  check(sequences);
  const std::lock_guard<std::mutex> lock(busy_);
  prepare(threads);
  std::vector<Work> works;
  for (const Sequence& s : sequences) {
    works.push_back({s, logits});
    logits += (every ? s.count : 1) * model_.config.vocab;
  }
  const auto shares = static_cast<std::size_t>(pool_->threads());
  if (shares == 1 || works.size() < shares) {
    carry_out(works, *passes_[0], *pool_, every, rough);
    return;
  }
  pool_->each(static_cast<std::int64_t>(shares), [&](int, std::int64_t item) {
    const auto share = static_cast<std::size_t>(item);
    std::vector<Work> mine(works.begin() + static_cast<std::ptrdiff_t>(works.size() * share / shares),
                           works.begin() +
                               static_cast<std::ptrdiff_t>(works.size() * (share + 1) / shares));
    carry_out(mine, *passes_[share], alone_, every, rough);
  });
}

// Takes up to Pass::kMostRows rows at a time, first sequences first.
void Engine::carry_out(std::vector<Work>& works, Pass& pass, Pool& pool, bool every,
                       Rough rough) const {
  const std::int64_t D = model_.config.width, V = model_.config.vocab;
  Buffer<float> last(static_cast<std::size_t>(Pass::kMostRows * D));
  for (std::size_t first = 0; first < works.size();) {
    std::vector<Piece> pieces, ends;
    std::int64_t rows = 0;
    for (std::size_t i = first; i < works.size() && rows < Pass::kMostRows; ++i) {
      const std::int64_t count = std::min(works[i].left(), Pass::kMostRows - rows);
      const Sequence& s = works[i].sequence;
      pieces.push_back({s.state, s.tokens + works[i].done, rows, count, s.spikes});
      rows += count;
    }
    const float* x = pass.run(pieces, pool);
    float* ended_logits = works[first].logits;
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      Work& work = works[first + p];
      const Piece& piece = pieces[p];
      if (every) {
        const Piece all{piece.state, piece.tokens, 0, piece.count, piece.spikes};
        pass.head(x + piece.row * D, {all}, rough, work.logits + work.done * V, pool);
      } else if (piece.count == work.left()) {
        const auto row = static_cast<std::int64_t>(ends.size());
        std::memcpy(last.data() + row * D, x + (piece.row + piece.count - 1) * D,
                    sizeof(float) * static_cast<std::size_t>(D));
        ends.push_back({piece.state, piece.tokens, row, 1, piece.spikes});
      }
      work.done += piece.count;
      piece.state->position += piece.count;
    }
    if (!ends.empty()) pass.head(last.data(), ends, rough, ended_logits, pool);
    while (first < works.size() && works[first].left() == 0) ++first;
  }
}

std::vector<Engine::Usage> Engine::usage() const {
  std::vector<Usage> result;
  model_.each_matrix([&](const Matrix& m) {
    result.push_back({m.name(), m.height(), m.width(), m.encoding().encoder.steps,
                      m.counts().vectors(), m.counts().active()});
  });
  model_.each_site([&](const Site& s) {
    result.push_back({s.name(), 0, s.width(), s.encoding().encoder.steps, s.counts().vectors(),
                      s.counts().active()});
  });
  return result;
}

void Engine::reset_usage() {
  model_.each_matrix([](const Matrix& m) { m.counts().forget(); });
  model_.each_site([](const Site& s) { s.counts().forget(); });
}

}  // namespace goose::engine
