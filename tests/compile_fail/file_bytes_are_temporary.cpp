// expect: attend: the bytes of this file are a temporary, gone before they are read: give them a name
#include <attend/interchange/safetensors.hpp>

inline std::size_t tensors(const std::vector<std::byte>& bytes) {
#ifdef ATTEND_TEST_VALID
    return attend::Safetensors(bytes).tensors().size();
#else
    return attend::Safetensors(std::vector<std::byte>(bytes)).tensors().size();
#endif
}
