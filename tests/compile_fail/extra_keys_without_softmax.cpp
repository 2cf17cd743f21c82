// expect: attend: torch_extra_keys stand beside those of a scaled dot product by softmax
#include <attend/attend.hpp>
#include <attend/interchange/torch_extra_keys.hpp>

using namespace attend;

inline auto extra_keys() {
#ifdef ATTEND_TEST_VALID
    return torch_extra_keys<float>(scaled_dot_product >> causal, {.zero_attn = true});
#else
    return torch_extra_keys<float>(scaled_dot_product >> causal >> sparsemax, {.zero_attn = true});
#endif
}
