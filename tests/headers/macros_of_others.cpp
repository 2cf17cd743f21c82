// Macros of <windows.h> and of other systems' headers that are words one could write: attend uses none of them as a
// name. `min` and `max`, which NOMINMAX takes away there, it refuses in words (core/config.hpp).
#include <Eigen/Dense>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

// NOLINTBEGIN
#define near
#define far
#define small char
#define hyper long long
#define interface struct
#define cdecl
#define pascal
#define IN
#define OUT
#define OPTIONAL
#define VOID void
#define CONST const
#define TRUE 1
#define FALSE 0
#define ERROR 0
#define NO_ERROR 0L
#define DELETE 0x00010000L
#define STRICT 1
#define IGNORE 0
#define INFINITE 0xFFFFFFFF
#define RELATIVE 1
#define ABSOLUTE 1
#define TRANSPARENT 1
#define DIFFERENCE 11
#define None 0L
#define Always 2
#define Bool int
#define Status int
#define Success 0
#define major(x) x
#define minor(x) x
#define unix 1
#define linux 1
#define I 1
#define B0 0
#define _B 0200
#define _N 4
#define _U 1
// NOLINTEND

#include <attend/attend.hpp>

int main() {}
