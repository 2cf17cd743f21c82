// expect: attend: files hold parameters of double, float, Eigen::half or Eigen::bfloat16
#include <attend/interchange/safetensors.hpp>

template <class T>
struct Part {
    T steps{};
    static void parameters(auto& self, auto&& visit) { visit("steps", self.steps); }
};

inline void save(std::ostream& to) {
#ifdef ATTEND_TEST_VALID
    attend::save_safetensors(to, Part<float>());
#else
    attend::save_safetensors(to, Part<int>());
#endif
}
