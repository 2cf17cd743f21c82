#pragma once
/// \file
/// Files of named tensors in the safetensors format, read tensor by tensor
/// (https://huggingface.co/docs/safetensors: 8 bytes that hold the length of a header, the header, the numbers).

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <istream>
#include <limits>
#include <memory>
#include <ranges>
#include <span>
#include <streambuf>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <attend/core/errors.hpp>
#include <attend/interchange/safetensors_header.hpp>
#include <attend/interchange/tensor_names.hpp>

namespace attend::inline ATTEND_ABI {

namespace detail {

/// Bytes of memory as a stream that can be sought.
class MemoryBuffer : public std::streambuf {
public:
    explicit MemoryBuffer(std::span<const std::byte> bytes) {
        // A get area is not written to, though it is not const.
        char* const first = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));
        setg(first, first, first + bytes.size());
    }

protected:
    pos_type seekoff(off_type off, std::ios_base::seekdir from, std::ios_base::openmode) override {
        const off_type at = off + (from == std::ios_base::cur   ? gptr() - eback()
                                   : from == std::ios_base::end ? egptr() - eback()
                                                                : 0);
        if (at < 0 || at > egptr() - eback()) return pos_type(off_type(-1));
        setg(eback(), eback() + at, egptr());
        return pos_type(at);
    }
    pos_type seekpos(pos_type at, std::ios_base::openmode which) override {
        return seekoff(off_type(at), std::ios_base::beg, which);
    }
};
class MemoryStream : public std::istream {
public:
    explicit MemoryStream(std::span<const std::byte> bytes) : std::istream(nullptr), buffer_(bytes) { rdbuf(&buffer_); }

private:
    MemoryBuffer buffer_;
};

}  // namespace detail

/// A file of tensors. Opening it reads and checks the header, O(header); a tensor's numbers are read when they are
/// asked for, and the file stays open. Throws `std::invalid_argument` for whatever is not in the format: files cut
/// short, headers longer than the file or than 100 MB, names that stand there twice, types that the format does not
/// have, tensors that overlap, leave gaps, or are not as long as their shape says. No memory is taken for numbers that
/// a file only claims to have. Calls on one object must not run at the same time.
class Safetensors {
public:
    /// What the file says of each tensor, by name.
    using Tensors = std::map<std::string, TensorInfo, std::less<>>;

    /// Opens a file and reads its header.
    explicit Safetensors(const std::filesystem::path& file)
        : where_("safetensors " + detail::in_quotes(file.string())) {
        auto opened = std::make_unique<std::ifstream>(file, std::ios::binary);
        detail::require(opened->is_open(), where_, ": the file cannot be opened");
        own_ = std::move(opened);
        open();
    }
    /// From where the stream stands to its end. It must be one that can be sought, and outlive the object.
    explicit Safetensors(std::istream& stream) : where_("safetensors, from a stream"), stream_(&stream) { open(); }
    /// The bytes of such a file, which must outlive the object.
    explicit Safetensors(std::span<const std::byte> bytes)
        : where_("safetensors, from memory"), own_(std::make_unique<detail::MemoryStream>(bytes)) {
        open();
    }

    // Memory that is gone before it is read is refused in words.
    template <class Bytes>
        requires(std::is_convertible_v<Bytes, std::span<const std::byte>> && !std::is_lvalue_reference_v<Bytes> &&
                 !std::ranges::enable_borrowed_range<std::remove_cvref_t<Bytes>>)
    explicit Safetensors(Bytes&&) {
        static_assert(sizeof(Bytes) == 0,
                      "attend: the bytes of this file are a temporary, gone before they are read: give them a name");
    }

    /// All tensors of the file.
    const Tensors& tensors() const { return tensors_; }
    /// What the writer noted, such as "format": "pt".
    const TensorNotes& metadata() const { return metadata_; }

