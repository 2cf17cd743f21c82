// expect: attend: states are of attentions by softmax: a sink would count once for every part
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline const auto attention = dot_product >> causal;
#else
inline const auto attention = dot_product >> causal >> softmax_with_sink(0.5);
#endif

inline Eigen::MatrixXf whole(const Eigen::MatrixXf& x) { return attention.state(x, x, x).output; }
