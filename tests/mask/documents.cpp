#include <attend/mask/documents.hpp>

#include <support/call.hpp>
#include <support/catch.hpp>
#include <support/covers.hpp>

using namespace attend;
using namespace attend::test;

namespace test_documents {

TEST_CASE("pairs within one document are kept") {
    const Documents mask = documents({2, 5, 5, 9});
    const auto document_of = [](Index position) {
        return position < 2 ? -1 : position < 5 ? 0 : position < 9 ? 2 : -1;
    };
    for (Index query = -2; query < 12; ++query) {
        for (Index key = 0; key < 12; ++key) {
            CHECK(mask({.query = query, .key = key}) ==
                  (document_of(query) >= 0 && document_of(query) == document_of(key)));
        }
    }
}

TEST_CASE("tiles within one document and tiles apart from all are known exactly") {
    const Documents mask = documents({0, 4, 16, 20});
    CHECK(mask.cover({.query_begin = 5, .query_end = 9, .key_begin = 4, .key_end = 16}) == Cover::all);
    CHECK(mask.cover({.query_begin = 5, .query_end = 9, .key_begin = 3, .key_end = 16}) == Cover::some);
    CHECK(mask.cover({.query_begin = 5, .query_end = 9, .key_begin = 16, .key_end = 20}) == Cover::none);
    CHECK(mask.cover({.query_begin = 5, .query_end = 9, .key_begin = 0, .key_end = 4}) == Cover::none);
    CHECK(mask.cover({.query_begin = 20, .query_end = 30, .key_begin = 0, .key_end = 40}) == Cover::none);
    CHECK(mask.cover({.query_begin = -4, .query_end = 0, .key_begin = 0, .key_end = 40}) == Cover::none);
}

TEST_CASE("packed documents are as many calls") {
    const Layout packed{.queries = 7, .keys = 7};
    const Operands<double> x = random_operands(packed, 1);
    Operands<double> ragged = x;
    ragged.layout.sequences = ragged.layout.key_sequences = {0, 3, 7};
    CHECK(distance(forward(dot_product >> documents({0, 3, 7}), x).out, forward(dot_product, ragged).out) < 1e-15);
}

}  // namespace test_documents
