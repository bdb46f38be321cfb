// Event-driven ternary product: only the columns of spikes are read, and added bit by bit for all
// rows of a segment at once.
#include "kernels/ternary/ternary.h"

#include "simd_bits.h"

namespace goose::kernels::GOOSE_ISA {
namespace {

constexpr int kPlanes = 24;

inline int planes_for(int columns) {
  return columns == 0 ? 1 : 32 - __builtin_clz(2u * static_cast<unsigned>(columns));
}

// out[r] += weight * (count of row r - columns), where z holds the counts; `first` starts at zero.
template <bool first, class V>
void emit(const V* z, int planes, std::int32_t weight, std::int32_t columns, std::int32_t* out) {
  constexpr int kBytes = sizeof(V);
  V low[8], high[8];
  for (int i = 0; i < 8; ++i) low[i] = i < planes ? z[i] : V{};
  bytes_of_planes(low);
  if (planes > 8) {
    for (int i = 0; i < 8; ++i) high[i] = i + 8 < planes ? z[i + 8] : V{};
    bytes_of_planes(high);
  }
  const auto* l = reinterpret_cast<const std::uint8_t*>(low);
  const auto* h = reinterpret_cast<const std::uint8_t*>(high);
  if (planes <= 8) {
    for (int r = 0; r < 8 * kBytes; ++r) {
      out[r] = (first ? 0 : out[r]) + weight * (l[r] - columns);
    }
  } else {
    for (int r = 0; r < 8 * kBytes; ++r) {
      out[r] = (first ? 0 : out[r]) + weight * (l[r] + 256 * h[r] - columns);
    }
  }
}

// Without this compilers keep the counters in memory from call to call.
#define GOOSE_INLINE inline __attribute__((always_inline))

template <bool minus, class V>
GOOSE_INLINE Pair<V> two(V& z, const char* columns, const std::uint32_t* entry) {
  constexpr std::uint32_t kScale = 2 * sizeof(V) / kEntry;
  const auto* one = reinterpret_cast<const V*>(columns + std::uint64_t{entry[0]} * kScale);
  const auto* two = reinterpret_cast<const V*>(columns + std::uint64_t{entry[1]} * kScale);
  return add_columns<minus>(z, one[0], one[1], two[0], two[1]);
}

// Adds a group of columns to the counters z[0..2]; the pair is worth eight.
template <bool minus, class V>
GOOSE_INLINE Pair<V> eight(V* z, const char* columns, const std::uint32_t* entries) {
  const Pair<V> a = two<minus>(z[0], columns, entries);
  const Pair<V> b = two<minus>(z[0], columns, entries + 2);
  const Pair<V> four = add_pairs(z[1], a, b);
  const Pair<V> c = two<minus>(z[0], columns, entries + 4);
  const Pair<V> d = two<minus>(z[0], columns, entries + 6);
  return add_pairs(z[2], four, add_pairs(z[1], c, d));
}

// What is asked for while columns are added: `lines` of memory for every two groups.
struct Ahead {
  const char* at;
  const char* end;
  int lines;

  GOOSE_INLINE void ask() {
    for (int i = 0; i < lines && at < end; ++i, at += 64) __builtin_prefetch(at, 0, 2);
  }
};

// Adds the sizes of a group's weights (or 1 - size) to the counters z[0..2]; the bit is worth eight.
template <bool minus, class V>
GOOSE_INLINE V eight_sizes(V* z, const char* columns, const std::uint32_t* entries) {
  constexpr std::uint32_t kScale = 2 * sizeof(V) / kEntry;
  const auto size = [&](int i) {
    return reinterpret_cast<const V*>(columns + std::uint64_t{entries[i]} * kScale)[1];
  };
  V carry[4];
  for (int i = 0; i < 4; ++i) {
    carry[i] = add_pair(z[0], pair_of<minus>(size(2 * i), size(2 * i + 1)));
  }
  const V low = add_pair(z[1], pair_of<false>(carry[0], carry[1]));
  const V high = add_pair(z[1], pair_of<false>(carry[2], carry[3]));
  return add_pair(z[2], pair_of<false>(low, high));
}

// Counts on their way: the lowest planes of bits, which stay in registers, and all of them.
template <bool sides, class V>
struct Counting {
  V z[4], n[sides ? 3 : 1];
  V *counters, *sizes;
  int planes;

  // Adds two groups, whose signs are known when this is compiled.
  template <bool one, bool two>
  GOOSE_INLINE void add(const char* columns, const std::uint32_t* entries) {
    const Pair<V> a = eight<one>(z, columns, entries);
    const Pair<V> b = eight<two>(z, columns, entries + kGroup);
    ripple(counters, 4, planes, add_pairs(z[3], a, b));
    if constexpr (sides) {
      const V first = eight_sizes<one>(n, columns, entries);
      const V second = eight_sizes<two>(n, columns, entries + kGroup);
      ripple(sizes, 3, planes, pair_of<false>(first, second));
    }
  }

