// Parameters of attentions and blocks to files and back, under names of their own and of others.

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <tuple>
#include <vector>

#include <attend/attend.hpp>
#include <attend/interchange/safetensors.hpp>
#include <support/catch.hpp>
#include <support/compare.hpp>
#include <support/random.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_safetensors {
namespace {

template <class Value>
std::string saved(const Value& value, const TensorNames& names = {}) {
    std::ostringstream bytes;
    save_safetensors(static_cast<std::ostream&>(bytes), value, names);
    return bytes.str();
}
template <class Value>
void load(const std::string& bytes, Value& value, const TensorNames& names = {}) {
    load_safetensors(std::as_bytes(std::span(bytes)), value, names);
}
Safetensors opened(const std::string& bytes) { return Safetensors(std::as_bytes(std::span(bytes))); }

/// A block whose attention has a number, a vector and a matrix.
template <class T>
auto block_of(std::uint64_t seed, bool bias = true) {
    Random random(seed);
    const auto attention = scaled_dot_product >> alibi(Eigen::Vector2d(random.uniform(), random.uniform())) >>
                           soft_cap(static_cast<float>(1 + random.uniform())) >>
                           attend::bias(random_matrix<float>(random, 3, 3)) >> causal;
    auto block = multi_head<T>({.d_model = 6, .heads = 2, .kv_heads = 1, .bias = bias}, attention, seed);
    visit_parameters(block, [&](std::string_view, auto& parameter) {
        using S = typename std::remove_reference_t<decltype(parameter)>::Scalar;
        for (Index i = 0; i < parameter.size(); ++i) parameter(i) = static_cast<S>(random.uniform());
    });
    return block;
}
template <class Value>
void check_same(const Value& a, const Value& b) {
    std::vector<std::string> names;
    std::vector<RowMatrix<double>> values;
    visit_parameters(a, [&](std::string_view name, auto& parameter) {
        names.emplace_back(name), values.push_back(parameter.template cast<double>());
    });
    std::size_t i = 0;
    visit_parameters(b, [&](std::string_view name, auto& parameter) {
        INFO(name);
        CHECK(names[i] == name);
        CHECK(same_bits(values[i++], parameter.template cast<double>()));
    });
    CHECK(i == names.size());
    CHECK(i > 0);
}

/// A value with one of each.
struct Plain {
    Eigen::MatrixXf weight = (Eigen::MatrixXf(2, 3) << 1, 2, 3, 4, 5, 6).finished();
    Eigen::Vector2d vector{0.5, -1};
    double number = 2;

    static void parameters(auto& self, auto&& visit) {
        visit("weight", self.weight), visit("vector", self.vector), visit("number", self.number);
    }
};

/// The block as a part of a model.
struct Whole {
    decltype(block_of<double>(0)) block = block_of<double>(1);
    Plain norm{};
    Eigen::VectorXf frequencies = Eigen::VectorXf::Ones(2);

    static void parameters(auto& self, auto&& visit) {
        visit("block", self.block), visit("norm", self.norm), visit("frequencies", self.frequencies);
    }
};
struct Twins {
    Eigen::Vector2f a{1, 2}, b{3, 4};

    static void parameters(auto& self, auto&& visit) { visit("w", self.a), visit("w", self.b); }
};

}  // namespace

TEMPLATE_TEST_CASE("what is saved is loaded, to the bit", "", float, double, Eigen::half, Eigen::bfloat16) {
    for (const bool bias : {true, false}) {
        auto block = block_of<TestType>(1, bias), other = block_of<TestType>(2, bias);
        const std::string bytes = saved(block);
        load(bytes, other);
        check_same(block, other);
        CHECK(saved(other) == bytes);
        CHECK(opened(bytes).tensors().size() == (bias ? 11U : 7U));
    }
}

TEST_CASE("a file has the layout that the format's own writers give it") {
    const std::string header =
        R"({"__metadata__":{"format":"pt"},"a.number":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
        R"("a.vector":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},)"
        R"("a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]}})";
    std::string bytes = saved(Plain(), {.prefix = "a.", .notes = {{"format", "pt"}}});
    CHECK(bytes.size() % 8 == 0);
    const std::size_t padded = (header.size() + 7) / 8 * 8;
    CHECK(static_cast<std::size_t>(static_cast<unsigned char>(bytes[0])) == padded);
    CHECK(bytes.substr(1, 7) == std::string(7, '\0'));
    CHECK(bytes.substr(8, padded) == header + std::string(padded - header.size(), ' '));
    CHECK(bytes.substr(8 + padded) ==
          std::string("\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\xf0\xbf"
                      "\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40\0\0\xc0\x40",
                      48));
}

