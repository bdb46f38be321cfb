// Kernels of the engine, one table of functions per instruction set. What comes in: addresses and
// sizes of one token or one tile; what goes out: numbers in memory that the caller owns; what never
// happens here: allocation, threads, checks and exceptions, which are the engine's matter.
//
// The table of Isa::reference holds plain scalar loops and is the oracle of the others: all integers
// agree exactly, floating-point results up to the order of summation.
#pragma once

#include <cstdint>

namespace goose::kernels {

// One step of ternary spikes over a range of columns: `plus` groups of eight columns that are +1,
// then `minus` groups that are -1. An entry is the column times kEntry; groups are filled up with
// the column past the last one, whose weights are zero.
struct Span {
  const std::uint32_t* columns;
  std::int32_t plus, minus;
};
constexpr std::uint32_t kEntry = 16;
constexpr int kGroup = 8;

// `rows` rows (512, 256 or 64) of a ternary matrix, column after column, 64-byte aligned where
// rows > 64. A column is rows / 64 words with a bit where the weight is +1, then as many with a bit
// where it is not zero. Row r is bit 8 * (r % (rows / 8)) + r / (rows / 8) of these.
struct Segment {
  const std::uint64_t* columns;
  std::int32_t rows;
  // What is read after this one, and how many bytes of it to ask for; 0 where it is in a cache.
  const std::uint64_t* next = nullptr;
  std::int32_t ahead = 0;
};

// Weights lie in the order of their use, and one token reads them all from memory. Kernels that are
// given a distance ask for what lies so far ahead of what they read, so that memory works while
// they compute. It costs time where many tokens share the weights: 0 there.
constexpr std::int32_t kAhead = 1 << 15;

enum class Code : std::int32_t { rate, radix2, radix3 };

// How a vector becomes spikes (docs/engine.md): `steps` ternary steps of `code`, a threshold in
// multiples of the mean magnitude of the first `count` numbers (the others are zero and make
// `width` a multiple of 64), lists cut into ranges of `group` columns (a multiple of 64).
// An amplitude above 0 takes the threshold's place: it is that of every vector, and one step fires
// where a magnitude exceeds `fires`.
struct Encoder {
  std::int32_t width, count, group, steps;
  Code code;
  float threshold, amplitude = 0, fires = 0;
};
constexpr int kMaxSteps = 8;
constexpr int kRows = 4;
constexpr int kScreenLimit = 127;
constexpr int kMargins = 8;

// Spikes of one vector. `spans` has room for steps * (width / group) spans, step by step, `lists`
// for list_capacity entries, `codes` for `width` integers.
struct Spikes {
  float amplitude;
  std::int32_t active;  // spikes of all steps
  Span* spans;
  std::uint32_t* lists;
  std::int16_t* codes;
};

// A vector in bytes, 64 numbers of which share an amplitude: x = amplitude * code, |code| <= kOctet.
// Up to kSpare groups past the last one can be read, whose amplitudes are zero.
struct Octets {
  std::int8_t* codes;
  float* amplitude;
  std::int32_t* sums;  // of the codes
};
constexpr float kOctet = 127;
constexpr std::int64_t kSpare = 16;

// By what such numbers are multiplied before they are rounded; 0 where they are silent.
static constexpr float inverse_of(float most) {
  const float inverse = most > 0 && most <= 3.4028235e38F ? kOctet / most : 0.0F;
  return inverse <= 3.4028235e38F ? inverse : 0.0F;
}

// Weights of four bits in groups of 64 columns, kRows rows in a block: group after group the codes of
// the rows, 32 bytes each (as in `screen`), then of each row a size for each group and a zero for each
// group, a byte each, then the rows' scales (fp32); filled up to whole lines. A weight is
// scale * size * (code - zero / kZeroes).
constexpr float kZeroes = 16;
static constexpr std::int64_t grouped_block(std::int64_t groups) {
  return (kRows * (groups * (32 + 2) + 4) + 63) / 64 * 64;
}

constexpr std::int64_t list_capacity(const Encoder& e) {
  const std::int64_t ranges = e.width / e.group;
  return e.steps * (e.width + ranges * 2 * kGroup) + 64;
}

struct Table {
  std::int32_t widest;  // rows of the widest segment that `tile` is written for

  // out[r] = sum over steps of weights[step] * sum over columns of W[r, column] * spike, exactly.
  void (*tile)(const Segment&, const Span* spans, const std::int32_t* weights, std::int32_t steps,
               std::int32_t stride, std::int32_t* out);
  // The same, apart for weights +1 (out[r]) and for weights -1 (out[rows + r]): for matrices whose
  // two signs have a scale each. `out` has room for 2 * rows.
  void (*sides)(const Segment&, const Span* spans, const std::int32_t* weights, std::int32_t steps,
                std::int32_t stride, std::int32_t* out);
  // to = H x / 8 in blocks of 64: the orthonormal Hadamard transform; `to` may be x. Returns what
  // `magnitudes` gives for it.
  double (*rotate)(const float* x, float* to, std::int64_t width);
  // The sum of |x| in fp64.
  double (*magnitudes)(const float* x, std::int64_t width);
  // Integers, amplitude and lists of x, whose magnitudes have this sum; it does not count where the
  // encoder has an amplitude for every vector.
  void (*encode)(const Encoder&, const float* x, double sum, Spikes&);
  // The same from integers that are given in `codes`.
  void (*list)(const Encoder&, Spikes&);
  // Entries of the numbers that reach the threshold; writes up to 16 past the last. Returns how many.
  std::int64_t (*select)(const float* x, std::int64_t width, float threshold, std::uint32_t* to);

