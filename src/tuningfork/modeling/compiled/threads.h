// A pool of threads that work on one region together.
#pragma once

extern "C" {
// Calls body(context, thread, threads) once for each thread from 0 on, at the same time, and returns when all have
// returned. The caller is thread 0. `threads` as body gets it may be less than what was asked for: 1 if another caller
// is using the pool, or if no more threads can be started. A body that calls tf_parallel runs the inner region alone.
__attribute__((visibility("default"))) void tf_parallel(int threads, void (*body)(void* context, int thread, int threads), void* context);
}
