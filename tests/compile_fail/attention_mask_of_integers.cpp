// expect: attend: torch_attn_mask takes booleans, true where a pair is absent, or floating-point numbers that are added
#include <attend/interchange/torch_masks.hpp>

inline auto mask(const Eigen::MatrixXi& absent) {
#ifdef ATTEND_TEST_VALID
    return attend::torch_attn_mask(absent.cast<bool>());
#else
    return attend::torch_attn_mask(absent);
#endif
}
