#include "level.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if !defined(TF_SOURCES)
#error "building.py defines TF_SOURCES, the digest of the sources"
#endif

namespace {

#if defined(__x86_64__)
// Older compilers' __builtin_cpu_supports refuses the names of these two.
bool has_f16c() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
}

bool has_avx512_bf16() {
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && eax >= 1 &&
           __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1);
}
#endif

int of_processor() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())) return 0;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
        return 1;
    return has_avx512_bf16() ? 3 : 2;
#else
    return 0;
#endif
}

int most() {
    const char* restricted = std::getenv("ATEN_CPU_CAPABILITY");
    if (restricted == nullptr) return 3;
    if (!std::strcmp(restricted, "default")) return 0;
    return std::strcmp(restricted, "avx2") ? 3 : 1;
}

int level() {
    const int has = of_processor(), may = most();
    return has < may ? has : may;
}

}  // namespace

extern "C" {

int tf_level() {
    static const int found = level();
    return found;
}

// The digest of the sources that this library was compiled from.
__attribute__((visibility("default"))) const char* tf_sources() { return "TF_SOURCES=" TF_SOURCES; }
__attribute__((visibility("default"))) int tf_processor_level() { return tf_level(); }
}
