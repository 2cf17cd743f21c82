// expect: attend: this executor is a temporary and too large to be kept in the options: give it a name
#include <attend/attend.hpp>

using namespace attend;

struct Team {
    Index sizes[8];

    Index concurrency() const { return sizes[0]; }
    template <class F>
    void parallel_for(Index count, F&& f) const {
        for (Index i = 0; i < count; ++i) f(i);
    }
};

void set(ForwardOptions<float>& options) {
#ifdef ATTEND_TEST_VALID
    static const Team team{};
    options.executor = team;
#else
    options.executor = Team{};
#endif
}
