// The second unit of the program: what it shares with the first must be one.
#include <attend/attend.hpp>

#include <filesystem>

void load(const std::filesystem::path& file, attend::GeneralAttention<float>& attention);
void load(const std::filesystem::path& file, attend::GeneralAttention<float>& attention) {
    attend::load_safetensors(file, attention);
}
