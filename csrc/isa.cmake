# One source, one object per instruction set.
#
#   goose_add_isa_sources(<target> <source>...)
#
# compiles each source once per set with GOOSE_ISA (baseline, avx2, avx512: the namespace to define)
# and GOOSE_VECTOR_BYTES (16, 32, 64), and links all objects into the target. Which one runs is
# decided at run time in csrc/isa.cpp. Such a source must not include C++ library headers with inline
# functions: the linker keeps one copy of those, and it could be the one compiled for AVX-512.

set(GOOSE_WARNINGS -Wall -Wextra -Wno-psabi)
set(GOOSE_ISAS baseline)
set(GOOSE_BYTES_baseline 16)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(APPEND GOOSE_ISAS avx2 avx512)
  set(GOOSE_BYTES_avx2 32)
  set(GOOSE_FLAGS_avx2 -mavx2 -mfma -mf16c)
  set(GOOSE_BYTES_avx512 64)
  set(GOOSE_FLAGS_avx512 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(GOOSE_BYTES_avx512vnni 64)
  set(GOOSE_FLAGS_avx512vnni ${GOOSE_FLAGS_avx512} -mavx512vnni)
  set(GOOSE_ISA_DEFINITIONS GOOSE_X86)
endif()

function(goose_add_sources_for isa target)
  foreach(source IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "${target}_${source}_${isa}" objects)
    add_library(${objects} OBJECT ${source})
    target_include_directories(${objects} PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
    target_compile_definitions(${objects} PRIVATE
      GOOSE_ISA=${isa} GOOSE_VECTOR_BYTES=${GOOSE_BYTES_${isa}})
    target_compile_options(${objects} PRIVATE
      ${GOOSE_FLAGS_${isa}} ${GOOSE_WARNINGS} -ffp-contract=fast)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()

function(goose_add_isa_sources target)
  foreach(isa IN LISTS GOOSE_ISAS)
    goose_add_sources_for(${isa} ${target} ${ARGN})
  endforeach()
endfunction()

# Sources with dot products of bytes, once more for the processors that have those.
function(goose_add_vnni_sources target)
  if("avx512" IN_LIST GOOSE_ISAS)
    goose_add_sources_for(avx512vnni ${target} ${ARGN})
  endif()
endfunction()
