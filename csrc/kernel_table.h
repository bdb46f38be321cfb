#pragma once

#include "isa.h"

// Declares a `Kernel kernel` for every instruction set in the namespace around it, and
// `selected_kernel()`, the one that runs here. Each is defined in a file compiled for its set.
#ifdef GOOSE_X86
#define GOOSE_X86_TABLES \
  namespace avx2 {       \
  extern const Kernel kernel; \
  }                      \
  namespace avx512 {     \
  extern const Kernel kernel; \
  }
#define GOOSE_X86_CASES                      \
  case Isa::avx2: return avx2::kernel;       \
  case Isa::avx512: case Isa::avx512vnni: return avx512::kernel;
#else
#define GOOSE_X86_TABLES
#define GOOSE_X86_CASES
#endif

#define GOOSE_KERNEL_TABLE                               \
  namespace reference {                                  \
  extern const Kernel kernel;                            \
  }                                                      \
  namespace baseline {                                   \
  extern const Kernel kernel;                            \
  }                                                      \
  GOOSE_X86_TABLES                                       \
  static const Kernel& selected_kernel() {               \
    switch (selected_isa()) {                            \
      case Isa::reference: return reference::kernel;     \
      GOOSE_X86_CASES                                    \
      default: return baseline::kernel;                  \
    }                                                    \
  }
