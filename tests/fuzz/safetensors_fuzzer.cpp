// A coverage-guided fuzzer of files of tensors. A file is refused in words, with nothing changed, or it is what it
// says: all of it can be read, and what is written of it is read as the same. Anything else stops the program. Built by
// fuzz.sh.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <attend/interchange/llama_names.hpp>
#include <attend/interchange/safetensors.hpp>
#include <attend/interchange/torch_names.hpp>
#include <attend/layer/multi_head.hpp>

namespace {

using attend::Index;
using attend::RowMatrix;
using attend::Safetensors;

[[noreturn]] void stop(const std::string& why) {
    std::fprintf(stderr, "WRONG: %s\n", why.c_str());
    std::abort();
}

/// Whether `f` is refused by the library, in words.
template <class F>
bool is_refused(const F& f) {
    try {
        f();
    } catch (const std::invalid_argument& error) {
        if (!std::string_view(error.what()).starts_with("attend: ")) stop(std::string("refused by: ") + error.what());
        return true;
    }
    return false;
}

struct Tensors {
    std::map<std::string, RowMatrix<double>> matrices{};
    static void parameters(auto& self, auto&& visit) {
        for (auto& [name, matrix] : self.matrices) visit(name, matrix);
    }
};

bool same_bits(const RowMatrix<double>& a, const RowMatrix<double>& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() &&
           (a.size() == 0 || std::memcmp(a.data(), b.data(), sizeof(double) * static_cast<std::size_t>(a.size())) == 0);
}

/// Reads all that is there, which takes so many bytes, writes it as doubles and reads that.
void read_and_write(const Safetensors& file, std::uint64_t bytes) {
    Tensors all;
    std::uint64_t in_all = 0;
    for (const auto& [name, tensor] : file.tensors()) {
        in_all += tensor.end - tensor.begin;
        const auto read = [&, &name = name] { all.matrices[name] = file.matrix<double>(name); };
        const bool numbers =
            tensor.type == "F64" || tensor.type == "F32" || tensor.type == "F16" || tensor.type == "BF16";
        if (is_refused(read) == numbers) stop("tensor " + name + " of " + tensor.type + " is read or not");
        Index elements = std::count(tensor.shape.begin(), tensor.shape.end(), 0) > 0 ? 0 : 1;
        for (const Index size : tensor.shape) elements = elements == 0 ? 0 : elements * size;
        if (numbers && all.matrices[name].size() != elements) stop("tensor " + name + " has another size");
    }
    if (in_all != bytes) stop("tensors have other bytes than those behind the header");
    std::stringstream written;
    if (is_refused([&] { attend::save_safetensors(static_cast<std::ostream&>(written), all); })) {
        stop("what was read is not written");
    }
    const std::string text = written.str();
    const Safetensors again(written);
    if (again.tensors().size() != all.matrices.size()) stop("what was written has another number of tensors");
    for (const auto& [name, matrix] : all.matrices) {
        if (!same_bits(again.matrix<double>(name), matrix)) stop("tensor " + name + " is read as another");
    }
    std::ostringstream once_more;
    attend::save_safetensors(static_cast<std::ostream&>(once_more), all);
    if (once_more.str() != text) stop("the same tensors are written as other bytes");
}

/// Loads into a block, which stays as it was where the file does not fit.
template <class Block>
void load(const Safetensors& file, Block block, const attend::TensorNames& names) {
    const auto bytes_of = [&](const Block& value) {
        std::ostringstream bytes;
        attend::save_safetensors(static_cast<std::ostream&>(bytes), value, names);
        return bytes.str();
    };
    const std::string before = bytes_of(block);
    if (is_refused([&] { attend::load_safetensors(file, block, names); })) {
        if (bytes_of(block) != before) stop("a file was refused, and yet changed something");
        return;
    }
    std::istringstream saved(bytes_of(block));
    Block again = block;
    attend::load_safetensors(saved, again, names);
    if (bytes_of(again) != bytes_of(block)) stop("what was loaded is saved as something else");
}

const attend::MultiHeadAttention<float> block({.d_model = 2}, {}, 1);
const attend::MultiHeadAttention<double> two_memories({.d_model = 2, .d_memory = 1, .d_value_memory = 3}, {}, 1);
const attend::MultiHeadAttention<Eigen::half> grouped({.d_model = 2, .heads = 2, .kv_heads = 1, .bias = false}, {}, 1);

/// A file that fits one of the blocks.
std::string good_file(unsigned which) {
    std::ostringstream bytes;
    std::ostream& to = bytes;
    if (which == 0) attend::save_safetensors(to, block);
    if (which == 1) attend::save_safetensors(to, block, attend::torch_names(block));
    if (which == 2) attend::save_safetensors(to, two_memories, attend::torch_names(two_memories, "a."));
    if (which == 3) attend::save_safetensors(to, grouped, attend::llama_names("a."));
    return bytes.str();
}

std::string with_length(const std::string& header) {
    std::string length(8, '\0');
    attend::detail::to_little_endian(static_cast<std::uint64_t>(header.size()), length.data());
    return length + header;
}

/// Decisions, from the fuzzer's bytes; zeros when there are none left.
class Bytes {
public:
    explicit Bytes(std::span<const std::uint8_t> bytes) : left_(bytes) {}
    unsigned byte() {
        if (left_.empty()) return 0;
        const unsigned first = left_[0];
        left_ = left_.subspan(1);
        return first;
    }
    template <class Values>
    auto one_of(const Values& values) {
        return values[byte() % std::size(values)];
    }
    /// Seldom a little more or less.
    std::uint64_t altered(std::uint64_t x) {
        const unsigned how = byte();
        return how < 240 ? x : x + how - 248;
    }

private:
    std::span<const std::uint8_t> left_;
};

struct Chosen {
    std::string name, type;
    std::vector<std::uint64_t> shape;
};
constexpr std::array names{"query_weight",  "query_bias",      "output_bias",     "in_proj_weight", "in_proj_bias",
                           "out_proj.bias", "a.q_proj_weight", "a.q_proj.weight", "a.in_proj_bias", "a.x"};
constexpr std::array types{"F64", "F32", "F16", "BF16", "I64", "U8", "F4", "F6_E2M3"};
constexpr std::uint64_t one = 1;
constexpr std::array sizes{one,        2 * one,    3 * one,    4 * one,          6 * one,          0 * one,    8 * one,
                           one << 31U, one << 32U, one << 61U, (one << 63U) - 1, (one << 32U) + 1, one << 62U, 5 * one};

std::vector<Chosen> any_tensors(Bytes& bytes) {
    std::vector<Chosen> tensors(bytes.byte() % 9U);
    for (Chosen& tensor : tensors) {
        tensor = {bytes.one_of(names), bytes.one_of(types), {}};
        tensor.shape.resize(bytes.byte() % 4U);
        for (std::uint64_t& size : tensor.shape) size = bytes.one_of(sizes);
    }
    return tensors;
}
/// Those of a file that fits a block, a few of them changed.
std::vector<Chosen> fitting_tensors(Bytes& bytes) {
    const std::string good = good_file(bytes.byte() % 4U);
    std::vector<Chosen> tensors;
    const Safetensors file(std::as_bytes(std::span(good)));
    for (const auto& [name, info] : file.tensors())
        tensors.push_back({name, info.type, {info.shape.begin(), info.shape.end()}});
    for (unsigned changes = bytes.byte() % 4U; changes > 0 && !tensors.empty(); --changes) {
        const std::size_t which = bytes.byte() % tensors.size();
        Chosen& tensor = tensors[which];
        const unsigned how = bytes.byte() % 8U;
        if (how == 0) std::reverse(tensor.shape.begin(), tensor.shape.end());
        if (how == 1) tensor.shape.insert(tensor.shape.begin(), 1);
        if (how == 2 && !tensor.shape.empty()) tensor.shape.pop_back();
        if (how == 3 && !tensor.shape.empty()) tensor.shape[bytes.byte() % tensor.shape.size()] = bytes.one_of(sizes);
        if (how == 4) tensor.type = bytes.one_of(types);
        if (how == 5) tensor.name = bytes.one_of(names);
        if (how == 6) tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(which));
        if (how == 7) tensors.push_back({bytes.one_of(names), bytes.one_of(types), {}});
    }
    return tensors;
}
/// A file of tensors, mostly as the format wants it: what no check of another would stop.
std::string file_of_tensors(const std::vector<Chosen>& tensors, Bytes& bytes) {
    std::string header = "{";
    std::uint64_t at = 0;
    for (const Chosen& tensor : tensors) {
        (header += header.size() > 1 ? ",\"" : "\"") += tensor.name;
        (header += "\":{\"dtype\":\"") += tensor.type;
        header += "\",\"shape\":[";
        auto bits = static_cast<std::uint64_t>(attend::detail::bits_of_tensor_type(tensor.type));
        for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
            bits *= tensor.shape[d];  // wraps, as it might in a reader
            (header += d > 0 ? "," : "") += std::to_string(tensor.shape[d]);
        }
        const std::uint64_t begin = bytes.altered(at), end = bytes.altered(begin + bits / 8);
        header += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
        at = end;
    }
    std::string file = with_length(header + "}");
    const std::uint64_t numbers = std::min<std::uint64_t>(bytes.altered(at), 4096);
    for (std::uint64_t i = 0; i < numbers; ++i) file += static_cast<char>(bytes.byte());
    return file;
}

