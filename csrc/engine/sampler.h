// Drawing a token from logits.
#pragma once

#include <cstdint>

namespace goose::engine {

struct Sampling {
  float temperature;    // divides the logits; 0 takes the most likely token
  std::int64_t top_k;   // keep this many most likely tokens; 0 keeps all
  float top_p;          // keep a token while those before it hold less than this; 1 keeps all
  float min_p;          // keep tokens at least this likely against the first; 0 keeps all
};

// The token at `uniform` in [0, 1) of the kept tokens' mass, most likely first and ties by id.
// Exact without sorting the vocabulary: only tokens that can be drawn are looked at, and those only
// divided until the one is found. Logits that are not a number count as impossible.
std::int64_t sample(const float* logits, std::int64_t vocab, const Sampling& sampling,
                    double uniform);

// The tokens that can be drawn, in no order, and their probabilities, which add up to 1; returns how
// many. Both have room for `vocab` of them.
std::int64_t distribution(const float* logits, std::int64_t vocab, const Sampling& sampling,
                          std::int64_t* tokens, double* probabilities);

// The logarithm of the sum of all exponentials: a logit less this is its log-probability. Words more
// than 87 nats below the first count as nothing.
double log_total(const float* logits, std::int64_t vocab);

}  // namespace goose::engine