TEST_CASE("a file that does not fit is refused by name and shape, and changes nothing") {
    auto block = block_of<float>(1);
    const auto untouched = block;
    const auto refused = [&](const std::string& bytes, const TensorNames& names = {}) {
        const std::string text = refusal([&] { load(bytes, block, names); });
        check_same(block, untouched);
        return text;
    };
    const std::string good = saved(block_of<float>(2));
    SECTION("of another shape") {
        const auto wider = multi_head<float>({.d_model = 8, .heads = 2, .kv_heads = 1}, untouched.attention);
        CHECK(refused(saved(wider)) ==
              "safetensors, from memory: tensor 'query_weight' has the shape [8, 8], but "
              "query_weight needs [6, 6]");
    }
    SECTION("without a parameter") {
        CHECK(refused(saved(block_of<float>(2, false))) ==
              "safetensors, from memory: there is no tensor 'query_bias', which is query_bias");
    }
    SECTION("with one more") {
        auto without_bias = block_of<float>(3, false);
        CHECK(refusal([&] { load(good, without_bias); }) ==
              "safetensors, from memory: tensor 'key_bias' is no parameter of what is loaded");
    }
    SECTION("of integers") {
        std::string integers = good;
        integers.replace(integers.find("\"F32\"", integers.find("\"value_bias\"")), 5, "\"I32\"");
        CHECK(refused(integers) ==
              "safetensors, from memory: tensor 'value_bias' is of I32, but value_bias is of floating-point numbers");
    }
    SECTION("under other names") {
        CHECK(refused(good, {.prefix = "layers.0."}) ==
              "safetensors, from memory: there is no tensor 'layers.0.query_weight', which is query_weight");
    }
}

TEST_CASE("numbers of another type are converted, those of more bits rounded") {
    auto wide = block_of<double>(1);
    auto narrow = block_of<float>(2);
    auto brief = block_of<Eigen::bfloat16>(3);
    load(saved(wide), narrow);
    CHECK(same_bits(narrow.query_weight, wide.query_weight.cast<float>()));
    load(saved(narrow), brief);
    CHECK(same_bits(brief.query_weight, narrow.query_weight.cast<Eigen::bfloat16>()));
    load(saved(brief), wide);
    CHECK(same_bits(wide.query_weight, brief.query_weight.cast<double>()));
}

TEST_CASE("parameters stand in the tensors of others: stacked, transposed, of more sizes") {
    const auto block = block_of<double>(1);
    const TensorNames names{.prefix = "h.0.",
                            .place = [](std::string_view own) -> TensorPlace {
                                if (own == "query_weight" || own == "key_weight" || own == "value_weight")
                                    return {.name = "qkv", .transposed = true};
                                if (own == "query_bias") return {.name = "bias", .rank = 3};
                                return {.name = std::string(own)};
                            },
                            .ignored = {"rotary.inv_freq"}};
    const std::string bytes = saved(block, names);
    const Safetensors file = opened(bytes);
    Eigen::MatrixXd stacked(6 + 3 + 3, 6);
    stacked << block.query_weight.transpose(), block.key_weight.transpose(), block.value_weight.transpose();
    CHECK(file.matrix<double>("h.0.qkv") == stacked);
    CHECK(file.info("h.0.bias").shape == std::vector<Index>{1, 1, 6});
    CHECK(file.matrix<double>("h.0.output_weight") == block.output_weight);
    auto other = block_of<double>(2);
    load(bytes, other, names);
    check_same(block, other);

    SECTION("others' tensors may stand beside them, and under the prefix those that are named") {
        const auto place = [&](bool under_prefix) {
            return [&names, under_prefix](std::string_view own) -> TensorPlace {
                if (own == "frequencies") return {.name = under_prefix ? "h.0.rotary.inv_freq" : "h.0.else"};
                if (!own.starts_with("block.")) return {.name = "h.1." + std::string(own)};
                return names.of(own.substr(6));
            };
        };
        other = block_of<double>(2);
        load(saved(Whole(), {.place = place(true)}), other, names);
        check_same(block, other);
        CHECK(refusal([&] { load(saved(Whole(), {.place = place(false)}), other, names); }) ==
              "safetensors, from memory: tensor 'h.0.else' is no parameter of what is loaded");
    }
    SECTION("a tensor that is stacked of others' shape is refused with all that it holds") {
        auto narrow = multi_head<double>({.d_model = 6, .heads = 2}, block.attention);
        CHECK(refusal([&] { load(bytes, narrow, names); }) ==
              "safetensors, from memory: tensor 'h.0.qkv' has the shape [12, 6], but query_weight and key_weight and "
              "value_weight needs [18, 6]");
    }
    SECTION("what has no name is left as it is, and out of files") {
        const TensorNames projections = without("attention.", names);
        const std::string fewer = saved(block, projections);
        CHECK(opened(fewer).tensors().size() == opened(bytes).tensors().size() - 3);
        auto kept = block_of<double>(2);
        const auto before = block_of<double>(2);
        load(fewer, kept, projections);
        CHECK(same_bits(kept.query_weight, block.query_weight));
        check_same(kept.attention, before.attention);
        CHECK_FALSE(refusal([&] { load(fewer, kept, names); }).empty());
    }
}

