// needs: openmp
// needs: threads
#include <unsupported/Eigen/CXX11/ThreadPool>

#include <fuzz/run_case.hpp>
#if defined(ATTEND_FUZZ_DISPATCHED)
#include <attend/dispatch.hpp>
#endif

namespace fuzz {

std::vector<Composition>& compositions() {
    static std::vector<Composition> all;
    return all;
}

attend::detail::ExecutorRef executor_of(const Case& x) {
    static Eigen::ThreadPool pool(2);
    static auto on_pool = attend::thread_pool(pool);
#if defined(_OPENMP)
    static auto on_openmp = attend::openmp(3);
    if (x.threads == static_cast<Index>(Threads::openmp)) return on_openmp;
#endif
    if (x.threads != static_cast<Index>(Threads::serial)) return on_pool;
    return attend::serial;
}

namespace {

std::vector<Index> offsets_of(const std::vector<Index>& lengths) {
    std::vector<Index> offsets{0};
    for (const Index n : lengths) offsets.push_back(offsets.back() + n);
    return offsets;
}

template <class X>
X of(double value) {
    return static_cast<X>(value);
}

/// Operand number `what` of a case.
template <class X>
oracle::Tensor<double> drawn(const Case& x, const Wants& wants, Index rows, Index heads, Index width,
                             std::uint64_t what, Index power) {
    const bool positive = wants.positive && what <= 2;
    const bool zero = x.numbers == static_cast<Index>(Numbers::query_of_zeros) && what == 1 && !positive;
    oracle::Tensor<double> all(rows, heads, width);
    for (Index i = 0; i < rows; ++i) {
        for (Index h = 0; h < heads; ++h) {
            for (Index a = 0; a < width; ++a) {
                const double number = zero ? 0.0 : x.number_at(what, power, i, h, a);
                const double value = positive ? std::abs(number) + (x.numbers == 0 ? 0.01 : 1.0) : number;
                all(i, h, a) = static_cast<double>(of<X>(value));
            }
        }
    }
    return all;
}

/// What a masked operand holds.
double poison(const Case& x, Index i) {
    if (x.poison == 1) return std::numeric_limits<double>::quiet_NaN();
    return (x.poison == 2) == (i % 2 == 0) ? oracle::infinity : -oracle::infinity;
}

}  // namespace

template <class X>
Setup<X>::Setup(const Case& x_, const Wants& wants, const oracle::Attention& attention, PlaceKeys place_keys)
    : x(x_), cached(place_keys != nullptr) {
    oracle::precision = std::is_same_v<T, double> ? oracle::Precision{0x1p-53, 2e-282, 0x1p-53}
                                                  : oracle::Precision{0x1p-24, 4e-29, roundoff<X>()};
#if defined(ATTEND_FUZZ_DISPATCHED)
    const bool rounds_weights = attend::dispatch_level() == "avx512_bf16";
#elif defined(ATTEND_AVX512_BF16) || defined(ATTEND_ARM_BF16)
    constexpr bool rounds_weights = true;
#else
    constexpr bool rounds_weights = false;
#endif
    if (std::is_same_v<X, Eigen::bfloat16> && rounds_weights) oracle::precision.weights = roundoff<X>();
    oracle::precision.repeats = x.numbers != static_cast<Index>(Numbers::random);
    own_key_sequences = cached || !(ragged() && x.keys == x.queries);
    query_begin = offsets_of(lengths_of(x, x.queries, 11));
    Case of_keys = x;
    if (cached) of_keys.batch = static_cast<Index>(Batch::ragged);
    key_begin = own_key_sequences ? offsets_of(lengths_of(of_keys, x.keys, 12)) : query_begin;
    batch = x.batch == static_cast<Index>(Batch::strided) ? x.sequences : 1;
    query_rows = query_begin.back() / batch, key_rows = key_begin.back() / batch;
    wants_weights = x.uniform_at(13) < 0.4, wants_parameters = x.uniform_at(14) < 0.6;
    shape = {.sequences = x.sequences,
             .heads = x.heads(),
             .kv_heads = x.kv_heads,
             .queries = x.queries,
             .keys = x.keys,
             .d_q = x.d_q,
             .d_k = x.d_k,
             .d_v = x.d_v,
             .query_offset = x.offset};
    call.query_begin = query_begin, call.key_begin = key_begin, call.query_offset = x.offset;
    call.q = drawn<X>(x, wants, query_begin.back(), x.heads(), x.d_q, 1, x.q_power);
    call.k = drawn<X>(x, wants, key_begin.back(), x.kv_heads, x.d_k, 2, x.k_power);
    call.v = drawn<X>(x, wants, key_begin.back(), x.kv_heads, x.d_v, 3, x.v_power);
    call.dout = drawn<X>(x, wants, query_begin.back(), x.heads(), x.d_v, 4, 0);
    if (cached) place_keys(x, call);
    if (attention.normalizer.kind == oracle::Weights::softmax && x.uniform_at(15) < 0.3)
        call.dlse = drawn<X>(x, wants, query_begin.back(), x.heads(), 1, 5, 0);
    if (x.uniform_at(16) < 0.2) call.dweights = drawn<X>(x, wants, query_begin.back(), x.heads(), x.keys, 6, 0);
    // What no pair sees holds what nobody may look at.
    if (x.poison != 0) {
        oracle::Tensor<char> seen_query(query_begin.back(), x.heads(), 1), seen_key(key_begin.back(), x.kv_heads, 1);
        for (Index s = 0; s < x.sequences; ++s) {
            for (Index h = 0; h < x.heads(); ++h) {
                for (Index i = query_begin[oracle::at(s)]; i < query_begin[oracle::at(s + 1)]; ++i) {
                    for (Index j = key_begin[oracle::at(s)]; j < key_begin[oracle::at(s + 1)]; ++j) {
                        const Index row = i - query_begin[oracle::at(s)], key = j - key_begin[oracle::at(s)];
                        if (attention.mask(call.pair(s, h, row, key)))
                            seen_query(i, h, 0) = seen_key(j, h / x.group, 0) = 1;
                        else if (call.dweights.rows > 0)
                            call.dweights(i, h, key) = poison(x, i + key);
                    }
                }
            }
        }
        const auto hide = [&](oracle::Tensor<double>& all, const oracle::Tensor<char>& seen) {
            for (Index i = 0; i < all.rows; ++i) {
                for (Index h = 0; h < all.heads; ++h) {
                    for (Index a = 0; a < all.width && !seen(i, h, 0); ++a) all(i, h, a) = poison(x, i + a);
                }
            }
        };
        hide(call.k, seen_key), hide(call.v, seen_key), hide(call.q, seen_query), hide(call.dlse, seen_query);
    }
}

template <class X>
void Setup<X>::expect(const oracle::Attention& attention) {
    expected = oracle::run(attention, call);
    place();
}

template <class X>
void Setup<X>::place() {
    const Index heads = x.heads();
    const auto put_as = [&]<class N>(N, const oracle::Tensor<double>& all, Index rows, std::uint64_t what) {
        Placed<N> placed(batch, all.heads, rows, all.width, layout(what));
        for (Index i = 0; i < all.rows; ++i) {
            for (Index h = 0; h < all.heads; ++h) {
                for (Index a = 0; a < all.width; ++a) placed(i, h, a) = of<N>(all(i, h, a));
            }
        }
        return placed;
    };
    const auto put = [&](const oracle::Tensor<double>& all, Index rows, std::uint64_t what) {
        return put_as(X(), all, rows, what);
    };
    q = put(call.q, query_rows, 21);
    if (!cached) k = put(call.k, key_rows, 22), v = put(call.v, key_rows, 23);
    dout = put(call.dout, query_rows, 24);
    if (call.dlse.rows > 0) dlse = put_as(T(), call.dlse, query_rows, 28);
    if (call.dweights.rows > 0) dweights = put_as(T(), call.dweights, query_rows, 29);
    out = Placed<X>(batch, heads, query_rows, x.d_v, layout(25));
    weighed_out = Placed<X>(batch, heads, query_rows, x.d_v, layout(25));
    lse = Placed<T>(batch, heads, query_rows, 1, layout(26));
    weights = Placed<T>(batch, heads, query_rows, x.keys, layout(27));
    const auto begin = [&](Index rows, Index count, Index width, std::uint64_t what) {
        Placed<X> placed(batch, count, rows, width, layout(what));
        for (Index i = 0; i < batch * rows; ++i) {
            for (Index h = 0; h < count; ++h) {
                for (Index a = 0; a < width; ++a) placed(i, h, a) = of<X>(start(what, i, h, a));
            }
        }
        return placed;
    };
    dq = begin(query_rows, heads, x.d_q, 201);
    if (cached) {
        cached_dk = put_as(T(), oracle::Tensor<double>(call.k.rows, x.kv_heads, x.d_k), call.k.rows, 202);
        cached_dv = put_as(T(), oracle::Tensor<double>(call.v.rows, x.kv_heads, x.d_v), call.v.rows, 203);
    } else {
        dk = begin(key_rows, x.kv_heads, x.d_k, 202), dv = begin(key_rows, x.kv_heads, x.d_v, 203);
    }
}

template <class X>
void Setup<X>::check(Statistics& statistics) {
    // Twice what straightforward arithmetic may be wrong by, and roundings of the result; below the smallest normal
    // numbers anything near 0 will do.
    constexpr bool half = std::is_same_v<X, Eigen::half>;
    const double floor = std::is_same_v<T, double> ? 1e-290 : 1e-33;
    const auto compare = [&](const std::string& name, double got, const oracle::Number& want, double begin,
                             double stored, double most, double least, double additions, const auto& where) {
        const double right = begin + want.value;
        ++statistics.comparisons;
        if (right == got) return;
        double tolerance = 2 * want.error + least +
                           2.5 * oracle::precision.unit * (additions * std::abs(begin) + std::abs(want.value));
        if (stored > oracle::precision.unit)
            tolerance += 1.02 * stored * (std::abs(begin != 0 ? want.value : 0.0) + std::abs(right));
        if (!(tolerance < oracle::infinity) || std::abs(right) + tolerance > most) {
            ++statistics.unknown;
            return;
        }
        const double error = std::abs(got - right), share = error / tolerance;
        double& worst = statistics.worst[name];
        worst = std::max(worst, share);
        if (share <= 1) return;
        char words[256];
        std::snprintf(words, sizeof words, " is %.9g where %.9g is right, to within %.3g", got, right, tolerance);
        complain(name + where() + words);
    };
    const auto all = [&](const char* name, auto& placed, const oracle::Tensor<oracle::Number>& want,
                         std::uint64_t from) {
        using P = std::remove_cvref_t<decltype(placed(0, 0, 0))>;
        for (Index i = 0; i < want.rows; ++i) {
            for (Index h = 0; h < want.heads; ++h) {
                for (Index a = 0; a < want.width; ++a) {
                    compare(name, static_cast<double>(placed(i, h, a)), want(i, h, a),
                            from == 0 ? 0.0 : start(from, i, h, a), roundoff<P>(),
                            static_cast<double>(Eigen::NumTraits<P>::highest()),
                            half && std::is_same_v<P, X> ? 0x1p-24 : floor, 1, [&] {
                                return "(row " + std::to_string(i) + ", head " + std::to_string(h) + ", column " +
                                       std::to_string(a) + ")";
                            });
                }
            }
        }
        if (!placed.gaps_are_untouched())
            complain(std::string(name) + ": memory between or beside its elements was written");
    };
    if (expected.weights_known) {
        all("out", out, expected.out, 0);
        if (wants_weights) {
            all("out beside weights", weighed_out, expected.out, 0);
            // Of ragged sequences each has its own number of keys.
            oracle::Tensor<oracle::Number> want(expected.weights.rows, x.heads(), x.keys);
            for (Index i = 0; i < want.rows; ++i) {
                for (Index h = 0; h < want.heads; ++h) {
                    for (Index j = 0; j < std::min(want.width, expected.weights.width); ++j)
                        want(i, h, j) = expected.weights(i, h, j);
                }
            }
            all("weights", weights, want, 0);
        }
        all("lse", lse, expected.lse, 0);
        if (can_be_matrices()) all("out of matrices", matrix_out, expected.out, 0);
    }
    if (expected.weights_known && expected.gradients_known && trains) {
        all("dq", dq, expected.dq, 201);
        if (cached) {
            all("dk of a cache", cached_dk, expected.dk, 0), all("dv of a cache", cached_dv, expected.dv, 0);
        } else {
            all("dk", dk, expected.dk, 202), all("dv", dv, expected.dv, 203);
        }
        if (can_be_matrices()) {
            all("dq of matrices", matrix_dq, expected.dq, 0), all("dk of matrices", matrix_dk, expected.dk, 0);
            all("dv of matrices", matrix_dv, expected.dv, 0);
        }
        if (wants_parameters) {
            if (parameters.size() != expected.parameters.size()) complain("another number of parameters");
            // What a parameter held before takes part in as many roundings as there are terms: at random.
            const double additions = 1 + std::sqrt(static_cast<double>(x.sequences * x.heads() * x.queries * x.keys));
            for (std::size_t i = 0; i < std::min(parameters.size(), expected.parameters.size()); ++i) {
                const Parameter& p = parameters[i];
                compare("d " + p.name.substr(p.name.rfind('.') + 1), p.value, expected.parameters[i], p.start,
                        p.roundoff,
                        half && p.roundoff > 1e-5 ? 65504.0 : static_cast<double>(std::numeric_limits<T>::max()),
                        half && p.roundoff > 1e-5 ? 0x1p-24 : floor, additions,
                        [&] { return "[" + std::to_string(i) + " of all parameters]"; });
            }
        }
    } else if (trains) {
        ++statistics.unknown;
    }
    ++statistics.cases;
}

std::string check_oracle(const Composition& composition, const Case& x) {
    oracle::precision = {0x1p-53, 2e-282, 0x1p-53, false};
    oracle::Call call;
    call.query_begin = {0, x.queries}, call.key_begin = {0, x.keys}, call.query_offset = x.offset;
    call.q = drawn<double>(x, composition.wants, x.queries, x.heads(), x.d_q, 1, 0);
    call.k = drawn<double>(x, composition.wants, x.keys, x.kv_heads, x.d_k, 2, 0);
    call.v = drawn<double>(x, composition.wants, x.keys, x.kv_heads, x.d_v, 3, 0);
    call.dout = drawn<double>(x, composition.wants, x.queries, x.heads(), x.d_v, 4, 0);
    if (composition.place_keys != nullptr) composition.place_keys(x, call);
    const oracle::Attention attention = composition.oracle(x);
    if (attention.normalizer.kind == oracle::Weights::softmax)
        call.dlse = drawn<double>(x, composition.wants, x.queries, x.heads(), 1, 5, 0);
    call.dweights = drawn<double>(x, composition.wants, x.queries, x.heads(), x.keys, 6, 0);
    const oracle::Result right = oracle::run(attention, call);
    if (!right.weights_known || !right.gradients_known) return "";
    constexpr double step = 1e-5;
    std::string wrong;
    const auto compare = [&](const char* name, double difference, double gradient) {
        if (std::abs(difference - gradient) <= 1e-6 * (1 + std::abs(gradient) + std::abs(right.loss))) return;
        wrong += std::string(name) + ": the loss rises by " + std::to_string(difference) + ", not by " +
                 std::to_string(gradient) + "; ";
    };
    const auto direction = [&](const char* name, oracle::Tensor<double>& operand,
                               const oracle::Tensor<oracle::Number>& gradient) {
        const oracle::Tensor<double> kept = operand;
        double losses[2], along = 0;
        for (const int side : {0, 1}) {
            for (std::size_t i = 0; i < kept.all.size(); ++i) {
                const double way = uniform(7, i) - 0.5;
                operand.all[i] = kept.all[i] + (side == 0 ? -step : step) * way;
                if (side == 0) along += way * gradient.all[i].value;
            }
            losses[side] = oracle::run(composition.oracle(x), call).loss;
        }
        operand = kept;
        compare(name, (losses[1] - losses[0]) / (2 * step), along);
    };
    direction("q", call.q, right.dq), direction("k", call.k, right.dk), direction("v", call.v, right.dv);
    double losses[2], along = 0;
    for (const int side : {0, 1}) {
        Case nudged = x;
        nudged.nudge = side == 0 ? -step : step;
        losses[side] = oracle::run(composition.oracle(nudged), call).loss;
    }
    for (const oracle::Number& d : right.parameters) along += d.value;
    compare("parameters", (losses[1] - losses[0]) / (2 * step), along);
    return wrong;
}

template struct Setup<float>;
template struct Setup<double>;
template struct Setup<Eigen::half>;
template struct Setup<Eigen::bfloat16>;

}  // namespace fuzz
