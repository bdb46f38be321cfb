// Spikes, sixteen numbers at a time. Widths are multiples of 64.
#include "kernels/spikes/spikes.h"
#include "simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

constexpr int kBlock = 16;
constexpr int kVectors = kBlock / kLanes;

typedef float Half16 __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
typedef std::int16_t Half __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
typedef double Doubles __attribute__((vector_size(GOOSE_VECTOR_BYTES)));

inline Vec magnitude(Vec x) { return (Vec)((IntVec)x & 0x7FFFFFFF); }

// Sum in fp64, whatever the order: rounding to fp32 then hides the order.
inline double sum_of_magnitudes(const float* x, int width) {
  Doubles sum[2 * kVectors] = {};
  for (int i = 0; i < width; i += kBlock) {
    for (int v = 0; v < 2 * kVectors; ++v) {
      Half16 half;
      __builtin_memcpy(&half, x + i + v * kLanes / 2, sizeof half);
      const Doubles wide = __builtin_convertvector(half, Doubles);
      sum[v] += wide < 0 ? -wide : wide;
    }
  }
  double total = 0;
  for (int v = 0; v < 2 * kVectors; ++v) {
    for (int i = 0; i < kLanes / 2; ++i) total += sum[v][i];
  }
  return total;
}

// Bit i is set where lane i of a block is true (lanes are 0 or -1).
inline unsigned mask_of(const IntVec* truth) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)truth[0]);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)truth[0])) |
         static_cast<unsigned>(_mm256_movemask_ps((__m256)truth[1])) << 8;
#elif defined(__SSE2__)
  unsigned mask = 0;
  for (int v = 0; v < 4; ++v) mask |= static_cast<unsigned>(_mm_movemask_ps((__m128)truth[v])) << 4 * v;
  return mask;
#else
  unsigned mask = 0;
  for (int i = 0; i < kBlock; ++i) mask |= (truth[i / kLanes][i % kLanes] & 1u) << i;
  return mask;
#endif
}

#ifndef __AVX512F__
struct Positions {
  std::uint8_t of[256][8];
};
constexpr Positions positions() {
  Positions table{};
  for (int mask = 0; mask < 256; ++mask) {
    int n = 0;
    for (int bit = 0; bit < 8; ++bit) {
      if (mask >> bit & 1) table.of[mask][n++] = static_cast<std::uint8_t>(bit);
    }
  }
  return table;
}
constexpr Positions kPositions = positions();
#endif

// Appends the entries of a block whose bits are set; may write up to 16 entries past the end.
inline std::uint32_t* append(std::uint32_t* to, unsigned mask, int from) {
#ifdef __AVX512F__
  const __m512i lane = _mm512_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192,
                                         208, 224, 240);
  const __m512i entries = _mm512_add_epi32(lane, _mm512_set1_epi32(from * int{kEntry}));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), entries));
  return to + __builtin_popcount(mask);
#else
  for (int half = 0; half < 2; ++half) {
    const unsigned byte = mask >> 8 * half & 255;
    const std::uint8_t* positions = kPositions.of[byte];
    const auto first = static_cast<std::uint32_t>(from + 8 * half) * kEntry;
    for (int i = 0; i < 8; ++i) to[i] = first + positions[i] * kEntry;
    to += __builtin_popcount(byte);
  }
  return to;
#endif
}

inline std::int32_t fill_up(std::uint32_t*& to, std::uint32_t* from, std::int32_t empty) {
  while ((to - from) % kGroup) *to++ = static_cast<std::uint32_t>(empty) * kEntry;
  return static_cast<std::int32_t>(to - from) / kGroup;
}

