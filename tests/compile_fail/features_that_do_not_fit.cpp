// expect: attend: this score has features that do not fit
#include <attend/attend.hpp>

using namespace attend;

struct Halved {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

#ifdef ATTEND_TEST_VALID
    Index features(Index d_q, Index) const { return d_q / 2; }
#else
    Index features() const { return 2; }
#endif
    void map_queries(const auto& q, auto& mapped) const { first_half(q, mapped); }
    void map_keys(const auto& k, auto& mapped) const { first_half(k, mapped); }

private:
    static void first_half(const auto& x, auto& mapped) {
        using T = typename std::remove_cvref_t<decltype(mapped)>::Scalar;
        mapped = x.leftCols(mapped.cols()).template cast<T>();
    }
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return Attention(Halved{})(x, x, x); }
