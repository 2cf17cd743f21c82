// expect: attend: this normalizer has a logit that does not fit
#include <attend/attend.hpp>

using namespace attend;

struct Sink : Softmax {
#ifdef ATTEND_TEST_VALID
    double logit(Index) const { return 0.5; }
#else
    double logit() const { return 0.5; }
#endif
};

Eigen::MatrixXf attend_to(const Eigen::MatrixXf& x) { return (dot_product >> Sink{})(x, x, x); }
