// Products with grouped weights, four rows at a time: a group's integers first, then its scales.
#include "kernels/grouped/grouped.h"
#include "kernels/rows.h"
#include "simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace goose::kernels::GOOSE_ISA {
namespace {

// Codes that are multiplied together: half a group, or a quarter where a vector holds no more. With
// AVX-512 too: a group's scale is met sooner by eight sums than by sixteen.
constexpr int kBytes = GOOSE_VECTOR_BYTES >= 32 ? 32 : 16;
constexpr int kSums = kBytes / 4;
typedef std::uint8_t Bytes __attribute__((vector_size(kBytes)));
typedef std::int16_t Shorts __attribute__((vector_size(kBytes)));
typedef std::int32_t Ints __attribute__((vector_size(kBytes)));
typedef float Floats __attribute__((vector_size(kBytes)));

template <class V>
inline V read(const void* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}

// Sums of code times input over four neighbours, of codes 0 .. 15 in two halves.
inline Ints products(Bytes low, Bytes x_low, Bytes high, Bytes x_high) {
#if defined(__AVX512VNNI__)
  const __m256i sum =
      _mm256_dpbusd_epi32(_mm256_setzero_si256(), (__m256i)low, (__m256i)x_low);
  return (Ints)_mm256_dpbusd_epi32(sum, (__m256i)high, (__m256i)x_high);
#elif defined(__AVX2__)
  // Of neighbours together at most 4 * 15 * 127, which fits sixteen bits.
  const __m256i sum = _mm256_add_epi16(_mm256_maddubs_epi16((__m256i)low, (__m256i)x_low),
                                       _mm256_maddubs_epi16((__m256i)high, (__m256i)x_high));
  return (Ints)_mm256_madd_epi16(sum, _mm256_set1_epi16(1));
#else
  const auto even = [](Bytes a) { return (Shorts)((Shorts)a << 8) >> 8; };
  const auto odd = [](Bytes a) { return (Shorts)a >> 8; };
  const Shorts sum = even(low) * even(x_low) + odd(low) * odd(x_low) + even(high) * even(x_high) +
                     odd(high) * odd(x_high);
  return ((Ints)((Ints)sum << 16) >> 16) + ((Ints)sum >> 16);
#endif
}

// One row of a group: all lanes together are its integer.
inline Ints group_of(const std::uint8_t* codes, const std::int8_t* x) {
  Ints sum = {};
#pragma GCC unroll 2
  for (int i = 0; i < 32; i += kBytes) {
    const Bytes both = read<Bytes>(codes + i);
    sum += products(both & 15, read<Bytes>(x + i), (Bytes)((Shorts)both >> 4) & 15,
                    read<Bytes>(x + 32 + i));
  }
  return sum;
}

inline Floats floats_of(const std::uint8_t* bytes) {
#ifdef __AVX2__
  const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  return (Floats)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
#else
  typedef std::uint8_t Few __attribute__((vector_size(kSums)));
  return __builtin_convertvector(__builtin_convertvector(read<Few>(bytes), Ints), Floats);
#endif
}

inline Floats add_product(Floats a, Floats b, Floats sum) {
#ifdef __FMA__
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else
  return a * b + sum;
#endif
}

constexpr std::int64_t kMostGroups = 1024;  // of 65536 columns

// What the integer of each group of a row counts for; returns what the zeros take off.
inline Floats worths(const std::uint8_t* sizes, const Octets& x, std::int64_t groups, float* worth) {
  Floats zeros = {};
  // Past the last group the amplitudes are zero.
  for (std::int64_t g = 0; g < groups; g += kSums) {
    const Floats each = floats_of(sizes + g) * read<Floats>(x.amplitude + g);
    __builtin_memcpy(worth + g, &each, sizeof each);
    const Floats sums = __builtin_convertvector(read<Ints>(x.sums + g), Floats);
    zeros = add_product(each * floats_of(sizes + groups + g), sums, zeros);
  }
  return zeros * (-1 / kZeroes);
}

}  // namespace

void grouped(const std::uint8_t* blocks, const Octets& x, float* y, std::int64_t groups,
             std::int64_t from, std::int64_t to, std::int32_t ahead) {
  const std::int64_t bytes = grouped_block(groups);
  alignas(64) float worth[kRows][kMostGroups + kSums];
  Asking asking(blocks + from / kRows * bytes, ahead);
  for (std::int64_t m = from; m < to; m += kRows) {
    const std::uint8_t* block = blocks + m / kRows * bytes;
    const std::uint8_t* sizes = block + kRows * 32 * groups;
    asking.ask(bytes - kRows * 32 * groups);
    Floats sum[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sum[r] = worths(sizes + 2 * r * groups, x, groups, worth[r]);
    for (std::int64_t g = 0; g < groups; ++g) {
      asking.ask(kRows * 32);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const Ints group = group_of(block + (g * kRows + r) * 32, x.codes + 64 * g);
        sum[r] = add_product(__builtin_convertvector(group, Floats), worth[r][g] - Floats{}, sum[r]);
      }
    }
    put(sums_of<Four>(sum) * read<Four>(sizes + kRows * 2 * groups), y + m, to - m);
  }
}

void round_i8(const float* x, const Octets& to, std::int64_t groups) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds halves to even
  for (std::int64_t g = 0; g < groups; ++g, x += 64) {
    Vec most_of = {};
    for (int i = 0; i < 64; i += kLanes) {
      const Vec size = (Vec)((IntVec)load(x + i) & 0x7FFFFFFF);
      most_of = size > most_of ? size : most_of;
    }
    float most = 0;
    for (int i = 0; i < kLanes; ++i) most = most_of[i] > most ? most_of[i] : most;
    const float inverse = inverse_of(most);
    IntVec sum = {};
    alignas(64) std::int32_t whole[64];
    for (int i = 0; i < 64; i += kLanes) {
      const Vec rounded = (load(x + i) * inverse + kRound) - kRound;
      // No number, or infinity times the inverse 0, is silent.
      const IntVec codes = __builtin_convertvector(rounded == rounded ? rounded : Vec{}, IntVec);
      __builtin_memcpy(whole + i, &codes, sizeof codes);
      sum += codes;
    }
    for (int i = 0; i < 64; ++i) to.codes[64 * g + i] = static_cast<std::int8_t>(whole[i]);
    const FourInts four = folded(sum);
    to.amplitude[g] = inverse > 0 ? most / kOctet : 0.0F;
    to.sums[g] = (four[0] + four[1]) + (four[2] + four[3]);
  }
}

}  // namespace goose::kernels::GOOSE_ISA
