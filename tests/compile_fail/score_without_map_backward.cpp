// expect: attend: this score has map_queries, but no map_queries_backward that fits
#include <attend/attend.hpp>

using namespace attend;

struct Doubled {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

    void map_queries(const auto& q, auto& mapped) const {
        mapped = 2 * q.template cast<typename std::remove_cvref_t<decltype(mapped)>::Scalar>();
    }
#ifdef ATTEND_TEST_VALID
    void map_queries_backward(const auto&, const auto& dmapped, auto& dq, Doubled*) const {
        dq += 2 * dmapped.template cast<typename std::remove_cvref_t<decltype(dq)>::Scalar>();
    }
#endif
};

void step(const Eigen::MatrixXf& x, const Eigen::VectorXf& lse, Eigen::MatrixXf& dx) {
    Eigen::MatrixXf out, dk, dv;
    Attention(Doubled{}).backward(x, x, x, out, lse, out, dx, dk, dv);
}