TEST_CASE("names that do not fit are refused before anything is written") {
    const auto refused = [](const TensorPlace& place) {
        std::ostringstream bytes;
        const std::string text = refusal([&] {
            save_safetensors(static_cast<std::ostream&>(bytes), Plain(),
                             {.place = [&](std::string_view) { return place; }});
        });
        CHECK(bytes.str().empty());
        return text;
    };
    CHECK(refused({.name = "x"}) ==
          "parameter vector, of F64 and shape [2], cannot stand below weight, of F32 and shape "
          "[2, 3], in one tensor 'x'");
    CHECK(refused({.name = "x", .rank = 1}) == "parameter weight has 2 sizes, more than the rank 1 of 'x'");
    CHECK(refused({.name = "\xff"}) == "parameter weight cannot be called '\xff' in a file");
    CHECK(refused({.name = "__metadata__"}) == "parameter weight cannot be called '__metadata__' in a file");
    CHECK(refusal([] {
              saved(Plain(), {.place = [](std::string_view own) {
                        return TensorPlace{.name = std::string(own), .transposed = true};
                    }});
          }) == "parameter vector has no transpose, which 'vector' would hold");
    CHECK(refusal([] { saved(Twins()); }) == "two parameters are called 'w': which is which?");
}

TEST_CASE("files on disk are replaced whole") {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("attend_test_" + std::to_string(std::random_device()()));
    std::filesystem::create_directories(folder);
    const std::filesystem::path file = folder / "block.safetensors";
    auto block = block_of<float>(1), other = block_of<float>(2);
    save_safetensors(file, other);
    save_safetensors(file, block);
    load_safetensors(file, other);
    check_same(block, other);
    load_safetensors(file.string(), other);
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
    CHECK(refusal([&] { save_safetensors(folder / "none" / "x", block); }).find("cannot be opened") !=
          std::string::npos);
    std::filesystem::create_directory(folder / "folder");
    std::ofstream(folder / "folder" / "file").put('x');
    CHECK(
        refusal([&] { save_safetensors(folder / "folder", block); }).ends_with("cannot be written, or not to its end"));
    CHECK_FALSE(refusal([&] { save_safetensors(folder / "x", Twins()); }).empty());
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 2);  // nothing was left behind
    std::filesystem::remove_all(folder);

    std::ostringstream full;
    full.setstate(std::ios::badbit);
    CHECK(refusal([&] { save_safetensors(static_cast<std::ostream&>(full), block); }) ==
          "save_safetensors: the stream takes no more");
}

TEST_CASE("containers, tuples and structs of values are saved and loaded whole") {
    const auto model = [](std::uint64_t seed) {
        std::map<std::string, std::tuple<std::vector<decltype(block_of<float>(0))>, std::array<Plain, 2>, double>> all;
        all["encoder"] = {{block_of<float>(seed), block_of<float>(seed + 1)}, {}, static_cast<double>(seed)};
        std::get<1>(all["encoder"])[1].number = static_cast<double>(seed);
        return all;
    };
    const auto saved_model = model(1);
    auto loaded = model(5);
    load(saved(saved_model), loaded);
    check_same(saved_model, loaded);
    CHECK(opened(saved(saved_model)).has("encoder.0.1.attention.modifiers.2.values"));
    CHECK(opened(saved(saved_model)).has("encoder.1.0.weight"));
}

}  // namespace test_safetensors