// Lists of one step, given the masks of every block.
inline std::uint32_t* lists_of_step(const Encoder& e, const std::uint16_t* plus,
                                    const std::uint16_t* minus, std::uint32_t* to, Span* span,
                                    std::int32_t& active) {
  for (int from = 0; from < e.width; from += e.group, ++span) {
    *span = {to, 0, 0};
    std::uint32_t* start = to;
    for (int i = from; i < from + e.group; i += kBlock) {
      // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the callers have filled all blocks
      to = append(to, plus[i / kBlock], i);
    }
    active += static_cast<std::int32_t>(to - start);
    span->plus = fill_up(to, start, e.width);
    start = to;
    for (int i = from; i < from + e.group; i += kBlock) to = append(to, minus[i / kBlock], i);
    active += static_cast<std::int32_t>(to - start);
    span->minus = fill_up(to, start, e.width);
  }
  return to;
}

constexpr int kMaxBlocks = 65536 / kBlock;

typedef std::int16_t Shorts __attribute__((vector_size(2 * kBlock)));

// The whole number nearest to q / 3, of which no q is half way; |q| stays below 10923.
inline Shorts third(Shorts q) {
#ifdef __AVX2__
  return (Shorts)_mm256_mulhrs_epi16((__m256i)q, _mm256_set1_epi16(10923));
#else
  const auto wide = __builtin_convertvector(q, int __attribute__((vector_size(64))));
  return __builtin_convertvector(((wide + 12289) * 43691 >> 17) - 4096, Shorts);
#endif
}

// Of q = 3 next + digit the digit in {-1,0,1}; next is what rests.
inline Shorts digits(Code code, Shorts& rest, int step) {
  if (code == Code::radix3) {
    const Shorts next = third(rest);
    const Shorts digit = rest - 3 * next;
    rest = next;
    return digit;
  }
  const Shorts sign = (rest > 0) - (rest < 0);  // lanes are 0 or -1, so this is -sign
  const Shorts size = rest < 0 ? -rest : rest;
  if (code == Code::rate) return size > static_cast<short>(step) ? -sign : Shorts{};
  return -sign * (size >> step & 1);
}

inline unsigned short_mask(Shorts truth) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return _mm256_movepi16_mask((__m256i)truth);
#elif defined(__SSE2__)
  __m128i halves[2];
  __builtin_memcpy(halves, &truth, sizeof halves);
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(halves[0], halves[1])));
#else
  unsigned mask = 0;
  for (int i = 0; i < kBlock; ++i) mask |= (truth[i] & 1u) << i;
  return mask;
#endif
}

void masks_of_step(const Encoder& e, std::int16_t* rest, int step, std::uint16_t* plus,
                   std::uint16_t* minus) {
  for (int i = 0; i < e.width; i += kBlock) {
    Shorts q;
    __builtin_memcpy(&q, rest + i, sizeof q);
    const Shorts digit = digits(e.code, q, step);
    __builtin_memcpy(rest + i, &q, sizeof q);
    plus[i / kBlock] = static_cast<std::uint16_t>(short_mask(digit > 0));
    minus[i / kBlock] = static_cast<std::uint16_t>(short_mask(digit < 0));
  }
}

void single(const Encoder& e, const float* x, float threshold, Spikes& out) {
  std::uint16_t plus[kMaxBlocks], minus[kMaxBlocks];
  Doubles sum[2 * kVectors] = {};
  for (int i = 0; i < e.width; i += kBlock) {
    IntVec fires_plus[kVectors], fires_minus[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Vec value = load(x + i + v * kLanes);
      fires_plus[v] = value > threshold;
      fires_minus[v] = value < -threshold;
      const Vec kept = (Vec)((IntVec)magnitude(value) & (fires_plus[v] | fires_minus[v]));
      Half16 halves[2];
      __builtin_memcpy(halves, &kept, sizeof halves);
      sum[2 * v] += __builtin_convertvector(halves[0], Doubles);
      sum[2 * v + 1] += __builtin_convertvector(halves[1], Doubles);
    }
    for (int v = 0; v < kVectors; ++v) {
      const Half codes = __builtin_convertvector(fires_minus[v] - fires_plus[v], Half);
      __builtin_memcpy(out.codes + i + v * kLanes, &codes, sizeof codes);
    }
    plus[i / kBlock] = static_cast<std::uint16_t>(mask_of(fires_plus));
    minus[i / kBlock] = static_cast<std::uint16_t>(mask_of(fires_minus));
  }
  out.active = 0;
  lists_of_step(e, plus, minus, out.lists, out.spans, out.active);
  double total = 0;
  for (int v = 0; v < 2 * kVectors; ++v) {
    for (int i = 0; i < kLanes / 2; ++i) total += sum[v][i];
  }
  out.amplitude = out.active > 0 ? static_cast<float>(total / out.active) : 0.0F;
}

