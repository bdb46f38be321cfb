#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/buffer.h"
#include "kernels/kernels.h"

namespace goose::engine {
namespace {

constexpr int kBuckets = 512;
constexpr float kPerBucket = 8;  // buckets per unit of log-likelihood

std::int64_t most_likely(const float* logits, std::int64_t vocab) {
  std::int64_t best = 0;
  float most = -INFINITY;
  for (std::int64_t i = 0; i < vocab; ++i) {
    if (logits[i] > most) {
      most = logits[i];
      best = i;
    }
  }
  return best;
}

int bucket_of(float below) {
  const float place = -below * kPerBucket;
  return place < kBuckets - 1 ? static_cast<int>(place) : kBuckets - 1;
}

struct Histogram {
  std::array<double, kBuckets> mass{};
  std::array<std::int64_t, kBuckets> count{};
  double total = 0;
};

// Number of buckets, from the most likely on, that hold every token that can be drawn.
int needed(const Histogram& h, const Sampling& s, double uniform) {
  if (s.top_k == 0 && s.top_p >= 1 && s.min_p > 0) return bucket_of(std::log(s.min_p)) + 1;
  double mass = 0;
  std::int64_t count = 0;
  for (int b = 0; b < kBuckets; ++b) {
    mass += h.mass[static_cast<std::size_t>(b)];
    count += h.count[static_cast<std::size_t>(b)];
    if (s.top_k > 0) {
      if (count >= s.top_k) return b + 1;
    } else if (mass >= (s.top_p < 1 ? double{s.top_p} : uniform) * h.total * (1 + 1e-9)) {
      return std::min(b + 2, kBuckets);
    }
  }
  return kBuckets;
}

struct Candidate {
  float below;  // log-likelihood under that of the first
  double mass;
  std::int64_t token;
};

}  // namespace

std::int64_t sample(const float* logits, std::int64_t vocab, const Sampling& s, double uniform) {
  const std::int64_t first = most_likely(logits, vocab);
  if (s.temperature <= 0 || !std::isfinite(logits[first])) return first;
  static thread_local Buffer<float> below, mass;
  float* d = below.at_least(static_cast<std::size_t>(vocab));
  float* p = mass.at_least(static_cast<std::size_t>(vocab));
  for (std::int64_t i = 0; i < vocab; ++i) {
    const float difference = (logits[i] - logits[first]) / s.temperature;
    d[i] = p[i] = difference > -1e4F ? difference : -1e4F;  // also where it is not a number
  }
  kernels::selected_table().exponential(p, vocab);
  Histogram histogram;
  for (std::int64_t i = 0; i < vocab; ++i) {
    const auto b = static_cast<std::size_t>(bucket_of(d[i]));
    histogram.mass[b] += p[i];
    histogram.total += p[i];
    ++histogram.count[b];
  }
  const int buckets = needed(histogram, s, uniform);
  std::vector<Candidate> kept;
  for (std::int64_t i = 0; i < vocab; ++i) {
    if (bucket_of(d[i]) < buckets) kept.push_back({d[i], p[i], i});
  }
  std::sort(kept.begin(), kept.end(), [](const Candidate& a, const Candidate& b) {
    return a.below != b.below ? a.below > b.below : a.token < b.token;
  });
  double whole = histogram.total;
  if (s.top_k > 0 && s.top_k < vocab) {
    kept.resize(std::min(kept.size(), static_cast<std::size_t>(s.top_k)));
    whole = 0;
    for (const Candidate& c : kept) whole += c.mass;
  }
  const bool all = s.top_p >= 1 && s.min_p <= 0 && (s.top_k == 0 || s.top_k >= vocab);
  double sum = 0;
  std::size_t count = 0;
  for (const Candidate& c : kept) {
    if (s.top_p < 1 && sum >= s.top_p * whole) break;
    if (c.mass < s.min_p * kept.front().mass) break;
    sum += c.mass;
    ++count;
  }
  const double target = uniform * (all ? whole : sum);
  double before = 0;
  for (std::size_t i = 0; i < count; ++i) {
    before += kept[i].mass;
    if (before > target) return kept[i].token;
  }
  return kept[count - 1].token;
}

}  // namespace goose::engine
