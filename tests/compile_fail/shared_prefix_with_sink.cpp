// expect: attend: a shared prefix takes attentions by softmax: a sink would count twice
#include <attend/attend.hpp>

using namespace attend;

#ifdef ATTEND_TEST_VALID
inline const auto attention = dot_product >> causal;
#else
inline const auto attention = dot_product >> causal >> softmax_with_sink(0.5);
#endif

inline void answer(const RowMatrix<float>& q, const KvCache<float>& prompt, const KvCache<float>& answers,
                   RowMatrix<float>& y) {
    SharedPrefix<float>()(attention, q, prompt, answers, y);
}
