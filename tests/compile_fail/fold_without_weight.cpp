// expect: attend: this normalizer has a take, but is no fold: it needs State<P>, take, merge, factor, lse and weight
#include <attend/attend.hpp>

using namespace attend;

struct Sum : Softmax {
    template <class P>
    P take(auto& scores, State<P>& row, Index head) const {
        return Softmax::take(scores, row, head);
    }
#ifndef ATTEND_TEST_VALID
    void weight() const {}
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return (dot_product >> Sum{})(x, x, x); }
