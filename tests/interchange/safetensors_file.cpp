// Files of tensors, read: what the format's description says of a good file, and of a bad one.

#include <cstring>
#include <sstream>

#include <attend/interchange/safetensors_file.hpp>
#include <support/catch.hpp>
#include <support/refusal.hpp>

using namespace attend;
using namespace attend::test;

namespace test_safetensors_file {
namespace {

/// The bytes of a file: the header's length, the header, the numbers.
std::string file_of(const std::string& header, const std::string& numbers) {
    std::string bytes;
    for (std::size_t i = 0, left = header.size(); i < 8; ++i, left /= 256) bytes += static_cast<char>(left % 256);
    return bytes + header + numbers;
}
std::span<const std::byte> memory_of(const std::string& bytes) { return std::as_bytes(std::span(bytes)); }

/// Why a file is refused, without the words that say which it is.
std::string why_refused(const std::string& bytes) {
    const std::string which = "safetensors, from memory: ";
    const std::string text = refusal([&] { const Safetensors file(memory_of(bytes)); });
    return text.starts_with(which) ? text.substr(which.size()) : text;
}

/// A header of one tensor called x.
std::string x_is(const std::string& type, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

}  // namespace

TEST_CASE("tensors of every floating-point type and rank are read as the format says") {
    // 1, −2 and 0.5 in the four types, the lowest byte first.
    const std::string numbers(
        "\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x00\x00\x3f"                                                  // F32
        "\x00\x3c\x00\xc0\x00\x38"                                                                          // F16
        "\x80\x3f\x00\xc0\x00\x3f"                                                                          // BF16
        "\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\xe0\x3f"  // F64
        "\x07",
        12 + 6 + 6 + 24 + 1);
    const std::string bytes = file_of(
        R"( {"__metadata__":{"format":"pt","\u00e9":"\ud83d\ude00 \"\\\/"},
            "vector":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},
            "row":{"shape":[1, 3],"dtype":"F16","data_offsets":[12,18]},
            "cube" : {"dtype":"BF16","shape":[3,1,1],"data_offsets":[18,24]},
            "matrix":{"dtype":"F64","shape":[1,1,3],"data_offsets":[24,48]},
            "nothing":{"dtype":"F32","shape":[4,0],"data_offsets":[24,24]},
            "byte":{"dtype":"U8","shape":[],"data_offsets":[48,49]}}   )",
        numbers);
    CHECK(why_refused(bytes).find("a header begins with '{'") != std::string::npos);
    const std::string good = file_of(bytes.substr(9, bytes.size() - 9 - numbers.size()), numbers);

    const Safetensors file(memory_of(good));
    CHECK(file.tensors().size() == 6);
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.metadata().at("\xc3\xa9") == "\xf0\x9f\x98\x80 \"\\/");
    const Eigen::Vector3d expected(1, -2, 0.5);
    CHECK(file.matrix<double>("vector") == expected);
    CHECK(file.matrix<float>("row") == expected.transpose().cast<float>());
    CHECK(file.matrix<double>("cube") == expected);
    CHECK(file.matrix<Eigen::half>("matrix").cast<double>() == expected.transpose());
    CHECK(file.matrix<Eigen::bfloat16>("matrix").cast<double>() == expected.transpose());
    CHECK(file.matrix<double>("nothing").rows() == 0);
    CHECK(file.info("byte").shape.empty());
    CHECK(file.has("byte"));
    CHECK_FALSE(file.has("bytes"));
    const auto text_of = [&](const std::string& name) { return refusal([&] { file.matrix<float>(name); }); };
    CHECK(text_of("byte") ==
          "safetensors, from memory: tensor 'byte' is of U8, where only F64, F32, F16 and BF16 can be read");
    CHECK(text_of("bytes") == "safetensors, from memory: there is no tensor 'bytes' among the 6");
    double some[2];
    file.read("vector", 1, some, 2);
    CHECK(some[0] == -2);
    CHECK(some[1] == 0.5);
    CHECK(refusal([&] { file.read("vector", 2, some, 2); }) ==
          "safetensors, from memory: tensor 'vector' has 3 numbers, not 2 from number 2 on");

    SECTION("from where a stream stands") {
        std::istringstream stream("before" + good);
        stream.seekg(6);
        CHECK(Safetensors(stream).matrix<double>("vector") == expected);
    }
    SECTION("and whatever is cut off the end is missed") {
        for (std::size_t length = 0; length < good.size(); ++length) {
            INFO(length);
            CHECK_FALSE(why_refused(good.substr(0, length)).empty());
        }
        CHECK(why_refused(good + '\0') ==
              "its tensors take 49 bytes, but 50 follow the header: the file is cut short, or longer than it says");
    }
}

