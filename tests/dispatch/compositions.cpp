// Random cases of dispatched attentions against the oracle of the differential tests: every chain of modifiers that is
// served, with either normalizer, and masks of every kind.
#include <attend/dispatch.hpp>

#include <fuzz/run_case.hpp>

namespace {

using namespace fuzz;
using attend::dispatched;

inline constexpr Wants any{}, shifted{.shifts = true};

template <class X>
void add_all() {
    add<X>("dot", any, [](auto& m) { return dispatched(m.dot()); });
    add<X>("scaled>>causal", any, [](auto& m) { return dispatched(m.scaled() >> m.mask(m.causal())); });
    add<X>("scaled by>>cap>>causal&documents", any, [](auto& m) {
        auto a = m.scaled_by(0.5) >> m.soft_cap();
        return dispatched(a >> m.mask(m.causal() & m.documents()));
    });
    add<X>("scaled>>alibi>>lengths>>sink", any, [](auto& m) {
        auto a = m.scaled() >> m.alibi();
        auto b = a >> m.mask(m.lengths());
        return dispatched(b >> m.sink());
    });
    add<X>("dot>>bias>>dense mask", shifted, [](auto& m) {
        auto a = m.dot() >> m.template bias<attend::Compute<X>>();
        return dispatched(a >> m.mask(m.dense_mask()));
    });
    add<X>("scaled>>cap>>alibi of heads>>two-sided window", any, [](auto& m) {
        auto a = m.scaled() >> m.soft_cap();
        auto b = a >> m.alibi_of_heads();
        return dispatched(b >> m.mask(m.two_sided_window()));
    });
    add<X>("scaled>>cap>>bias of heads>>causal&window>>sink of heads", any, [](auto& m) {
        auto a = m.scaled() >> m.soft_cap();
        auto b = a >> m.template bias<attend::Compute<X>>(true);
        auto c = b >> m.mask(m.causal() & m.window());
        return dispatched(c >> m.sink_of_heads());
    });
    add<X>("scaled>>alibi of heads>>bias>>causal|prefix", any, [](auto& m) {
        auto a = m.scaled() >> m.alibi_of_heads();
        auto b = a >> m.template bias<attend::Compute<X>>();
        return dispatched(b >> m.mask(m.causal() | m.prefix()));
    });
    add<X>("scaled>>cap>>alibi>>bias>>dense mask&causal&lengths>>sink", shifted, [](auto& m) {
        auto a = m.scaled() >> m.soft_cap();
        auto b = a >> m.alibi();
        auto c = b >> m.template bias<attend::Compute<X>>();
        auto d = c >> m.mask(m.dense_mask() & m.causal() & m.lengths());
        return dispatched(d >> m.sink());
    });
    add<X>("dot>>documents", any, [](auto& m) { return dispatched(m.dot() >> m.mask(m.documents())); });
    add<X>("scaled>>lengths&documents&window", any,
           [](auto& m) { return dispatched(m.scaled() >> m.mask(m.lengths() & m.documents() & m.window())); });
    add<X>("scaled>>cap>>causal&lengths", any, [](auto& m) {
        auto a = m.scaled() >> m.soft_cap();
        return dispatched(a >> m.mask(m.causal() & m.lengths()));
    });
    add<X>("scaled>>odd keys&documents>>sink", any, [](auto& m) {
        auto a = m.scaled() >> m.mask(m.odd_keys() & m.documents());
        return dispatched(a >> m.sink());
    });
}

const bool added = (add_all<float>(), add_all<double>(), add_all<Eigen::bfloat16>(), add_all<Eigen::half>(), true);

}  // namespace