    /// Whether there is a tensor of that name.
    bool has(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
    /// Throws where there is no tensor of that name.
    const TensorInfo& info(std::string_view name) const {
        const auto at = tensors_.find(name);
        detail::require(at != tensors_.end(), where_, ": there is no tensor ", detail::in_quotes(name), " among the ",
                        tensors_.size());
        return at->second;
    }
    /// The numbers of a tensor: the last size as columns, all others as rows. A vector is one column, a single number
    /// 1×1. Numbers of more bits than T are rounded, to 16 bits by way of float. Throws where the tensor's numbers are
    /// no F64, F32, F16 or BF16.
    template <class T>
    RowMatrix<T> matrix(std::string_view name) const {
        const std::vector<Index>& shape = info(name).shape;
        const Index all = detail::elements_of(shape), columns = shape.size() < 2 ? 1 : shape.back();
        RowMatrix<T> values(columns == 0 ? 0 : all / columns, columns);
        read(name, 0, values.data(), all);
        return values;
    }
    /// Reads `count` numbers of a tensor, in its order, from number `first` on.
    template <class T>
    void read(std::string_view name, Index first, T* to, Index count) const {
        const TensorInfo& tensor = info(name);
        const Index all = detail::elements_of(tensor.shape);
        detail::require(first >= 0 && count >= 0 && first <= all && count <= all - first, where_, ": tensor ",
                        detail::in_quotes(name), " has ", all, " numbers, not ", count, " from number ", first, " on");
        const bool known = detail::with_scalar_of_type(tensor.type, [&](auto scalar) {
            using S = decltype(scalar);
            seek(data_ + static_cast<std::streamoff>(tensor.begin) +
                 static_cast<std::streamoff>(first) * static_cast<std::streamoff>(sizeof(S)));
            constexpr Index at_once = 4096;
            std::array<char, at_once * sizeof(S)> bytes;
            for (Index i = 0; i < count; i += at_once) {
                const Index some = std::min(at_once, count - i);
                read_bytes(bytes.data(), static_cast<std::size_t>(some) * sizeof(S));
                for (Index j = 0; j < some; ++j)
                    to[i + j] = static_cast<T>(detail::from_little_endian<S>(&bytes[sizeof(S) * std::size_t(j)]));
            }
        });
        detail::require(known, where_, ": tensor ", detail::in_quotes(name), " is of ", tensor.type,
                        ", where only F64, F32, F16 and BF16 can be read");
    }
    /// How errors begin that are about this file.
    const std::string& where() const { return where_; }

private:
    static constexpr std::uint64_t longest_header = 100'000'000;

    std::istream& stream() const { return own_ ? *own_ : *stream_; }
    void seek(std::streamoff to) const {
        stream().clear();
        detail::require(static_cast<bool>(stream().seekg(to)), where_, ": cannot be sought");
    }
    void read_bytes(char* to, std::size_t count) const {
        stream().read(to, static_cast<std::streamsize>(count));
        detail::require(static_cast<std::size_t>(stream().gcount()) == count, where_,
                        ": the file ends before it says, or cannot be read");
    }
    void open() {
        const std::streamoff first = stream().tellg();
        detail::require(first >= 0 && static_cast<bool>(stream().seekg(0, std::ios::end)), where_,
                        ": cannot be sought");
        const std::streamoff last = stream().tellg();
        detail::require(last >= first + 8, where_, ": ", last - first,
                        " bytes are too few even for the length of a header");
        seek(first);
        std::array<char, 8> length_bytes;
        read_bytes(length_bytes.data(), length_bytes.size());
        const auto length = detail::from_little_endian<std::uint64_t>(length_bytes.data());
        const auto left = static_cast<std::uint64_t>(last - first - 8);
        if (length > left || length > longest_header)
            detail::refuse(where_, ": no such file, or cut short: its header would have ", std::to_string(length),
                           " bytes, ", left, " follow, and a header has at most ", longest_header);
        std::string header(static_cast<std::size_t>(length), '\0');
        read_bytes(header.data(), header.size());
        data_ = first + 8 + static_cast<std::streamoff>(length);
        detail::SafetensorsHeader checked(header, left - length, where_);
        tensors_ = std::move(checked.tensors), metadata_ = std::move(checked.metadata);
    }
    std::string where_;
    std::unique_ptr<std::istream> own_;
    std::istream* stream_ = nullptr;
    std::streamoff data_ = 0;  ///< where the numbers begin
    Tensors tensors_;
    TensorNotes metadata_;
};

}  // namespace attend