TEST_CASE("a file without tensors, and a number without sizes") {
    CHECK(why_refused(file_of("{}", "")).empty());
    const std::string bytes = file_of(x_is("BF16", "[]", "[0,2]"), std::string("\x80\x3f", 2));
    CHECK(Safetensors(memory_of(bytes)).matrix<float>("x") == RowMatrix<float>::Ones(1, 1));
}

TEST_CASE("files that break the format are refused, and say why") {
    const auto bad = [](const std::string& header, std::size_t numbers) {
        return why_refused(file_of(header, std::string(numbers, '\0')));
    };
    const auto bad_header = [&](const std::string& header) { return bad(header, 0); };
    using Catch::Matchers::ContainsSubstring;

    SECTION("its length") {
        CHECK(why_refused("1234567") == "7 bytes are too few even for the length of a header");
        CHECK(why_refused(std::string("\x03\0\0\0\0\0\0\0{}", 10)) ==
              "no such file, or cut short: its header would have 3 bytes, 2 follow, and a header has at most "
              "100000000");
        CHECK_THAT(why_refused(std::string(8, '\xff') + "{}"), ContainsSubstring("18446744073709551615 bytes"));
        CHECK_THAT(bad_header(""), ContainsSubstring("a header begins with '{'"));
    }
    SECTION("where tensors stand") {
        CHECK(bad(x_is("F32", "[2]", "[4,12]"), 12) ==
              "tensor 'x' begins at byte 4, but those before it end at 0: tensors overlap, or there is a gap between "
              "them");
        const std::string two =
            R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[6],"data_offsets":)";
        CHECK(bad(two + "[7,13]}}", 13) ==
              "tensor 'b' begins at byte 7, but those before it end at 8: tensors overlap, or there is a gap between "
              "them");
        CHECK(bad(two + "[8,14]}}", 14).empty());
        CHECK_THAT(bad(two + "[0,6]}}", 8), ContainsSubstring("tensors overlap"));
        CHECK_THAT(bad(two + "[8,14]}}", 13), ContainsSubstring("its tensors take 14 bytes, but 13 follow"));
        CHECK_THAT(bad(two + "[8,14]}}", 15), ContainsSubstring("its tensors take 14 bytes, but 15 follow"));
    }
    SECTION("how long they are") {
        CHECK(bad(x_is("F32", "[2,3]", "[0,20]"), 20) ==
              "tensor 'x' of F32 and shape [2, 3] cannot stand in bytes 0 to 20");
        CHECK_FALSE(bad(x_is("F32", "[2]", "[8,0]"), 8).empty());
        CHECK_FALSE(bad(x_is("F32", "[2]", "[18446744073709551608,0]"), 8).empty());
        // Products that wrap round to 8 bytes, or to none.
        CHECK_FALSE(bad(x_is("F32", "[4611686018427387905,2]", "[0,8]"), 8).empty());
        CHECK_FALSE(bad(x_is("F32", "[4294967296,4294967296]", "[0,0]"), 0).empty());
        CHECK_FALSE(bad(x_is("F64", "[2305843009213693952]", "[0,0]"), 0).empty());
        CHECK(bad(x_is("F32", "[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0).empty());
        CHECK_THAT(bad_header(x_is("F32", "[9223372036854775808]", "[0,0]")),
                   ContainsSubstring("more than any memory"));
        CHECK_THAT(bad_header(x_is("F32", "[18446744073709551616]", "[0,0]")), ContainsSubstring("more than 64 bits"));
        CHECK(bad(x_is("F4", "[2,2]", "[0,2]"), 2).empty());
        CHECK_FALSE(bad(x_is("F4", "[3]", "[0,2]"), 2).empty());
    }
    SECTION("what they are of") {
        CHECK(bad(x_is("F33", "[2]", "[0,8]"), 8) == "tensor 'x' is of an unknown type, 'F33'");
        CHECK(bad(x_is("f32", "[2]", "[0,8]"), 8) == "tensor 'x' is of an unknown type, 'f32'");
        CHECK_THAT(bad_header(R"({"x":{"dtype":"F32","shape":[0]}})"),
                   ContainsSubstring("tensor 'x' lacks dtype, shape or two data_offsets"));
        CHECK_THAT(bad_header(x_is("F32", "[0]", "[0]")), ContainsSubstring("lacks"));
        CHECK_THAT(bad_header(x_is("F32", "[0]", "[0,0,0]")), ContainsSubstring("data_offsets are two numbers"));
        CHECK_THAT(bad_header(R"({"x":{"strides":[1]}})"),
                   ContainsSubstring("tensor 'x' says 'strides', which the format does not know"));
        CHECK_THAT(bad_header(R"({"x":{"shape":[],"shape":[]}})"), ContainsSubstring("says the same thing twice"));
    }
    SECTION("names that stand there twice") {
        const std::string x = R"("x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
        CHECK(bad_header("{" + x + "}").empty());
        CHECK(bad_header("{" + x + "," + x + "}") == "there are two tensors 'x'");
        CHECK(bad_header("{" + x + R"(,"\u0078":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})") ==
              "there are two tensors 'x'");
        CHECK_THAT(bad_header(R"({"__metadata__":{},"__metadata__":{}})"), ContainsSubstring("a second __metadata__"));
        CHECK_THAT(bad_header(R"({"__metadata__":{"a":"","a":""}})"), ContainsSubstring("says 'a' twice"));
    }
    SECTION("what is no such JSON") {
        for (const std::string header : {"{",
                                         "{]",
                                         "{}}",
                                         "{}x",
                                         "{,}",
                                         R"({"x":1})",
                                         R"({"x":[]})",
                                         R"({"x":null})",
                                         R"({"x"})",
                                         R"({"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},})",
                                         R"({"x":{"dtype":F32,"shape":[0],"data_offsets":[0,0]}})",
                                         R"({"x":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}})",
                                         R"({"x":{"dtype":"F32","shape":[00],"data_offsets":[0,0]}})",
                                         R"({"x":{"dtype":"F32","shape":[0.0],"data_offsets":[0,0]}})",
                                         R"({"x":{"dtype":"F32","shape":[0e0],"data_offsets":[0,0]}})",
                                         R"({"x":{"dtype":"F32","shape":[[0]],"data_offsets":[0,0]}})",
                                         R"({"x":{"dtype":"F32","shape":[0,],"data_offsets":[0,0]}})",
                                         R"({'x':{}})",
                                         R"({"__metadata__":{"a":1}})",
                                         R"({"__metadata__":{"a":{}}})",
                                         R"({"__metadata__":[]})",
                                         "{\"\n\":{}}",
                                         "{\"\x01\":{}}",
                                         R"({"\x":{}})",
                                         R"({"\u12g4":{}})",
                                         R"({"\ud800":{}})",
                                         R"({"\udc00":{}})",
                                         R"({"\ud800\u0041":{}})",
                                         "{\"\xff\":{}}",
                                         "{\"\xc0\xaf\":{}}",
                                         "{\"\xed\xa0\x80\":{}}",
                                         "{\"\xf5\x80\x80\x80\":{}}",
                                         "{\"\xc3\":{}}",
                                         R"({"\u00)"}) {
            INFO(header);
            CHECK_THAT(bad_header(header), ContainsSubstring("the header is malformed at its byte "));
        }
        // However deep.
        const std::string deep(1'000'000, '[');
        CHECK_FALSE(bad_header(R"({"x":)" + deep).empty());
        CHECK_FALSE(bad_header(R"({"x":{"shape":)" + deep).empty());
    }
    SECTION("and neither long nor odd names spoil the words") {
        const std::string text = bad(x_is("F32\\u001b[31m" + std::string(1000, 'y'), "[2]", "[0,8]"), 8);
        CHECK(text.size() < 200);
        CHECK(text.find('\x1b') == std::string::npos);
    }
}

TEST_CASE("what is no file is refused") {
    CHECK(refusal([] { Safetensors("/no/such/file"); }) == "safetensors '/no/such/file': the file cannot be opened");
    CHECK_FALSE(refusal([] { Safetensors("/"); }).empty());
    std::istringstream empty;
    CHECK(refusal([&] { const Safetensors file(empty); }) ==
          "safetensors, from a stream: 0 bytes are too few even for the length of a header");
}

}  // namespace test_safetensors_file
