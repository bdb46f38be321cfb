// WKV-4, the recurrence of RWKV-4 (Peng et al. 2023, arXiv 2305.13048), a decaying softmax average
// over the past for every channel by itself:
//   y_t = (sum_{i<t} e^{-(t-1-i)w + k_i} v_i + e^{u + k_t} v_t) / (the same without v).
// Numerator and denominator are kept as e^p (a, b), so that no exponent is ever above 0.
#pragma once

#include <cstdint>

namespace goose::wkv4 {

struct Sizes {
  std::int64_t B, T, C;
};

// What a token is beside ordinary (0).
constexpr std::uint8_t kStart = 1;    // the state is empty before it
constexpr std::uint8_t kPadding = 2;  // the state does not notice it, and its output is 0

constexpr float kNever = -1e38f;  // the exponent of an empty state

struct Inputs {
  const float *w, *u;         // C; w > 0 is the rate of decay
  const float *k, *v;         // B,T,C
  const float* state;         // B,3,C: a, b, p before the first token
  const std::uint8_t* marks;  // B,T, or null where every token is ordinary
};

struct Outputs {
  float *y, *q, *d;  // B,T,C; the denominator is e^q d, which backward needs
  float* state;      // B,3,C after the last token
};

struct Gradients {
  const float *y, *q, *d, *dy;  // B,T,C
  float *dk, *dv;               // B,T,C
  float *dw, *du;               // B,C: the caller adds up the sequences
  float* dstate;                // B,3,C
};

// One implementation; both functions do `lanes` channels of one sequence from channel `c` on.
struct Kernel {
  void (*forward)(const Sizes&, const Inputs&, const Outputs&, std::int64_t b, std::int64_t c);
  void (*backward)(const Sizes&, const Inputs&, const Gradients&, std::int64_t b, std::int64_t c);
  std::int64_t lanes;
};

// On the selected instruction set, spread over at most `threads` threads. Results do not depend on
// the number of threads.
void forward(const Sizes&, const Inputs&, const Outputs&, int threads);
void backward(const Sizes&, const Inputs&, const Gradients&, int threads);

}  // namespace goose::wkv4