  // Puts the lowest planes to the others and adds the group that is left, if any.
  template <bool minus>
  GOOSE_INLINE void end(bool left, const char* columns, const std::uint32_t* entries) {
    for (int i = 0; i < 4; ++i) counters[i] = z[i];
    if constexpr (sides) {
      for (int i = 0; i < 3; ++i) sizes[i] = n[i];
    }
    if (!left) return;
    ripple(counters, 3, planes, eight<minus>(counters, columns, entries));
    if constexpr (sides) {
      ripple(sizes, 3, planes, pair_of<false>(eight_sizes<minus>(sizes, columns, entries), V{}));
    }
  }
};

// Counts of weight + 1 (or 1 - weight) over the span's columns, as planes of bits; with `sides`
// those of the weights' sizes too, while the columns are at hand.
template <bool sides, class V>
inline void count(const char* columns, const Span& span, V* counters, V* sizes, int planes,
                  Ahead& ahead) {
  const std::uint32_t* entries = span.columns;
  const int groups = span.plus + span.minus;
  const auto at = [=](int group) { return entries + group * kGroup; };
  Counting<sides, V> counting{{}, {}, counters, sizes, planes};
  int g = 0;
  for (; g + 2 <= span.plus; g += 2, ahead.ask()) {
    counting.template add<false, false>(columns, at(g));
  }
  if (g < span.plus && g + 2 <= groups) {
    counting.template add<false, true>(columns, at(g));
    ahead.ask();
    g += 2;
  }
  for (; g + 2 <= groups; g += 2, ahead.ask()) {
    counting.template add<true, true>(columns, at(g));
  }
  if (g < span.plus) return counting.template end<false>(true, columns, at(g));
  counting.template end<true>(g < groups, columns, at(g));
}

// With `sides` what the weights' sizes give comes after the rows.
template <bool first, bool sides, class V>
void wide(const Segment& segment, const Span& span, std::int32_t weight, Ahead& ahead,
          std::int32_t* out) {
  const int columns = (span.plus + span.minus) * kGroup;
  const int planes = planes_for(columns) < 5 ? 5 : planes_for(columns);
  V counters[kPlanes], sizes[sides ? kPlanes : 1];
  for (int i = 4; i < planes; ++i) counters[i] = V{};
  if constexpr (sides) {
    for (int i = 3; i < planes; ++i) sizes[i] = V{};
  }
  count<sides>(reinterpret_cast<const char*>(segment.columns), span, counters, sizes, planes, ahead);
  emit<first>(counters, planes, weight, columns, out);
  if constexpr (sides) {
    emit<first>(sizes, planes, weight, span.minus * kGroup, out + segment.rows);
  }
}

// A segment of 64 rows takes as many columns at once as words fit a vector.
#if GOOSE_VECTOR_BYTES == 64
typedef Bits512 Lanes;
#else
typedef Bits256 Lanes;
#endif
constexpr int kLanes = sizeof(Lanes) / 8;
typedef std::uint64_t Column __attribute__((vector_size(16)));

inline Column column_at(const char* columns, std::uint32_t entry) {
  return *reinterpret_cast<const Column*>(columns + entry);
}

inline void gather(const char* columns, const std::uint32_t* e, Bits256& positive,
                   Bits256& nonzero) {
  const Bits256 x = __builtin_shufflevector(column_at(columns, e[0]), column_at(columns, e[1]), 0,
                                            1, 2, 3);
  const Bits256 y = __builtin_shufflevector(column_at(columns, e[2]), column_at(columns, e[3]), 0,
                                            1, 2, 3);
  positive = __builtin_shufflevector(x, y, 0, 4, 2, 6);
  nonzero = __builtin_shufflevector(x, y, 1, 5, 3, 7);
}

#if GOOSE_VECTOR_BYTES == 64
inline void gather(const char* columns, const std::uint32_t* e, Bits512& positive,
                   Bits512& nonzero) {
  Bits256 p0, n0, p1, n1;
  gather(columns, e, p0, n0);
  gather(columns, e + 4, p1, n1);
  positive = __builtin_shufflevector(p0, p1, 0, 1, 2, 3, 4, 5, 6, 7);
  nonzero = __builtin_shufflevector(n0, n1, 0, 1, 2, 3, 4, 5, 6, 7);
}
#endif

template <bool minus, bool size>
inline Pair<Lanes> two_gathers(Lanes& z, const char* columns, const std::uint32_t* entries) {
  Lanes a1, n1, a2, n2;
  gather(columns, entries, a1, n1);
  gather(columns, entries + kLanes, a2, n2);
  return add_columns<minus>(z, size ? n1 : a1, n1, size ? n2 : a2, n2);
}

// One sign's groups: 2 * kLanes columns at a time, then what is left with empty columns.
template <bool minus, bool size>
inline int count_lanes(const char* columns, const std::uint32_t* entries, int groups,
                       Lanes* counters, int planes, Ahead& ahead) {
  constexpr int kStep = 2 * kLanes;
  const int total = groups * kGroup;
  int c = 0;
  for (; c + kStep <= total; c += kStep) {
    ripple(counters, 1, planes, two_gathers<minus, size>(counters[0], columns, entries + c));
    if (c % (2 * kGroup) == 0) ahead.ask();
  }
  if (c < total) {  // only where a vector holds a whole group
    Lanes a, n;
    gather(columns, entries + c, a, n);
    ripple(counters, 1, planes,
           add_columns<minus>(counters[0], size ? n : a, n, Lanes{}, Lanes{}));
    c += kStep;
  }
  return c / kLanes;
}

template <bool first, bool size>
void narrow(const Segment& segment, const Span& span, std::int32_t weight, Ahead& ahead,
            std::int32_t* out) {
  const auto* columns = reinterpret_cast<const char*>(segment.columns);
  const int most = ((span.plus + span.minus) * kGroup + 4 * kLanes) / kLanes;
  const int planes = planes_for(most) < 2 ? 2 : planes_for(most);
  Lanes counters[kPlanes];
  for (int i = 0; i < planes; ++i) counters[i] = Lanes{};
  int taken = count_lanes<false, size>(columns, span.columns, span.plus, counters, planes, ahead);
  taken += count_lanes<true, size>(columns, span.columns + span.plus * kGroup, span.minus,
                                   counters, planes, ahead);
  std::int32_t lanes[64 * kLanes];
  emit<true>(counters, planes, weight, taken, lanes);
  // Byte i of vector b is row 8 b + i % 8 of lane i / 8.
  for (int b = 0; b < 8; ++b) {
    for (int i = 0; i < 8; ++i) {
      std::int32_t sum = first ? 0 : out[8 * b + i];
      for (int lane = 0; lane < kLanes; ++lane) sum += lanes[8 * (kLanes * b + lane) + i];
      out[8 * b + i] = sum;
    }
  }
}

}  // namespace

extern const std::int32_t widest_segment = GOOSE_VECTOR_BYTES == 64 ? 512 : 256;

namespace {

template <bool first, bool sides>
void one_step(const Segment& segment, const Span& span, std::int32_t weight, Ahead& ahead,
              std::int32_t* out) {
  if (segment.rows == 64) {
    narrow<first, false>(segment, span, weight, ahead, out);
    if constexpr (sides) narrow<first, true>(segment, span, weight, ahead, out + segment.rows);
#if GOOSE_VECTOR_BYTES == 64
  } else if (segment.rows == 512) {
    wide<first, sides, Bits512>(segment, span, weight, ahead, out);
#endif
  } else {
    wide<first, sides, Bits256>(segment, span, weight, ahead, out);
  }
}

// Spread over all steps: memory answers while there is work to do.
Ahead spread(const Segment& segment, const Span* spans, std::int32_t steps, std::int32_t stride) {
  const auto* at = reinterpret_cast<const char*>(segment.next);
  if (segment.ahead == 0) return {at, at, 0};
  int pairs = 1;
  for (int step = 0; step < steps; ++step) {
    pairs += (spans[step * stride].plus + spans[step * stride].minus) / 2;
  }
  return {at, at + segment.ahead, (segment.ahead / 64 + pairs - 1) / pairs};
}

template <bool sides>
void all_steps(const Segment& segment, const Span* spans, const std::int32_t* weights,
               std::int32_t steps, std::int32_t stride, std::int32_t* out) {
  Ahead ahead = spread(segment, spans, steps, stride);
  one_step<true, sides>(segment, spans[0], weights[0], ahead, out);
  for (int step = 1; step < steps; ++step) {
    one_step<false, sides>(segment, spans[step * stride], weights[step], ahead, out);
  }
}

}  // namespace

void tile(const Segment& segment, const Span* spans, const std::int32_t* weights,
          std::int32_t steps, std::int32_t stride, std::int32_t* out) {
  all_steps<false>(segment, spans, weights, steps, stride, out);
}

void sides(const Segment& segment, const Span* spans, const std::int32_t* weights,
           std::int32_t steps, std::int32_t stride, std::int32_t* out) {
  all_steps<true>(segment, spans, weights, steps, stride, out);
  // Of a sum over both signs and one over sizes, half the sum is what +1 gave, half the difference
  // what -1 gave.
  std::int32_t* const size = out + segment.rows;
  for (int r = 0; r < segment.rows; ++r) {
    const std::int32_t both = out[r];
    out[r] = (both + size[r]) / 2;
    size[r] = (both - size[r]) / 2;
  }
}

}  // namespace goose::kernels::GOOSE_ISA
