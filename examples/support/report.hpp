#pragma once

#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>

namespace support {

/// What a program found when it checked itself: a line each.
class Report {
public:
    void operator()(bool right, const std::string& what) {
        std::cout << (right ? "ok      " : "FAILED  ") << what << std::endl;
        all_right_ = all_right_ && right;
    }
    /// 0 if all is well, otherwise 1.
    int exit_code() const { return all_right_ ? 0 : 1; }

    static std::string number(double value) {
        std::ostringstream text;
        text << std::setprecision(3) << value;
        return text.str();
    }

private:
    bool all_right_ = true;
};

}  // namespace support
