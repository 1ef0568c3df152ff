// Which instructions the processor has.
#pragma once

extern "C" {
// 0: any processor; 1: AVX2, FMA and F16C; 2: AVX-512 (F, BW, DQ, VL) too; 3: AVX-512 BF16 too.
// ATEN_CPU_CAPABILITY, by which torch is restricted, restricts this too: "default" to 0, "avx2" to 1.
int tf_level();
}
