// What is true of packets is true of the compiler's own, as on WebAssembly.
#define ATTEND_GNU_PACKETS

#include "simd.cpp"
