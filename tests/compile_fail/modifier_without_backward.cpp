// expect: attend: this modifier has parameters, but no backward that adds their gradients
#include <attend/attend.hpp>

using namespace attend;

struct Shift {
    static constexpr Kind kind = Kind::modifier;
    double shift = 0;

    static void parameters(auto& self, auto&& visit) { visit("shift", self.shift); }
    auto operator()(auto s, const auto&) const { return s + decltype(s)(shift); }
#ifdef ATTEND_TEST_VALID
    void backward(auto, const auto&, auto ds_out, Shift& gradient) const {
        gradient.shift += static_cast<double>(sum(ds_out));
    }
#else
    void backward(auto, const auto&, auto ds_out, Shift& gradient) {  // not const
        gradient.shift += static_cast<double>(sum(ds_out));
    }
#endif
};

void step(const Eigen::MatrixXf& x, const Eigen::VectorXf& lse, Eigen::MatrixXf& dx) {
    const auto attention = scaled_dot_product >> Shift{};
    Eigen::MatrixXf out, dk, dv;
    attention.backward(x, x, x, out, lse, out, dx, dk, dv);
}
