#pragma once
/// \file
/// The caches of the differential tests: each made for a case, filled by a random history, and read back as numbers.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <attend/attend.hpp>

#include <fuzz/case.hpp>

namespace fuzz {

/// By how much of the largest number of its row a number may change when it is held; the last two bits of `Float8` and
/// below are of that largest one too.
template <class T, class Stored>
constexpr double most_change() {
    return std::is_same_v<Stored, T>                    ? 0
           : std::is_same_v<Stored, Eigen::half>        ? 0x1p-11
           : std::is_same_v<Stored, Eigen::bfloat16>    ? 0x1p-8
           : std::is_same_v<Stored, std::int8_t>        ? 1.0 / 254
           : std::is_same_v<Stored, attend::Float8E4M3> ? 1.0 / 16
           : std::is_same_v<Stored, attend::Float8E5M2> ? 1.0 / 8
                                                        : 1.0 / 6;
}
template <class Stored>
constexpr const char* name_of_stored() {
    return std::is_same_v<Stored, float>                ? "float"
           : std::is_same_v<Stored, double>             ? "double"
           : std::is_same_v<Stored, Eigen::half>        ? "half"
           : std::is_same_v<Stored, Eigen::bfloat16>    ? "bfloat16"
           : std::is_same_v<Stored, std::int8_t>        ? "int8"
           : std::is_same_v<Stored, attend::Float8E4M3> ? "E4M3"
           : std::is_same_v<Stored, attend::Float8E5M2> ? "E5M2"
                                                        : "int4";
}

/// Room for tokens that are forgotten again.
inline constexpr Index spare_keys = 20;

/// Of a cache that keeps all tokens.
struct KeepsAll {
    static Index gone(const Case&, Index, Index) { return 0; }
    static Index first_keys(const Case&) { return 0; }
};

/// Each of these makes the cache of a case, and says how many tokens of a sequence with so many keys are gone, and
/// behind how many of its first keys they were.
template <class T_, class Stored_>
struct Kv : KeepsAll {
    using T = T_;
    using Stored = Stored_;
    static constexpr const char* name = "KvCache";

    attend::KvCache<T, Stored> cache;
    explicit Kv(const Case& x)
        : cache({.heads = x.kv_heads,
                 .d_k = x.d_k,
                 .d_v = x.d_v,
                 .capacity = x.keys + spare_keys,
                 .sequences = x.sequences,
                 .latent = x.d_v <= x.d_k && x.uniform_at(301) < 0.25}) {}
};

template <class T_, class Stored_>
struct Paged : KeepsAll {
    using T = T_;
    using Stored = Stored_;
    static constexpr const char* name = "PagedCache";

    attend::PagePool<T, Stored> pool;
    attend::PagedCache<T, Stored> cache;
    explicit Paged(const Case& x)
        : pool({.heads = x.kv_heads,
                .d_k = x.d_k,
                .d_v = x.d_v,
                .pages = 2 * x.sequences * ((x.keys + spare_keys) / page_keys(x) + 1),
                .page_keys = page_keys(x)}),
          cache(pool, {.sequences = x.sequences, .capacity = x.keys + spare_keys}) {}
    static Index page_keys(const Case& x) {
        constexpr std::array<Index, 6> sizes{1, 5, 16, 32, 48, 128};
        return sizes[static_cast<std::size_t>(6 * x.uniform_at(302))];
    }
};

template <class T_, class Stored_>
struct Ring {
    using T = T_;
    using Stored = Stored_;
    static constexpr const char* name = "RingCache";