// Nothing fires where nothing comes in, or too little to be divided by.
void silent(const Encoder& e, Spikes& out) {
  __builtin_memset(out.codes, 0, sizeof(std::int16_t) * static_cast<std::size_t>(e.width));
  out.amplitude = 0;
  list(e, out);
}

void several(const Encoder& e, const float* x, float amplitude, Spikes& out) {
  const auto most = static_cast<float>(levels(e.code, e.steps));
  out.amplitude = amplitude;
  const float inverse = 1.0F / out.amplitude;
  if (__builtin_isinf(inverse)) return silent(e, out);
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, halves to even.
  constexpr float kRound = 12582912.0F;
  for (int i = 0; i < e.width; i += kLanes) {
    Vec q = load(x + i) * inverse;
    q = q == q ? q : Vec{};  // what is no number is silent
    q = q > most ? most + Vec{} : q;
    q = q < -most ? -most + Vec{} : q;
    q = (q + kRound) - kRound;
    const Half codes = __builtin_convertvector(__builtin_convertvector(q, IntVec), Half);
    __builtin_memcpy(out.codes + i, &codes, sizeof codes);
  }
  list(e, out);
}

// An amplitude that all vectors share.
void fixed(const Encoder& e, const float* x, Spikes& out) {
  if (e.steps > 1) return several(e, x, e.amplitude, out);
  single(e, x, e.fires, out);
  out.amplitude = e.amplitude;
}

}  // namespace

void list(const Encoder& e, Spikes& out) {
  std::uint16_t plus[kMaxBlocks], minus[kMaxBlocks];
  std::int16_t rest[kMaxBlocks * kBlock];
  __builtin_memcpy(rest, out.codes, sizeof(std::int16_t) * static_cast<std::size_t>(e.width));
  std::uint32_t* to = out.lists;
  out.active = 0;
  for (int step = 0; step < e.steps; ++step) {
    masks_of_step(e, rest, step, plus, minus);
    to = lists_of_step(e, plus, minus, to, out.spans + step * (e.width / e.group), out.active);
  }
}

std::int64_t select(const float* x, std::int64_t width, float threshold, std::uint32_t* to) {
  std::uint32_t* at = to;
  std::int64_t i = 0;
  for (; i + kBlock <= width; i += kBlock) {
    IntVec reached[kVectors];
    for (int v = 0; v < kVectors; ++v) reached[v] = load(x + i + v * kLanes) >= threshold;
    const unsigned mask = mask_of(reached);
    if (mask != 0) at = append(at, mask, static_cast<int>(i));
  }
  for (; i < width; ++i) {
    if (x[i] >= threshold) *at++ = static_cast<std::uint32_t>(i) * kEntry;
  }
  return at - to;
}

void encode(const Encoder& e, const float* x, Spikes& out) {
  if (e.amplitude > 0) return fixed(e, x, out);
  const auto mean = static_cast<float>(sum_of_magnitudes(x, e.width) / e.count);
  if (!(mean > 0) || !(mean < __builtin_inff())) {
    silent(e, out);
  } else if (e.steps == 1) {
    single(e, x, e.threshold * mean, out);
  } else {
    several(e, x, e.threshold * mean / static_cast<float>(levels(e.code, e.steps)), out);
  }
}

}  // namespace goose::kernels::GOOSE_ISA
