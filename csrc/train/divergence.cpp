// KL over the vocabulary, value and slope of one token while its logits are in the cache.
#include "simd_math.h"
#include "train/train.h"

namespace goose::train::GOOSE_ISA {
namespace {

constexpr std::int64_t kPart = 1024;  // numbers whose fp32 sums are then added in fp64

struct Softmax {
  float most;
  double total;  // of exp((z - most) / tau)
  float log_total;
};

// e[i] = exp((z[i] - most) / tau) where e is given.
Softmax softmax(const float* z, std::int64_t words, float inverse_tau, float* e) {
  float most = z[0];
  std::int64_t i = 0;
  Vec top = most + Vec{};
  for (; i + kLanes <= words; i += kLanes) {
    const Vec x = load(z + i);
    top = x > top ? x : top;
  }
  for (int lane = 0; lane < kLanes; ++lane) most = top[lane] > most ? top[lane] : most;
  for (; i < words; ++i) most = z[i] > most ? z[i] : most;
  double total = 0;
  for (std::int64_t from = 0; from < words; from += kPart) {
    const std::int64_t to = from + kPart < words ? from + kPart : words;
    Vec sum = {};
    for (i = from; i + kLanes <= to; i += kLanes) {
      const Vec x = power_of_e((load(z + i) - most) * inverse_tau);
      sum += x;
      store(e + i, x);
    }
    total += static_cast<double>(sum_of(sum));
    for (; i < to; ++i) {
      e[i] = power_of_e((z[i] - most) * inverse_tau + Vec{})[0];
      total += static_cast<double>(e[i]);
    }
  }
  return {most, total, static_cast<float>(__builtin_log(total))};
}

}  // namespace

void divergence(const Divergence& d, std::int64_t token) {
  const float* u = d.student + token * d.words;
  const float* v = d.teacher + token * d.words;
  float* slope = d.slope + token * d.words;
  const float inverse = 1.0F / d.tau;
  const Softmax p = softmax(v, d.words, inverse, slope);  // only for its total
  const Softmax s = softmax(u, d.words, inverse, slope);
  const auto one_over_s = static_cast<float>(d.tau / s.total);
  const auto one_over_p = static_cast<float>(1.0 / p.total);
  // log p - log q, but for the terms that are the same for all words.
  const float shift = (s.most - p.most) * inverse + (s.log_total - p.log_total);
  double value = 0;
  std::int64_t i = 0;
  for (std::int64_t from = 0; from < d.words; from += kPart) {
    const std::int64_t to = from + kPart < d.words ? from + kPart : d.words;
    Vec sum = {};
    for (i = from; i + kLanes <= to; i += kLanes) {
      const Vec x = load(v + i), share = power_of_e((x - p.most) * inverse) * one_over_p;
      sum += share * ((x - load(u + i)) * inverse + shift);
      store(slope + i, load(slope + i) * one_over_s - share * d.tau);
    }
    value += static_cast<double>(sum_of(sum));
    for (; i < to; ++i) {
      const float share = power_of_e((v[i] - p.most) * inverse + Vec{})[0] * one_over_p;
      value += static_cast<double>(share * ((v[i] - u[i]) * inverse + shift));
      slope[i] = slope[i] * one_over_s - share * d.tau;
    }
  }
  d.values[token] = static_cast<float>(value) * d.tau * d.tau;
}

// With the rest as one word (losses/top_words.py), P its mass and Q the student's:
//   known words  q (sum of p + P (1 - Q') / Q) - p,   others  q (sum of p - P Q' / Q)
// where Q' is the student's mass on the known words, and P / Q counts as 0 where Q is at its least.
void top_divergence(const Divergence& d, std::int64_t token) {
  const float* z = d.student + token * d.words;
  float* slope = d.slope + token * d.words;
  const std::int64_t* ids = d.ids + token * d.top;
  const float* log_p = d.log_p + token * d.top;
  const float inverse = 1.0F / d.tau, log_rest = d.log_rest[token];
  const Softmax s = softmax(z, d.words, inverse, slope);
  double value = 0, known = 0, sum_p = 0;
  for (std::int64_t k = 0; k < d.top; ++k) {
    const float log_q = (z[ids[k]] - s.most) * inverse - s.log_total;
    const auto p = __builtin_exp(static_cast<double>(log_p[k]));
    value += p * static_cast<double>(log_p[k] - log_q);
    known += __builtin_exp(static_cast<double>(log_q));
    sum_p += p;
  }
  const double left = 1.0 - known, rest = __builtin_exp(static_cast<double>(log_rest));
  const bool clamped = !(left > static_cast<double>(d.least));
  const double counts = clamped ? static_cast<double>(d.least) : left;
  if (rest > 0) value += rest * (static_cast<double>(log_rest) - __builtin_log(counts));
  const double ratio = clamped ? 0.0 : rest / counts;
  const double to_known = sum_p + ratio * (1.0 - known), to_rest = sum_p - ratio * known;
  const auto tau = static_cast<double>(d.tau);
  // Known words are put aside, the others scaled in one sweep, and the known ones put back.
  const auto factor = static_cast<float>(tau * to_rest / s.total);
  const auto known_factor = static_cast<float>(tau * to_known / s.total);
  constexpr std::int64_t kAside = 4096;
  float aside[kAside];
  for (std::int64_t k = 0; k < d.top; ++k) {
    aside[k] = slope[ids[k]] * known_factor -
               static_cast<float>(tau * __builtin_exp(static_cast<double>(log_p[k])));
  }
  std::int64_t i = 0;
  for (; i + kLanes <= d.words; i += kLanes) store(slope + i, load(slope + i) * factor);
  for (; i < d.words; ++i) slope[i] *= factor;
  for (std::int64_t k = 0; k < d.top; ++k) slope[ids[k]] = aside[k];
  d.values[token] = static_cast<float>(value * tau * tau);
}

}  // namespace goose::train::GOOSE_ISA