    attend::RingCache<T, Stored> cache;
    explicit Ring(const Case& x)
        : cache({.heads = x.kv_heads,
                 .d_k = x.d_k,
                 .d_v = x.d_v,
                 .keys = std::max<Index>(1, x.keys - first_keys(x)),
                 .sinks = first_keys(x),
                 .sequences = x.sequences}) {}
    static Index gone(const Case& x, Index sequence, Index keys) {
        const double p = x.uniform_at(303, sequence);
        return keys == 0 || keys < x.keys || p < 0.3 ? 0 : static_cast<Index>(p * static_cast<double>(3 * keys));
    }
    /// Fewer than there are keys.
    static Index first_keys(const Case& x) {
        return x.uniform_at(304) < 0.4 ? 0 : std::min(std::max<Index>(0, x.keys - 1), 1 + x.keys / 8);
    }
};

/// The keys' positions, and those of the queries at the latest of them.
template <class Held>
void place_keys(const Case& x, oracle::Call& call) {
    for (std::size_t s = 0; s + 1 < call.key_begin.size(); ++s) {
        const Index keys = call.key_begin[s + 1] - call.key_begin[s];
        const Index gone = Held::gone(x, static_cast<Index>(s), keys);
        for (Index j = 0; j < keys; ++j) call.key_positions.push_back(j < Held::first_keys(x) ? j : j + gone);
        call.query_offsets.push_back(std::max<Index>(0, keys + gone - (call.query_begin[s + 1] - call.query_begin[s])));
    }
}

/// Fills a cache with the keys and values of a call: the sequences in turn, each piece by piece, with tokens that go
/// again, and with beginnings that one has from another.
template <class Held>
class History {
    using T = typename Held::T;
    using Rows = attend::RowMatrix<T>;
    static constexpr Index other = -1;  ///< a token that is none of the call's

public:
    History(const Case& x, Held& held, oracle::Call& call)
        : case_(x), cache_(held.cache), call_(call), draw_(x.seed + 0x51ed) {
        if constexpr (requires { cache_.shape().latent; }) latent_ = cache_.shape().latent;
        for (std::size_t s = 0; s + 1 < call.key_begin.size(); ++s) {
            const Index begin = call.key_begin[s], keys = call.key_begin[s + 1] - begin;
            std::vector<Index>& stream = streams_.emplace_back();
            for (Index j = 0; j < keys; ++j) {
                if (j == Held::first_keys(x))
                    stream.insert(stream.end(), oracle::at(Held::gone(x, static_cast<Index>(s), keys)), other);
                stream.push_back(begin + j);
            }
        }
        done_.assign(streams_.size(), 0);
    }
    void run() {
        begin_alike();
        std::vector<Index> open;
        do {
            open.clear();
            for (Index s = 0; s < std::ssize(streams_); ++s) {
                if (done_[oracle::at(s)] < std::ssize(streams_[oracle::at(s)])) open.push_back(s);
            }
            if (!open.empty()) grow(open[oracle::at(draw_.index(0, std::ssize(open) - 1))]);
        } while (!open.empty());
    }

private:
    void grow(Index s) {
        const std::vector<Index>& stream = streams_[oracle::at(s)];
        Index& done = done_[oracle::at(s)];
        if constexpr (requires { cache_.truncate(done, s); }) {
            if (draw_.chance(0.3)) {
                append(std::vector<Index>(oracle::at(draw_.index(1, spare_keys)), other), s);
                cache_.truncate(done, s);
            }
        }
        Index piece = std::min(draw_.one_of(1, 3, 16, 70, 1000), std::ssize(stream) - done);
        if constexpr (requires { cache_.shape().sinks; }) piece = std::min(piece, cache_.shape().keys);
        append({stream.begin() + done, stream.begin() + done + piece}, s);
        done += piece;
    }
    /// Some sequences are what the one before them is, but for what follows.
    void begin_alike() {
        if (case_.poison != 0) return;  // what one must not look at, the other may
        const auto take = [&](Index from, Index to) {
            if constexpr (requires { cache_.fork(from, to); }) {
                cache_.fork(from, to);
            } else if constexpr (requires { cache_.copy(from, to); }) {
                cache_.copy(from, to);
            }
        };
        if constexpr (requires { cache_.truncate(Index(), Index()); }) {
            for (Index s = 1; s < std::ssize(streams_); ++s) {
                if (!draw_.chance(0.4)) continue;
                const std::vector<Index>&before = streams_[oracle::at(s - 1)], &stream = streams_[oracle::at(s)];
                Index& done = done_[oracle::at(s - 1)];
                while (done < std::ssize(before)) grow(s - 1);
                const Index same = draw_.index(0, std::min(std::ssize(before), std::ssize(stream)));
                take(s - 1, s);
                cache_.truncate(same, s);
                for (Index j = 0; j < same; ++j) {
                    copy_row(call_.k, before[oracle::at(j)], stream[oracle::at(j)]);
                    copy_row(call_.v, before[oracle::at(j)], stream[oracle::at(j)]);
                }
                done_[oracle::at(s)] = same;
            }
        }
    }
    static void copy_row(oracle::Tensor<double>& all, Index from, Index to) {
        const Index width = all.heads * all.width;
        std::copy_n(all.all.begin() + from * width, width, all.all.begin() + to * width);
    }
    void append(const std::vector<Index>& tokens, Index s) {
        const auto rows = [&](const oracle::Tensor<double>& all) {
            return Rows(Rows::NullaryExpr(std::ssize(tokens), all.heads * all.width, [&](Index i, Index a) {
                const Index token = tokens[oracle::at(i)];
                if (token == other) return case_.poison == 0 ? T(3) : std::numeric_limits<T>::quiet_NaN();
                return static_cast<T>(all(token, a / all.width, a % all.width));
            }));
        };
        if constexpr (requires { cache_.append(rows(call_.k), s); }) {
            if (latent_) return cache_.append(rows(call_.k), s);
        }
        cache_.append(rows(call_.k), rows(call_.v), s);
    }

