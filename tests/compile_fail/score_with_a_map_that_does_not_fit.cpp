// expect: attend: this score has map_keys that does not fit
#include <attend/attend.hpp>

using namespace attend;

struct Doubled {
    static constexpr Kind kind = Kind::score;
    static constexpr Pairing pairing = Pairing::dot;

#ifdef ATTEND_TEST_VALID
    void map_keys(const auto& k, auto& mapped) const {
        mapped = 2 * k.template cast<typename std::remove_cvref_t<decltype(mapped)>::Scalar>();
    }
#else
    Eigen::MatrixXf map_keys(const auto& k) const { return 2 * k.template cast<float>(); }
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return Attention(Doubled{})(x, x, x); }