  // y[m] = sum_k w[m,k] x[k] for rows [from, to). Rows are read one after the other: memory gives
  // three times as much to one reader as to four side by side. `width` counts the columns with the
  // zeros that make it a multiple of 64, which x holds too; from is a multiple of kRows.
  void (*dense_f32)(const float* w, const float* x, float* y, std::int64_t width,
                    std::int64_t from, std::int64_t to, std::int32_t ahead);
  void (*dense_f16)(const std::uint16_t* w, const float* x, float* y, std::int64_t width,
                    std::int64_t from, std::int64_t to, std::int32_t ahead);
  // The same with integers: y[m] = scale[m] * amplitude * (sum of w8 * x16), the sum exact.
  void (*dense_i8)(const std::int8_t* w, const float* scale, const std::int16_t* x,
                   float amplitude, float* y, std::int64_t width, std::int64_t from,
                   std::int64_t to, std::int32_t ahead);
  // The exact integer of one row of such a matrix.
  std::int32_t (*row_i8)(const std::int8_t* w, const std::int16_t* x, std::int64_t width,
                         std::int64_t row);
  // The same from weights of four bits u, which stand for u - 7.5: of 64 columns, byte i holds that
  // of column i below and of column 32 + i above. |x8| is at most kScreenLimit.
  void (*screen)(const std::uint8_t* nibbles, const float* scale, const std::int8_t* x,
                 float amplitude, float* y, std::int64_t width, std::int64_t from,
                 std::int64_t to, std::int32_t ahead);
  // y[m] = sum of w x for rows [from, to), of blocks with so many groups: exact over each group.
  void (*grouped)(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
                  std::int64_t from, std::int64_t to, std::int32_t ahead);
  // Codes, amplitudes and sums of 64 numbers for each group.
  void (*round_i8)(const float* x, const Octets& to, std::int64_t groups);
  // x16 = rint(x / amplitude), |x16| <= limit; returns the amplitude. A multiple of 64 numbers.
  float (*round_i16)(const float* x, std::int16_t* x16, std::int64_t width, std::int32_t limit);

  // y = x / rms(x) * weight, and (x - mean) / std * weight + bias (weight and bias may be null).
  void (*rms_norm)(const float* x, const float* weight, float eps, float* y, std::int64_t width);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, float* y,
                     std::int64_t width);
  // x += y, x *= y, x = x + (y - x) * share
  void (*add)(float* x, const float* y, std::int64_t width);
  void (*multiply)(float* x, const float* y, std::int64_t width);
  void (*blend)(float* x, const float* y, const float* share, std::int64_t width);
  // y = amplitude * (sum so far + scale * x); `first` and `last` term of the sum.
  void (*scale)(const std::int32_t* x, const float* scale, float amplitude, bool first, bool last,
                float* y, std::int64_t width);
  // What the delta rule of one head is fed with: alpha = -kappa, beta = kappa a, the written key,
  // where kappa is k * removal over its length, which counts as at least `least`; returns the sum of
  // r * written * bonus. removal, replacement and bonus may be null.
  float (*delta)(const float* r, const float* k, const float* a, const float* removal,
                 const float* replacement, const float* bonus, float least, float* alpha,
                 float* beta, float* written, std::int64_t n);
  // y = (x + score * v) * (plus + gate); without a gate (null) y = x + score * v.
  void (*gate)(const float* x, float score, const float* v, float plus, const float* gate, float* y,
               std::int64_t n);
  // Turns the pairs (x[i], x[n + i]) by the angles whose cosines and sines are given.
  void (*turn)(float* x, const float* cosine, const float* sine, std::int64_t n);
  // y = x + (last - x) * mix
  void (*shift)(const float* x, const float* last, const float* mix, float* y, std::int64_t width);
  // In place.
  void (*sigmoid)(float* x, std::int64_t width);
  void (*tanh)(float* x, std::int64_t width);
  void (*silu)(float* x, std::int64_t width);
  void (*gelu)(float* x, std::int64_t width);       // exact, by erf
  void (*gelu_tanh)(float* x, std::int64_t width);  // its tanh form
  void (*relu)(float* x, std::int64_t width);
  void (*square)(float* x, std::int64_t width);
  void (*decay)(float* x, std::int64_t width);      // exp(-exp(-1/2) sigmoid(x))
  // masses[i] = sum of exp(z) over the z = (x - most) * sharpness that are at least -margins[i].
  void (*masses)(const float* x, std::int64_t width, float most, float sharpness,
                 const float* margins, float* masses);
  // One token of WKV-7 for one head: state is [key, value], updated in place; N a multiple of 16.
  // `next` is the state that will be needed next. What is read for r is the state before rounding.
  void (*wkv)(float* state, const float* next, const float* r, const float* w, const float* k,
              const float* v, const float* alpha, const float* beta, float* y, std::int64_t n);
  // The same with a state in bf16, rounded to the nearest, halves away from zero.
  void (*wkv_bf16)(std::uint16_t* state, const std::uint16_t* next, const float* r, const float* w,
                   const float* k, const float* v, const float* alpha, const float* beta, float* y,
                   std::int64_t n);
};

// The table of the selected instruction set (isa.h), and of every one for tests.
const Table& selected_table();

}  // namespace goose::kernels
