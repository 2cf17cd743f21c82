// What is true of packets is true without the compiler's vectors.
#define ATTEND_NO_GNU_VECTORS

#include "simd.cpp"
