// expect: attend: torch_key_padding_mask takes booleans, true where a key is absent
#include <attend/interchange/torch_masks.hpp>

inline auto mask(const Eigen::MatrixXf& absent) {
#ifdef ATTEND_TEST_VALID
    return attend::torch_key_padding_mask(absent.array() > 0.f);
#else
    return attend::torch_key_padding_mask(absent);
#endif
}
