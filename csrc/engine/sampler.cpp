#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/buffer.h"
#include "engine/largest.h"
#include "kernels/kernels.h"

namespace goose::engine {
namespace {

// How far below the most likely word, in nats, candidates are looked for; the last takes all that
// fp32 can tell from nothing.
constexpr float kMargins[kernels::kMargins] = {1, 2, 4, 5, 6, 8, 12, 87};
constexpr int kLast = kernels::kMargins - 1;

struct Candidate {
  float below;  // log-likelihood under that of the first
  std::uint32_t token;
  double mass;
};

bool likelier(const Candidate& a, const Candidate& b) {
  return a.below != b.below ? a.below > b.below : a.token < b.token;
}

using Candidates = std::vector<Candidate>;

double mass_of(Candidates::const_iterator from, Candidates::const_iterator to) {
  double sum = 0;
  for (; from != to; ++from) sum += from->mass;
  return sum;
}

// Puts the likeliest candidates first until the mass before one reaches `target` with it; returns
// its place and the mass before it. Sorting them all would take longer than everything else.
struct Place {
  std::int64_t index;
  double before;
};
Place find(Candidates& c, std::int64_t count, double target) {
  std::int64_t low = 0, high = count;
  double before = 0;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    std::nth_element(c.begin() + low, c.begin() + middle, c.begin() + high, likelier);
    const double mass = mass_of(c.begin() + low, c.begin() + middle);
    if (before + mass > target) {
      high = middle;
    } else {
      before += mass;
      low = middle;
    }
  }
  return {low, before};
}

// Log-likelihoods below the first's, after temperature; what is not a number is impossible.
const float* scaled(const float* logits, std::int64_t vocab, float most, float temperature) {
  static thread_local Buffer<float> buffer;
  float* below = buffer.at_least(static_cast<std::size_t>(vocab));
  const float inverse = 1 / temperature;
  for (std::int64_t i = 0; i < vocab; ++i) {
    const float difference = (logits[i] - most) * inverse;
    below[i] = difference > -1e4F ? difference : -1e4F;
  }
  return below;
}

// Number of the narrowest margin that holds every word that can be drawn.
int margin_for(const Sampling& s, const float* masses, double uniform) {
  const double share = s.top_p < 1 ? double{s.top_p} : uniform;
  int margin = 0;
  if (s.top_p >= 1 && s.min_p > 0) {
    while (margin < kLast && kMargins[margin] <= -std::log(s.min_p)) ++margin;
    return margin;
  }
  while (margin < kLast && masses[margin] <= share * masses[kLast] * (1 + 1e-5)) ++margin;
  return margin;
}

Candidates candidates(const float* below, std::int64_t vocab, const Sampling& s, int margin) {
  static thread_local Buffer<std::uint32_t> buffer;
  std::uint32_t* entries = buffer.at_least(static_cast<std::size_t>(vocab + 16));
  const auto select = kernels::selected_table().select;
  std::int64_t count = select(below, vocab, -kMargins[margin], entries);
  while (s.top_k > count && margin < kLast) {
    count = select(below, vocab, -kMargins[++margin], entries);
  }
  Candidates result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::uint32_t token = entries[i] / kernels::kEntry;
    result[i] = {below[token], token, std::exp(double{below[token]})};
  }
  return result;
}

// Words that can be drawn, the first `count` of `of`; `mass` is that of all of them.
struct Kept {
  Candidates of;
  std::int64_t count = 0;
  double mass = 0;
};

// `uniform` may leave out what it does not reach where nothing is cut off.
Kept keep(const float* logits, std::int64_t vocab, float most, const Sampling& s, double uniform) {
  const float* below = scaled(logits, vocab, most, s.temperature);
  float masses[kernels::kMargins];
  kernels::selected_table().masses(below, vocab, 0, 1, kMargins, masses);
  const int margin = s.top_k > 0 ? 0 : margin_for(s, masses, uniform);
  Candidates kept = candidates(below, vocab, s, margin);
  auto count = static_cast<std::int64_t>(kept.size());
  double whole = masses[kLast];
  if (s.top_k > 0 && s.top_k < count) {
    std::nth_element(kept.begin(), kept.begin() + s.top_k, kept.end(), likelier);
    count = s.top_k;
  }
  if (s.top_k > 0) whole = mass_of(kept.begin(), kept.begin() + count);
  const bool all = s.top_p >= 1 && s.min_p <= 0;
  if (s.top_p < 1) {
    const Place cut = find(kept, count, s.top_p * whole);
    count = cut.index + (cut.before < s.top_p * whole ? 1 : 0);
  }
  if (s.min_p > 0) {
    const auto likely = [&](const Candidate& c) { return c.mass >= double{s.min_p}; };
    count = std::partition(kept.begin(), kept.begin() + count, likely) - kept.begin();
  }
  const double sum = all ? whole : mass_of(kept.begin(), kept.begin() + count);
  return {std::move(kept), count, sum};
}

std::int64_t first_of(const float* logits, std::int64_t vocab, float most) {
  const float* first = std::find(logits, logits + vocab, most);
  return first == logits + vocab ? 0 : first - logits;
}

}  // namespace

std::int64_t sample(const float* logits, std::int64_t vocab, const Sampling& s, double uniform) {
  const float most = largest(logits, vocab);
  if (s.temperature <= 0 || !std::isfinite(most)) return first_of(logits, vocab, most);
  Kept kept = keep(logits, vocab, most, s, uniform);
  const Place place = find(kept.of, kept.count, uniform * kept.mass);
  return kept.of[static_cast<std::size_t>(place.index)].token;
}

double log_total(const float* logits, std::int64_t vocab) {
  constexpr std::int64_t kPart = 1024;  // what fp32 adds up well
  const float most = largest(logits, vocab);
  double total = 0;
  for (std::int64_t i = 0; i < vocab; i += kPart) {
    float masses[kernels::kMargins];
    const std::int64_t count = std::min(kPart, vocab - i);
    kernels::selected_table().masses(logits + i, count, most, 1, kMargins, masses);
    total += masses[kLast];
  }
  return most + std::log(total);
}

std::int64_t distribution(const float* logits, std::int64_t vocab, const Sampling& s,
                          std::int64_t* tokens, double* probabilities) {
  const float most = largest(logits, vocab);
  if (s.temperature <= 0 || !std::isfinite(most)) {
    tokens[0] = first_of(logits, vocab, most);
    probabilities[0] = 1;
    return 1;
  }
  const Kept kept = keep(logits, vocab, most, s, 1);
  const double mass = mass_of(kept.of.begin(), kept.of.begin() + kept.count);
  for (std::int64_t i = 0; i < kept.count; ++i) {
    const Candidate& candidate = kept.of[static_cast<std::size_t>(i)];
    tokens[i] = candidate.token;
    probabilities[i] = candidate.mass / mass;
  }
  return kept.count;
}

}  // namespace goose::engine
