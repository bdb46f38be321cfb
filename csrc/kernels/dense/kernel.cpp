// Dense products, a strip of rows at a time.
#include "kernels/dense/dense.h"
#include "kernels/dense/half.h"
#include "simd.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

inline Vec load(const std::uint16_t* half) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_cvtph_ps(
      static_cast<__mmask16>(0xFFFF),  // GCC 12 warns of the plain one
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half)));
#elif defined(__F16C__)
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
#else
  Vec x;
  for (int i = 0; i < kLanes; ++i) x[i] = single_of_half(half[i]);
  return x;
#endif
}
using goose::load;

// Sums of one strip.
template <class Weight>
inline Four strip(const Weight* w, const float* x, std::int64_t width) {
  constexpr int kLine = 64 / sizeof(Weight);
  Vec sum[kStrip] = {};
  for (std::int64_t k = 0; k < width; k += kLine, w += kStrip * kLine) {
#pragma GCC unroll 8
    for (int i = 0; i < kLine; i += kLanes) {
      const Vec value = goose::load(x + k + i);
#pragma GCC unroll 4
      for (int r = 0; r < kStrip; ++r) sum[r] += load(w + r * kLine + i) * value;
    }
  }
  return sums_of(sum);
}

inline void put(Four sums, float* y, std::int64_t rows) {
  if (rows >= kStrip) {
    __builtin_memcpy(y, &sums, sizeof sums);
  } else {
    for (int r = 0; r < rows; ++r) y[r] = sums[r];
  }
}

template <class Weight>
inline void product(const Weight* w, const float* x, float* y, std::int64_t width,
                    std::int64_t from, std::int64_t to) {
  for (std::int64_t m = from; m < to; m += kStrip) {
    put(strip(w + m * width, x, width), y + m, to - m);
  }
}

constexpr int kBytes = GOOSE_VECTOR_BYTES / 2;  // int8 weights that fill a vector of int16
typedef std::int8_t Bytes __attribute__((vector_size(kBytes)));
typedef std::int16_t Shorts __attribute__((vector_size(GOOSE_VECTOR_BYTES)));

// Sums of products of neighbours.
inline IntVec multiply_add(Shorts a, Shorts b) {
#if defined(__AVX512BW__)
  return (IntVec)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (IntVec)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  IntVec sum;
  for (int i = 0; i < kLanes; ++i) sum[i] = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
  return sum;
#endif
}

inline Shorts widened(const std::int8_t* w) {
  Bytes bytes;
  __builtin_memcpy(&bytes, w, sizeof bytes);
#if defined(__AVX512BW__)
  return (Shorts)_mm512_maskz_cvtepi8_epi16(~0u, (__m256i)bytes);
#elif defined(__AVX2__)
  return (Shorts)_mm256_cvtepi8_epi16((__m128i)bytes);
#else
  return __builtin_convertvector(bytes, Shorts);
#endif
}

inline FourInts strip(const std::int8_t* w, const std::int16_t* x, std::int64_t width) {
  IntVec sum[kStrip] = {};
  for (std::int64_t k = 0; k < width; k += 64, w += kStrip * 64) {
#pragma GCC unroll 8
    for (int i = 0; i < 64; i += kBytes) {
      Shorts value;
      __builtin_memcpy(&value, x + k + i, sizeof value);
#pragma GCC unroll 4
      for (int r = 0; r < kStrip; ++r) sum[r] += multiply_add(widened(w + r * 64 + i), value);
    }
  }
  return sums_of(sum);
}

}  // namespace

void dense_f32(const float* w, const float* x, float* y, std::int64_t width, std::int64_t from,
               std::int64_t to) {
  product(w, x, y, width, from, to);
}

void dense_f16(const std::uint16_t* w, const float* x, float* y, std::int64_t width,
               std::int64_t from, std::int64_t to) {
  product(w, x, y, width, from, to);
}

void dense_i8(const std::int8_t* w, const float* scale, const std::int16_t* x, float amplitude,
              float* y, std::int64_t width, std::int64_t from, std::int64_t to) {
  for (std::int64_t m = from; m < to; m += kStrip) {
    const FourInts sums = strip(w + m * width, x, width);
    Four scales = {};
    __builtin_memcpy(&scales, scale + m, to - m >= kStrip ? sizeof scales : (to - m) * sizeof(float));
    put(scales * amplitude * __builtin_convertvector(sums, Four), y + m, to - m);
  }
}

float round_i16(const float* x, std::int16_t* x16, std::int64_t width, std::int32_t limit) {
  Vec most_of = {};
  for (std::int64_t i = 0; i < width; i += kLanes) {
    const Vec size = (Vec)((IntVec)load(x + i) & 0x7FFFFFFF);
    most_of = size > most_of ? size : most_of;
  }
  float most = 0;
  for (int i = 0; i < kLanes; ++i) most = most_of[i] > most ? most_of[i] : most;
  const float inverse =
      most > 0 && most < __builtin_inff() ? static_cast<float>(limit) / most : 0.0F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds halves to even
  for (std::int64_t i = 0; i < width; i += kLanes) {
    typedef std::int16_t Half __attribute__((vector_size(GOOSE_VECTOR_BYTES / 2)));
    const Vec rounded = (load(x + i) * inverse + kRound) - kRound;
    const Half codes = __builtin_convertvector(__builtin_convertvector(rounded, IntVec), Half);
    __builtin_memcpy(x16 + i, &codes, sizeof codes);
  }
  return inverse > 0 ? most / static_cast<float>(limit) : 0.0F;
}

}  // namespace goose::kernels::GOOSE_ISA
