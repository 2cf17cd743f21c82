// needs: threads
//
// The laws of a mixer, of an attention and of recurrences alike.

#include <attend/attend.hpp>

#include <mixer/gated_memory.hpp>
#include <mixer/laws.hpp>
#include <mixer/running_mean.hpp>

using namespace attend;
using namespace attend::test;

namespace test_mixer {

TEST_CASE("an attention is a mixer") { check_laws(scaled_dot_product >> causal, true); }

TEST_CASE("a user's running mean is a mixer, causal or of all keys") {
    const bool causal = GENERATE(true, false);
    check_laws(recurrent(RunningMean{.causal = causal}), causal);
}

TEST_CASE("a user's gated memory is a mixer, causal or of all keys") {
    const bool causal = GENERATE(true, false);
    check_laws(recurrent(GatedMemory{.causal = causal, .gate = Eigen::Vector3d(0.5, -0.3, 0.8)}), causal);
}

}  // namespace test_mixer
