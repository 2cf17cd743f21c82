// expect: attend: this score has map_queries that does not fit
#include <attend/attend.hpp>

using namespace attend;

struct Doubled {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

#ifdef ATTEND_TEST_VALID
    void map_queries(const auto& q, auto& mapped) const {
        mapped = 2 * q.template cast<typename std::remove_cvref_t<decltype(mapped)>::Scalar>();
    }
#else
    Eigen::MatrixXf map_queries(const auto& q) const { return 2 * q.template cast<float>(); }
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return Attention(Doubled{})(x, x, x); }
