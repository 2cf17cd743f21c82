// Says what was built, then runs the registered benchmarks that the flags choose.

#include <benchmark/benchmark.h>

#include <Eigen/Core>
#include <string>

#include <peak.hpp>

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::AddCustomContext("instruction_set", attend::bench::instruction_set);
    benchmark::AddCustomContext("eigen", std::to_string(EIGEN_WORLD_VERSION) + "." +
                                             std::to_string(EIGEN_MAJOR_VERSION) + "." +
                                             std::to_string(EIGEN_MINOR_VERSION));
    // OpenMP is here for the executors: Eigen's own products must not take threads that a benchmark did not ask for.
    Eigen::setNbThreads(1);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
