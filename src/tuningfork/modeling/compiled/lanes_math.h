// Functions of vectors of floats; each number's result is the same in every lane.
#pragma once

namespace {

// Within two units of the last place, for x from -87.3 to 88.3; numbers beyond count as those bounds.
inline Lanes exponential(Lanes x) {
    x = x.larger(Lanes::all(-87.3f)).smaller(Lanes::all(88.3f));
    const Lanes whole = (x * Lanes::all(1.44269504088896341f)).rounded();
    // The natural logarithm of two in two parts, the first of which has few digits.
    Lanes rest = whole.times_plus(Lanes::all(-0.693359375f), x);
    rest = whole.times_plus(Lanes::all(2.12194440e-4f), rest);
    // The series of e^x to x^7, for x within half of the logarithm of two.
    Lanes y = Lanes::all(1.f / 5040);
    y = y.times_plus(rest, Lanes::all(1.f / 720));
    y = y.times_plus(rest, Lanes::all(1.f / 120));
    y = y.times_plus(rest, Lanes::all(1.f / 24));
    y = y.times_plus(rest, Lanes::all(1.f / 6));
    y = y.times_plus(rest, Lanes::all(0.5f));
    y = y.times_plus(rest, Lanes::all(1.f));
    y = y.times_plus(rest, Lanes::all(1.f));
    return y * whole.power_of_two();
}

inline Lanes hyperbolic_tangent(Lanes x) {
    const Lanes one = Lanes::all(1.f), size = x.absolute();
    const Lanes far = one - Lanes::all(2.f) / (exponential(size + size) + one);
    // The series of tanh to x^13 where the difference above would lose digits.
    const Lanes square = x * x;
    Lanes series = Lanes::all(21844.f / 6081075);
    series = series.times_plus(square, Lanes::all(-1382.f / 155925));
    series = series.times_plus(square, Lanes::all(62.f / 2835));
    series = series.times_plus(square, Lanes::all(-17.f / 315));
    series = series.times_plus(square, Lanes::all(2.f / 15));
    series = series.times_plus(square, Lanes::all(-1.f / 3));
    series = (series * square).times_plus(size, size);
    return size.if_less(Lanes::all(0.4f), series, far).with_sign_of(x);
}

inline Lanes silu(Lanes x) {
    const Lanes one = Lanes::all(1.f);
    return x / (one + exponential(Lanes::all(0.f) - x));
}

// GELU approximated by tanh (Hendrycks & Gimpel 2016).
inline Lanes gelu(Lanes x) {
    const Lanes inner = (x * x * x).times_plus(Lanes::all(0.044715f), x) * Lanes::all(0.7978845608028654f);
    return Lanes::all(0.5f) * x * (Lanes::all(1.f) + hyperbolic_tangent(inner));
}

// Vectors of any length: reads and writes no number beyond the length.
template <class Function>
inline void map(const float* from, float* to, int64_t length, Function function) {
    int64_t i = 0;
    for (; i + Lanes::count <= length; i += Lanes::count) function(Lanes::load(from + i)).store(to + i);
    if (i < length) {
        float some[Lanes::count] = {};
        for (int64_t j = i; j < length; ++j) some[j - i] = from[j];
        function(Lanes::load(some)).store(some);
        for (int64_t j = i; j < length; ++j) to[j] = some[j - i];
    }
}

inline float sum_of_squares(const float* x, int64_t length) {
    Lanes sums[4] = {Lanes::all(0.f), Lanes::all(0.f), Lanes::all(0.f), Lanes::all(0.f)};
    int64_t i = 0;
    for (; i + 4 * Lanes::count <= length; i += 4 * Lanes::count) {
        for (int j = 0; j < 4; ++j) {
            const Lanes own = Lanes::load(x + i + j * Lanes::count);
            sums[j] = own.times_plus(own, sums[j]);
        }
    }
    float total = ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
    for (; i < length; ++i) total = Lanes::one_times_plus(x[i], x[i], total);
    return total;
}

}  // namespace
