// Says what was built, then runs the registered benchmarks that the flags choose.

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <limits>
#include <string>

#include <peak.hpp>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace {

/// Lets freed memory stay with the process. Otherwise the plain expressions would fetch their large temporaries from
/// the system anew each time, page by page, at a cost that differs from hour to hour: no yardstick.
void keep_freed_memory() {
#if defined(__GLIBC__)
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::AddCustomContext("instruction_set", attend::bench::instruction_set);
    benchmark::AddCustomContext("eigen", std::to_string(EIGEN_WORLD_VERSION) + "." +
                                             std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                             std::to_string(EIGEN_MINOR_VERSION));
    // OpenMP is here for the executors: Eigen's own products must not take threads that a benchmark did not ask for.
    Eigen::setNbThreads(1);
    keep_freed_memory();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
