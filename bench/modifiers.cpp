// What modifiers cost, as `times_plain`: over plain attention; of many queries, and of one, as a decoder has it.

#include <attention_benchmark.hpp>

namespace attend::bench {
namespace {

constexpr Index n = 1024;

/// `edit(scores)` is the modifier as an Eigen expression on the whole matrix; the rows are those of the queries.
template <class Modifier, class Edit>
void add(const std::string& name, const Modifier& modifier, const Edit& edit) {
    const auto scores = [edit](const auto& q, const auto& k, const Rows& rows) {
        auto s = scaled_dot_scores(q, k, rows);
        edit(s, rows);
        return s;
    };
    const auto make = [] { return Operands<float>({.queries = n, .keys = n, .d_q = 64, .d_k = 64, .d_v = 64}); };
    const auto attention = scaled_dot_product >> modifier;
    add_pair("modifier", name, make, attention, scores, report_times_plain(attention));
    const auto make_one = [] {
        return Operands<float>({.heads = 4, .kv_heads = 4, .queries = 1, .keys = 256, .d_q = 16, .d_k = 16, .d_v = 16});
    };
    if (!name.ends_with("bias"))
        add_pair("one_query", name, make_one, attention, scores, report_times_plain(attention));
}

const bool added = [] {
    add("soft_cap", soft_cap(30.0), [](auto& s, const Rows&) {
        const typename std::decay_t<decltype(s)>::Scalar cap(30);
        s = cap * (s.array() / cap).tanh();
    });
    add("alibi", alibi(0.125), [](auto& s, const Rows& rows) {
        using T = typename std::decay_t<decltype(s)>::Scalar;
        const auto positions = Eigen::Map<const ColumnVector<Index>>(rows.data(), s.rows()).template cast<T>();
        s.colwise() -= (T(0.125) * positions).eval();
        s.rowwise() +=
            (T(0.125) * Eigen::RowVector<T, Eigen::Dynamic>::LinSpaced(s.cols(), T(0), T(s.cols() - 1))).eval();
    });
    Random random(2);
    const auto values = random_matrix<Matrix<float>>(n, n, random);
    add("bias", bias(values), [values](auto& s, const Rows& rows) {
        using T = typename std::decay_t<decltype(s)>::Scalar;
        s.rows() == n ? s += values.template cast<T>() : s += picked<T>(values, rows);
    });
    const Eigen::VectorXf by_row = values.col(0), by_column = values.row(0).transpose();
    add("row_column_bias", row_column_bias(by_row, by_column), [by_row, by_column](auto& s, const Rows& rows) {
        using T = typename std::decay_t<decltype(s)>::Scalar;
        for (Index i = 0; i < s.rows(); ++i) s.row(i).array() += T(by_row[rows[static_cast<std::size_t>(i)]]);
        s.rowwise() += by_column.template cast<T>().transpose();
    });
    add("polynomial", modifier([](auto s, auto) { return s - decltype(s)(0.01f) * s * s * s; }),
        [](auto& s, const Rows&) {
            using T = typename std::decay_t<decltype(s)>::Scalar;
            s = s.array() - T(0.01f) * s.array().cube();
        });
    return true;
}();

}  // namespace
}  // namespace attend::bench
