#include "threads.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using Body = void (*)(void*, int, int);
// The number of a region, times REGIONS, plus how many threads it has: both change together.
using Region = unsigned long long;
constexpr Region REGIONS = 1024;

// How often a thread looks for work, or for the end of it, before it sleeps: some 20 to 100 microseconds.
constexpr int SPINS = 2000;
// Most threads of a region.
constexpr int MOST = 256;

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

// Whether this thread is in a region.
thread_local bool inside = false;

class Pool {
   public:
    // One region at a time; false: the pool is taken.
    bool try_run(int threads, Body body, void* context) {
        std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
        if (!turn.owns_lock()) return false;
        threads = 1 + started(threads - 1);
        if (threads == 1) return false;
        body_ = body;
        context_ = context;
        working_.store(threads - 1, std::memory_order_relaxed);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            const Region last = region_.load(std::memory_order_relaxed);
            region_.store((last / REGIONS + 1) * REGIONS + static_cast<Region>(threads), std::memory_order_release);
        }
        begun_.notify_all();
        body(context, 0, threads);
        for (int spin = 0; working_.load(std::memory_order_acquire) != 0; ++spin) {
            if (spin < SPINS) {
                relax();
                continue;
            }
            std::unique_lock<std::mutex> lock(mutex_);
            ended_.wait(lock, [this] { return working_.load(std::memory_order_acquire) == 0; });
        }
        return true;
    }

   private:
    // Starts threads until there are so many; returns how many of them there are, at most those.
    int started(int wanted) {
        if (wanted > MOST - 1) wanted = MOST - 1;
        while (count_ < wanted) {
            try {
                std::thread(&Pool::work, this, count_ + 1, region_.load(std::memory_order_relaxed)).detach();
            } catch (const std::system_error&) {
                return count_;
            }
            ++count_;
        }
        return wanted;
    }

    void work(int own, Region done) {
        inside = true;
        for (;;) {
            Region now = region_.load(std::memory_order_acquire);
            for (int spin = 0; now == done; ++spin, now = region_.load(std::memory_order_acquire)) {
                if (spin < SPINS) {
                    relax();
                    continue;
                }
                std::unique_lock<std::mutex> lock(mutex_);
                begun_.wait(lock, [this, done] { return region_.load(std::memory_order_acquire) != done; });
            }
            done = now;
            // A region does not end before all of its threads have, so what a thread of it reads does not change.
            const int threads = static_cast<int>(now % REGIONS);
            if (own >= threads) continue;
            body_(context_, own, threads);
            if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                std::lock_guard<std::mutex> lock(mutex_);
                ended_.notify_one();
            }
        }
    }

    std::mutex turn_, mutex_;
    std::condition_variable begun_, ended_;
    std::atomic<Region> region_{0};
    std::atomic<int> working_{0};
    int count_ = 0;
    Body body_ = nullptr;
    void* context_ = nullptr;
};

// Never deleted: its threads wait in it until the process ends. After a fork the child has none of them, and makes a
// pool of its own.
std::atomic<Pool*> pool{nullptr};
std::once_flag once;

void forget() { pool.store(nullptr); }

Pool* current() {
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, forget); });
    Pool* found = pool.load();
    if (found != nullptr) return found;
    Pool* made = new Pool;
    if (pool.compare_exchange_strong(found, made)) return made;
    delete made;
    return found;
}

}  // namespace

extern "C" void tf_parallel(int threads, void (*body)(void*, int, int), void* context) {
    if (threads > 1 && !inside) {
        inside = true;
        const bool done = current()->try_run(threads, body, context);
        inside = false;
        if (done) return;
    }
    body(context, 0, 1);
}