/// The file that the fuzzer's bytes stand for, by the first of them: those bytes; a header and numbers, in front of
/// which the length belongs, since mutations rarely keep it right; a good file with a few changes; or tensors of its
/// choice.
std::string file_of(std::span<const std::uint8_t> data) {
    const unsigned kind = data[0] % 16U;
    std::string bytes(reinterpret_cast<const char*>(data.data()) + 1, data.size() - 1);
    if (kind == 0) return bytes;
    if (kind < 4) {
        const std::size_t header = std::min(bytes.find('\0'), bytes.size());
        return with_length(bytes.substr(0, header)) + bytes.substr(header);
    }
    if (kind >= 8) {
        Bytes decisions(data.subspan(1));
        return file_of_tensors(kind < 12 ? any_tensors(decisions) : fitting_tensors(decisions), decisions);
    }
    std::string file = good_file(kind - 4);
    for (std::size_t i = 0; i + 3 < bytes.size(); i += 4) {
        const auto byte = [&](std::size_t j) { return static_cast<unsigned char>(bytes[i + j]); };
        const std::size_t at = (byte(0) + 256U * byte(1)) % (file.size() + 1);
        const unsigned change = byte(2) % 8U;
        if (change == 0) file.resize(at);
        if (change == 1) file.insert(at, 1, bytes[i + 3]);
        if (change == 2) file.erase(at, 1U + byte(3) % 8U);
        if (change > 2 && at < file.size()) file[at] = bytes[i + 3];
    }
    return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string bytes = file_of({data, size});
    const auto memory = std::as_bytes(std::span(bytes));
    if (is_refused([&] { const Safetensors file(memory); })) return 0;
    const Safetensors file(memory);
    const auto header = attend::detail::from_little_endian<std::uint64_t>(bytes.data());
    read_and_write(file, bytes.size() - 8 - header);
    load(file, block, {});
    load(file, block, attend::torch_names(block));
    load(file, two_memories, attend::torch_names(two_memories, "a."));
    load(file, grouped, attend::llama_names("a."));
    return 0;
}
