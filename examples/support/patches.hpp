#pragma once

#include "layers.hpp"

namespace support {

/// A picture cut into patches of that size, row by row: each becomes a row of its numbers.
inline Rows<float> patches_of(const Rows<float>& picture, Eigen::Index height, Eigen::Index width) {
    const Eigen::Index across = picture.cols() / width;
    Rows<float> patches(picture.rows() / height * across, height * width);
    for (Eigen::Index i = 0; i < patches.rows(); ++i)
        patches.row(i) = picture.block(i / across * height, i % across * width, height, width)
                             .reshaped<Eigen::RowMajor>()
                             .transpose();
    return patches;
}

}  // namespace support
