// Runs random cases of all compositions for some seconds, or one case again. Says what it has seen.
//
//   differential [SECONDS [SEED]]      default $ATTEND_FUZZ_SECONDS or 20 seconds, seed 1
//   differential --repeat CASE         one case, as a failure prints it
//   differential --oracle              compares the oracle's gradients with differences of its loss
//   differential --only TEXT …         compositions whose names contain TEXT

// needs: openmp
// needs: threads
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <fuzz/run_case.hpp>

namespace {

using namespace fuzz;

const Composition* find(const std::string& name) {
    for (const Composition& c : compositions()) {
        if (c.name == name) return &c;
    }
    return nullptr;
}

void report(const Composition& composition, const Case& found, const std::string& why, const char* program) {
    Statistics ignored;
    const Case least = shrink(found, composition.wants,
                              [&](const Case& x) { return !composition.run(x, composition.wants, ignored).empty(); });
    std::printf("\nFAILED %s, seed %llu: %s\n  smallest case found: %s\n  again by: %s --repeat '%s'\n",
                found.composition.c_str(), static_cast<unsigned long long>(found.seed), why.c_str(),
                composition.run(least, composition.wants, ignored).c_str(), program, least.text().c_str());
    std::fflush(stdout);
}

/// In double, of cases in the open: small, of ordinary magnitudes.
int check_oracle_of_all() {
    int compared = 0, failed = 0;
    for (const Composition& composition : compositions()) {
        if (composition.name.find("double") != 0) continue;
        for (std::uint64_t seed = 1; seed <= 6; ++seed) {
            Case x = draw_case(composition.name, composition.wants, seed, 2000);
            x.batch = 0, x.sequences = 1, x.parameter_power = 0, x.shift = 0, x.numbers = 0;
            const std::string why = check_oracle(composition, x);
            ++compared;
            if (!why.empty()) ++failed, std::printf("FAILED oracle of %s: %s\n", x.text().c_str(), why.c_str());
        }
    }
    std::printf("oracle: %d cases, %d failures\n", compared, failed);
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    const char* const wanted = std::getenv("ATTEND_FUZZ_SECONDS");
    double seconds = wanted == nullptr ? 20 : std::strtod(wanted, nullptr);
    std::uint64_t seed = 1;
    std::string only;
    int given = 0;
    for (int i = 1; i < count; ++i) {
        const std::string word = arguments[i];
        if (word == "--oracle") return check_oracle_of_all();
        if (word == "--repeat" && i + 1 < count) {
            const Case x = Case::of(arguments[i + 1]);
            const Composition* const composition = find(x.composition);
            if (composition == nullptr) return std::printf("no composition %s\n", x.composition.c_str()), 2;
            Statistics statistics;
            const std::string why = composition->run(x, composition->wants, statistics);
            std::printf("%s\n%s\n", x.text().c_str(), why.empty() ? "right" : why.c_str());
            for (const auto& [name, worst] : statistics.worst) std::printf("  %s %.3f\n", name.c_str(), worst);
            return why.empty() ? 0 : 1;
        }
        if (word == "--only" && i + 1 < count) {
            only = arguments[++i];
        } else {
            ++given == 1 ? void(seconds = std::strtod(word.c_str(), nullptr))
                         : void(seed = std::strtoull(word.c_str(), nullptr, 10));
        }
    }
    std::vector<const Composition*> chosen;
    for (const Composition& c : compositions()) {
        if (c.name.find(only) != std::string::npos) chosen.push_back(&c);
    }
    if (chosen.empty()) return std::printf("no composition is called %s\n", only.c_str()), 2;
    const auto start = std::chrono::steady_clock::now();
    const auto passed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    std::map<std::string, Statistics> families;
    std::map<std::string, int> failures;
    int failed = 0;
    // Few pairs first, so that a short run sees many compositions.
    for (std::uint64_t round = 0; passed() < seconds; ++round) {
        for (const Composition* composition : chosen) {
            if (passed() >= seconds) break;
            if (failures[composition->name] >= 2) continue;
            const Index most = round % 16 == 15 ? 4000000 : round % 4 == 3 ? 400000 : 40000;
            const Case x = draw_case(composition->name, composition->wants, seed * 1000003 + round, most);
            Statistics& family = families[composition->name.substr(0, composition->name.find('/'))];
            const std::string why = composition->run(x, composition->wants, family);
            if (why.empty()) continue;
            ++failed, ++failures[composition->name];
            report(*composition, x, why, arguments[0]);
        }
    }
    for (const auto& [name, s] : families) {
        std::printf("%-9s %8lld cases, %11lld comparisons, %lld of them undecided; worst error / tolerance:",
                    name.c_str(), s.cases, s.comparisons, s.unknown);
        for (const auto& [what, worst] : s.worst) std::printf(" %s %.2f", what.c_str(), worst);
        std::printf("\n");
    }
    std::printf("differential: %zu compositions, %.0f s, seed %llu: %d failures\n", chosen.size(), passed(),
                static_cast<unsigned long long>(seed), failed);
    return failed == 0 ? 0 : 1;
}
