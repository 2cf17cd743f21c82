#include <attend/mixer/key_gates.hpp>

#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_key_gates {

TEST_CASE("each head's key stands before its decay and its beta, and comes apart again") {
    Random random(1);
    const auto k = random_matrix<double>(random, 5, 6), by_head = random_matrix<double>(random, 5, 2),
               by_feature = random_matrix<double>(random, 5, 6), beta = random_matrix<double>(random, 5, 2);
    const RowMatrix<double> none;
    const auto check = [&](const LinearAttention& mixer, const RowMatrix<double>& decay, const RowMatrix<double>& b) {
        const RowMatrix<double> keys = join_keys(mixer, k, decay, b, 2);
        const Index width = mixer.key_width(3), decays = decay.cols() / 2;
        REQUIRE(keys.cols() == 2 * width);
        for (Index h = 0; h < 2; ++h) {
            const auto head = keys.middleCols(h * width, width);
            CHECK(same_bits(head.leftCols(3), k.middleCols(h * 3, 3)));
            if (decays > 0) CHECK(same_bits(head.middleCols(3, decays), decay.middleCols(h * decays, decays)));
            if (b.size() > 0) CHECK(same_bits(head.rightCols(1), b.col(h)));
        }
        const auto apart = split_keys(mixer, keys, 3, 2);
        CHECK((same_bits(apart.k, k) && distance(apart.decay.reshaped(), decay.reshaped()) == 0 &&
               distance(apart.beta.reshaped(), b.reshaped()) == 0));
    };
    check({}, none, none);
    check({.decay = Decay::head}, by_head, none);
    check({.decay = Decay::feature}, by_feature, none);
    check({.delta = true}, none, beta);
    check({.decay = Decay::head, .delta = true}, by_head, beta);
    check({.decay = Decay::feature, .delta = true}, by_feature, beta);
}

TEST_CASE("keys and gates that do not fit are refused by name") {
    const LinearAttention mixer{.decay = Decay::feature, .delta = true};
    const RowMatrix<double> k = RowMatrix<double>::Ones(4, 6), beta = RowMatrix<double>::Ones(4, 2), none;
    CHECK(refusal([&] { join_keys(mixer, k, beta, beta, 2); }) ==
          "join_keys: decay (4x2) must be 4x6 to go with k (4x6)");
    CHECK(refusal([&] { join_keys(mixer, k, k, none, 2); }) == "join_keys: beta (0x0) must be 4x2 to go with k (4x6)");
    CHECK(refusal([&] { join_keys(LinearAttention{}, k, k, none, 2); }) ==
          "join_keys: decay (4x6) must be 0x0 to go with k (4x6)");
    CHECK(refusal([&] { join_keys(mixer, k, k, beta, 4); }) == "k has 6 columns, which 4 heads do not divide");
    CHECK(refusal([&] { split_keys(mixer, k, 3, 2); }) ==
          "split_keys: keys (4x6) must have 14 columns, of 2 heads with 3 features");
    CHECK(refusal([&] { split_keys(mixer, k, 3, 0); }) == "k has 0 columns, which 0 heads do not divide");
}

}  // namespace test_key_gates