    const Case& case_;
    std::remove_reference_t<decltype(std::declval<Held&>().cache)>& cache_;
    oracle::Call& call_;
    Draw draw_;
    bool latent_ = false;
    std::vector<std::vector<Index>> streams_;  ///< all tokens of a sequence: rows of the call's k and v
    std::vector<Index> done_;                  ///< so many of them have been appended
};

/// Replaces numbers by what a cache holds for them. Says what is wrong with that, or nothing.
template <class Held>
std::string read_back(const Held& held, oracle::Call& call) {
    using T = typename Held::T;
    const auto& cache = held.cache;
    std::string wrong;
    bool latent = false;
    if constexpr (requires { cache.shape().latent; }) latent = cache.shape().latent;
    std::vector<T> room(oracle::at(std::max(call.k.width, call.v.width)));
    // What is put may be a part of what is held beside it.
    const auto replace = [&](oracle::Tensor<double>& all, Index row, Index head, const attend::RowBlock<T>& from,
                             const std::vector<double>& put) {
        constexpr double share = most_change<T, typename Held::Stored>();
        double most = 0;
        for (const double x : put) most = std::isnan(x) ? oracle::infinity : std::max(most, std::abs(x));
        const double change = share == 0 ? 0 : (share + 0x1p-22) * most + 0x1p-25;
        for (Index a = 0; a < all.width; ++a) {
            const double right = put[oracle::at(a)], got = static_cast<double>(from.row(0)[a]);
            if (std::isfinite(most) && !(std::abs(got - right) <= change))
                wrong = "the cache holds " + std::to_string(got) + " for " + std::to_string(right) + " of row " +
                        std::to_string(row);
            all(row, head, a) = got;
        }
    };
    for (Index s = 0; s < cache.sequences(); ++s) {
        const Index begin = call.key_begin[oracle::at(s)], keys = call.key_begin[oracle::at(s + 1)] - begin;
        if (cache.keys(s) != keys) return "the cache holds another number of keys";
        for (Index h = 0; h < cache.heads(); ++h) {
            for (Index j = 0; j < keys; ++j) {
                const std::vector<double> key = call.k.line(begin + j, h);
                replace(call.k, begin + j, h, cache.key_rows(s, h, j, 1, room.data()), key);
                replace(call.v, begin + j, h, cache.value_rows(s, h, j, 1, room.data()),
                        latent ? key : call.v.line(begin + j, h));
            }
        }
    }
    return wrong;
}

}  // namespace fuzz
