// expect: values that are visited in step must be of one type
#include <attend/attend.hpp>

#include <string_view>

void visit(attend::GeneralAttention<float>& value, attend::GeneralAttention<double>& other) {
    const auto nothing = [](std::string_view, auto&, auto&) {};
#ifdef ATTEND_TEST_VALID
    static_cast<void>(other);
    attend::visit_parameters(value, value, nothing);
#else
    attend::visit_parameters(value, other, nothing);
#endif
}
