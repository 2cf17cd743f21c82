#include <attend/attend.hpp>

Eigen::MatrixXf attend_in_second_unit(const Eigen::MatrixXf& x);

Eigen::MatrixXf attend_in_second_unit(const Eigen::MatrixXf& x) { return attend::scaled_dot_product(x, x, x); }
