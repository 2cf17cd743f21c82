// expect: attend: workspace_bytes of a block asks that of its mixer, which this one lacks
#include <attend/attend.hpp>

using namespace attend;

struct Nothing {
    void operator()(const auto&, const auto&, const auto&, auto&&, const auto&) const {}
    void backward(const auto&, const auto&, const auto&, const auto&, const auto&, const auto&, auto&&, auto&&, auto&&,
                  const auto&) const {}
};

#ifdef ATTEND_TEST_VALID
using Mix = ScaledDotProductAttention;
#else
using Mix = Nothing;
#endif

std::size_t need_of(const MultiHeadAttention<float, Mix>& block) {
    return block.workspace_bytes({.queries = 1, .keys = 9});
}
